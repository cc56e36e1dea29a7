"""An order as doors show it: plain values, money as strings, times as ISO 8601."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from orders import amendments
from orders.models import NOTHING, Amendment, Order, OrderChange, OrderLine
from orders.states import PaymentStatus, Status
from waimai.infra.sharding import shard_of_id

Document = dict[str, Any]
ACTIONS: dict[str, tuple[str, ...]] = {
    Status.PLACING: (),
    Status.PENDING_PAYMENT: ("pay", "cancel"),
    Status.PAID: ("cancel", "remind", "reorder"),
    Status.ACCEPTED: ("remind", "reorder"),
    Status.DELIVERING: ("remind", "reorder"),
    Status.COMPLETED: ("reorder",),
    Status.CANCELLED: ("reorder",),
}
FACTS = (
    "id",
    "user_id",
    "shop_id",
    "shop_name",
    "status",
    "payment_status",
    "version",
    "goods_total",
    "packing_fee",
    "delivery_fee",
    "total",
    "contact_name",
    "phone",
    "address_text",
    "latitude",
    "longitude",
    "note",
    "tableware",
    "deliver_at",
    "business_date",
    "placed_at",
    "expires_at",
    "paid_at",
    "promised_at",
    "reminded_at",
    "courier_id",
)


def lines_of(order_ids: Iterable[int], *, using: str) -> dict[int, list[OrderLine]]:
    """The lines of several orders of one shard, in their order, in one query."""
    wanted = list(order_ids)
    grouped: dict[int, list[OrderLine]] = defaultdict(list)
    if wanted:
        for line in OrderLine.objects.on(using).filter(order_id__in=wanted).order_by("order_id", "n"):
            grouped[line.order_id].append(line)
    return grouped


def history_of(order_ids: Iterable[int], *, using: str) -> dict[int, list[OrderChange]]:
    """The history of several orders of one shard, oldest first, in one query."""
    wanted = list(order_ids)
    grouped: dict[int, list[OrderChange]] = defaultdict(list)
    if wanted:
        for row in OrderChange.objects.on(using).filter(order_id__in=wanted).order_by("order_id", "n"):
            grouped[row.order_id].append(row)
    return grouped


def snapshot(order: Order, lines: Sequence[OrderLine], amended: Sequence[Amendment] = ()) -> Document:
    """The facts of an order for events and the desk, in plain values. Its lines are those that are to be cooked."""
    values = vars(order)
    facts = {name: _plain(values[name]) for name in FACTS}
    return facts | {
        "lines": [line_document(line) for line in amendments.net_lines(lines, amended)],
        "net_total": str(order.net_total),
        "proposal": last_proposal_document(lines, amended) if order.status == Status.ACCEPTED else None,
    }


def snapshot_of(order: Order) -> Document:
    """`snapshot` with the lines and amendments read from the order's shard."""
    using = shard_of_id(order.pk)
    return snapshot(order, lines_of([order.pk], using=using)[order.pk], amendments.of([order], using=using)[order.pk])


def line_document(line: OrderLine) -> Document:
    """One line of an order."""
    return {
        "n": line.n,
        "item": line.item_id,
        "kind": line.kind,
        "name": line.name,
        "quantity": line.quantity,
        "unit_price": str(line.unit_price),
        "amount": str(line.amount),
        "options": line.options,
        "components": line.components,
        "image": line.image or None,
    }


def amendment_document(asked: Amendment, lines: Sequence[OrderLine], amended: Sequence[Amendment]) -> Document:
    """One proposal of the shop; `lines` and `amended` are all of the order's."""
    instead = amendments.replacement_of(asked, lines)
    return {
        "n": asked.n,
        "line": asked.line_n,
        "name": amendments.names(lines, amended)[asked.line_n],
        "quantity": asked.quantity,
        "replacement": instead and line_document(instead),
        "refund": str(asked.refund),
        "state": asked.state,
        "reason": asked.reason,
        "answer_by": _plain(asked.answer_by),
    }


def proposal_document(lines: Sequence[OrderLine], amended: Sequence[Amendment]) -> Document | None:
    """The proposal that waits for the customer's answer, if one does."""
    waiting = [asked for asked in amended if asked.state == Amendment.State.PROPOSED]
    return amendment_document(waiting[-1], lines, amended) if waiting else None


def last_proposal_document(lines: Sequence[OrderLine], amended: Sequence[Amendment]) -> Document | None:
    """The last proposal, unless the customer agreed: then the lines say it."""
    if not amended or amended[-1].state == Amendment.State.ACCEPTED:
        return None
    return amendment_document(amended[-1], lines, amended)


def order_document(
    order: Order, lines: Sequence[OrderLine], history: Sequence[OrderChange], amended: Sequence[Amendment] = ()
) -> Document:
    """The whole order as its customer may see it: the lines as they were ordered, and what became of them."""
    return {
        "id": order.pk,
        "shop": order.shop_id,
        "shop_name": order.shop_name,
        "status": order.status,
        "payment_status": order.payment_status,
        "goods_total": str(order.goods_total),
        "packing_fee": str(order.packing_fee),
        "delivery_fee": str(order.delivery_fee),
        "total": str(order.total),
        "refunded_part": str(order.refunded_part),
        "net_total": str(order.net_total),
        "lines": [line_document(line) for line in lines],
        "amendments": [amendment_document(asked, lines, amended) for asked in amended],
        "contact": {
            "name": order.contact_name,
            "phone": order.phone,
            "address": order.address_text,
            "latitude": _plain(order.latitude),
            "longitude": _plain(order.longitude),
        },
        "note": order.note,
        "tableware": order.tableware,
        "deliver_at": _plain(order.deliver_at),
        "promised_at": _plain(order.promised_at),
        "placed_at": _plain(order.placed_at),
        "expires_at": _plain(order.expires_at),
        "allowed_actions": list(ACTIONS[order.status]),
        "timeline": [change_document(row) for row in history],
    }


def lines_now(document: Document) -> list[Document]:
    """The lines of an `order_document` as they are to be cooked: like `amendments.net_lines`, for who has no rows."""
    left = {line["n"]: line for line in document["lines"]}
    for asked in document["amendments"]:
        if asked["state"] != Amendment.State.ACCEPTED:
            continue
        line = left[asked["line"]]
        left[line["n"]] = line | {"quantity": line["quantity"] - asked["quantity"]}
        if asked["replacement"]:
            left[asked["replacement"]["n"]] = asked["replacement"]
    return [line for line in left.values() if line["quantity"]]


def portions(document: Document) -> int:
    """How many portions an order has, by its `order_document`: less those that were left out."""
    return sum(line["quantity"] for line in lines_now(document))


def placed_document(order: Order, lines: Sequence[OrderLine], history: Sequence[OrderChange]) -> Document:
    """The order as it stood when it was acknowledged: the first answer, and every replay of it, to the letter."""
    order.status, order.payment_status, order.promised_at = Status.PENDING_PAYMENT, PaymentStatus.UNPAID, None
    order.refunded_part = NOTHING
    until = next((n for n, row in enumerate(history) if row.target == Status.PENDING_PAYMENT), 0)
    return order_document(order, lines, history[: until + 1])


def full_document(order: Order) -> Document:
    """The order with its lines, history and amendments, read from its shard."""
    return order_document(order, *parts_of(order), amendments.of([order], using=shard_of_id(order.pk))[order.pk])


def parts_of(order: Order) -> tuple[list[OrderLine], list[OrderChange]]:
    """The lines and the history of an order, read from its shard."""
    using = shard_of_id(order.pk)
    return lines_of([order.pk], using=using)[order.pk], history_of([order.pk], using=using)[order.pk]


def money_document(order: Order) -> Document:
    """Where an order and its money stand."""
    return {"status": order.status, "payment_status": order.payment_status, "reminded_at": _plain(order.reminded_at)}


def change_document(row: OrderChange) -> Document:
    """One change of an order."""
    return {"status": row.target, "at": _plain(row.at), "actor": row.actor, "reason": row.reason_text()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, int | str) else str(value)
