"""An order on one page of the admin: what was ordered, what became of it, its money, and where everything else stands.

Shown by the orders' own admin and by the desk's; each link only to whom it opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

import payments.services
from orders.documents import Document, history_of, line_document, lines_of
from orders.models import Order, Saga
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.sharding import shard_of_id

Found = dict[str, Any]
# How the lists of orders colour where one stands.
STATUS_COLOURS = {
    "paid": "danger",
    "accepted": "warning",
    "delivering": "info",
    "completed": "success",
    "pending_payment": "info",
}
MONEY_COLOURS = {"paid": "success", "refunding": "warning", "refunded": "danger"}


def line_text(line: Document) -> str:
    """A line in words: how many of what, with its options and what a set meal brings."""
    options = "、".join(option["name"] for option in line["options"])
    parts = "、".join(f"{part['name']} × {part['quantity']}" for part in line["components"])
    details = "".join(f"（{text}）" for text in (options, parts) if text)
    return f"{line['name']} × {line['quantity']}{details}"


def line_rows(lines: Iterable[Document]) -> list[Found]:
    """Lines as the page shows them."""
    return [{"text": line_text(line), "amount": line["amount"]} for line in lines]


def order_page(request: HttpRequest, order_id: int, lines: Sequence[Document] | None = None) -> Found:
    """What the page shows of an order, read from its shard; `lines` where the caller has them.

    With the shard down, or the order in the archive, it shows what the caller has.
    """
    found: Found = {"order_id": order_id, "lines": line_rows(lines or ()), "links": [], "shard_answers": True}
    try:
        found |= _on_the_shard(order_id, with_lines=lines is None)
    except (DatabaseError, ServiceUnavailable):
        found["shard_answers"] = False
    found["links"] = _links(request, found)
    found["may_see_payments"] = may_look(request, "payments", "payment")
    found["may_see_refunds"] = may_look(request, "payments", "refund")
    return found


def _on_the_shard(order_id: int, *, with_lines: bool) -> Found:
    using = shard_of_id(order_id)
    order = Order.objects.on(using).filter(pk=order_id).first()
    if order is None:
        return {}
    money = payments.services.money_of_orders([order_id], using=using)[order_id]
    for payment in money["payments"]:
        payment["state"] = payments.services.payment_state(payment["status"])
    for refund in money["refunds"]:
        refund["state"] = payments.services.refund_state(refund["status"])
    found = {
        "order": order,
        "timeline": history_of([order_id], using=using)[order_id],
        "payments": money["payments"],
        "refunds": money["refunds"],
        "saga": Saga.objects.on(using).filter(pk=order_id).first(),
    }
    if with_lines:
        found["lines"] = line_rows(map(line_document, lines_of([order_id], using=using)[order_id]))
    return found


def _links(request: HttpRequest, found: Found) -> list[tuple[Any, str]]:
    order, number = found.get("order"), found["order_id"]
    wanted = [
        (_("订单"), "orders", "order", number if order else None),
        (_("店铺订单"), "desk", "deskorder", number if order and order.paid_at else None),
        (_("顾客"), "accounts", "user", order and order.user_id),
        (_("流程"), "orders", "saga", number if found.get("saga") else None),
    ]
    return [
        (label, reverse(f"admin:{app}_{model}_change", args=[key]))
        for label, app, model, key in wanted
        if key is not None and request.path != reverse(f"admin:{app}_{model}_change", args=[key])
        if may_look(request, app, model)
    ]


def may_look(request: HttpRequest, app: str, model: str) -> bool:
    """Whether a link to such a page opens for this person. The desk is for everybody who works in a shop."""
    user = request.user
    if isinstance(user, AnonymousUser):
        return False
    return app == "desk" or user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")
