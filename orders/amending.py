"""The shop amends an order that it has accepted: proposes to leave something out or to bring another dish instead.

The customer answers in time, or the order goes on as it is. What is agreed never costs more than before; the
difference goes back in the transaction of the answer. Everything here holds the order's row (an answer its payments
first, as everybody who does both), so that there is one open proposal at most and one answer.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils.translation import gettext as _

import accounts.services
import menu.services
import payments.services
from menu.services import LineRequest, QuotedLine
from orders import amendments, changes, documents, reading
from orders.amendments import TIMER
from orders.errors import AmendmentClosed, AmendmentNotPossible, AmendmentOpen, InvalidTransition
from orders.events import OrderAmended, OrderAmendmentClosed, OrderAmendmentProposed
from orders.models import NOTHING, Amendment, Order, OrderLine
from orders.states import Status
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, ValidationFailed
from waimai.infra.sharding import shard_of_id

LONGEST_REASON = 200
PURPOSE = "amend"
State = Amendment.State
PROPOSED, ANSWERED = crashpoints.around("amend.propose"), crashpoints.around("amend.answer")


def propose(
    *, order_id: int, staff_id: int, line: int, quantity: int, replacement: int | None, reason: str = ""
) -> documents.Document:
    """Ask the customer whether `quantity` portions of a line may be left out, or be of the dish `replacement` instead.

    `line` is the number of a line as it is to be cooked now (a replacement's, too). Returns the proposal. Raises
    NotFound for an order of another shop, PermissionRefused, ValidationFailed (also for a dish whose portions are
    counted), InvalidTransition unless the order is accepted, AmendmentOpen, AmendmentNotPossible.
    """
    order: Order | None = Order.objects.by_id(order_id).first()
    if order is None:
        raise NotFound
    accounts.services.require_staff(user_id=staff_id, shop_id=order.shop_id, permission="amend_order")
    if quantity < 1:
        raise ValidationFailed(errors={"quantity": [_("至少 1 份")]})
    dish = None if replacement is None else _dish(order.shop_id, replacement, quantity)
    wish = Amendment(line_n=line, quantity=quantity, reason=reason.strip()[:LONGEST_REASON], proposed_by=staff_id)
    using = shard_of_id(order_id)
    return run_atomic(using, lambda: _propose(order_id, wish, dish, using), commit=PROPOSED)


def answer(*, order_id: int, user_id: int, n: int, accept: bool) -> Order:
    """The customer agrees to the order's proposal `n`, or doesn't; the same answer again changes nothing.

    Agreed, the difference is refunded. Raises NotFound (also for someone else's order) and AmendmentClosed.
    """
    reading.own_order(order_id=order_id, user_id=user_id)
    using = shard_of_id(order_id)
    return run_atomic(using, lambda: _answer(order_id, n, accept=accept, using=using), commit=ANSWERED)


def open_proposal(order_id: int) -> documents.Document | None:
    """The proposal that waits for the customer's answer, if the order has one."""
    using = shard_of_id(order_id)
    if not Amendment.objects.of_order(order_id).filter(state=State.PROPOSED).exists():
        return None
    amended = list(Amendment.objects.of_order(order_id).order_by("n"))
    return documents.proposal_document(documents.lines_of([order_id], using=using)[order_id], amended)


@timers.fires(TIMER)
def expire(ref_ids: list[int], *, using: str, now: Any) -> None:
    """End the proposals of these orders that nobody answered in time; the orders go on unchanged."""
    orders = list(Order.objects.on(using).filter(pk__in=ref_ids).select_for_update().order_by("pk"))
    proposals = Amendment.objects.on(using).filter(order_id__in=ref_ids, state=State.PROPOSED)
    until = dict(proposals.values_list("order_id", "answer_by"))
    late = [order for order in orders if order.pk in until and until[order.pk] <= now]
    # A newer proposal has a timer of its own under the same number.
    timers.cancel(TIMER, [ref for ref in ref_ids if ref not in until], using=using)
    if not late:
        return
    numbers = [order.pk for order in late]
    amendments.close(numbers, State.EXPIRED, using=using, at=now)
    Order.objects.on(using).filter(pk__in=numbers).update(version=F("version") + 1)
    for order in late:
        order.version += 1
    changes.tell(OrderAmendmentClosed, late, using=using)


def _dish(shop_id: int, item_id: int, quantity: int) -> QuotedLine:
    """So many portions of a dish by today's menu, without options. Raises ValidationFailed.

    Portions of a counted dish would have to be held on another database until the customer answers: they aren't.
    """
    quote = menu.services.quote(shop_id=shop_id, lines=[LineRequest(item_id, quantity)])
    if quote.problems:
        raise ValidationFailed(errors={"replacement": [problem.detail for problem in quote.problems]})
    (dish,) = quote.lines
    if quote.demands:
        named = {dish.item_id: dish.name} | {part.item_id: part.name for part in dish.components}
        counted = "、".join(named[item] for item in quote.demands)
        raise ValidationFailed(errors={"replacement": [_("“%(name)s”限量供应，不能用来替换") % {"name": counted}]})
    return dish


def _propose(order_id: int, wish: Amendment, dish: QuotedLine | None, using: str) -> documents.Document:
    order = _held(order_id)
    if order.status != Status.ACCEPTED:
        raise InvalidTransition(order_status=order.status, transition=PURPOSE)
    now = db_now(using)
    lines = documents.lines_of([order_id], using=using)[order_id]
    earlier = amendments.of([order], using=using)[order_id]
    if any(each.state == State.PROPOSED for each in earlier):
        raise AmendmentOpen
    net = amendments.net_lines(lines, earlier)
    line = _line(net, wish)
    if dish is not None and dish.item_id == line.item_id:
        raise ValidationFailed(errors={"replacement": [_("“%(name)s”不能换成它自己") % {"name": dish.name}]})
    price = NOTHING if dish is None else min(line.unit_price, dish.unit_price)
    asked = Amendment(
        order_id=order_id,
        bucket=order.bucket,
        n=len(earlier) + 1,
        line_n=line.n,
        quantity=wish.quantity,
        replacement=None if dish is None else _columns(dish, price),
        refund=(line.unit_price - price) * wish.quantity,
        reason=wish.reason,
        proposed_by=wish.proposed_by,
        proposed_at=now,
        answer_by=now + timedelta(seconds=settings.WAIMAI_AMENDMENT_SECONDS),
    )
    nothing_left = dish is None and wish.quantity == sum(each.quantity for each in net)
    if nothing_left or asked.refund >= order.net_total:
        raise AmendmentNotPossible
    asked.save(using=using, force_insert=True)
    timers.schedule(TIMER, order_id, due_at=asked.answer_by, using=using)
    _change(order, using=using)
    changes.tell(OrderAmendmentProposed, [order], using=using)
    return documents.amendment_document(asked, lines, [*earlier, asked])


def _line(net: list[OrderLine], wish: Amendment) -> OrderLine:
    line = next((each for each in net if each.n == wish.line_n), None)
    if line is None:
        raise ValidationFailed(errors={"line": [_("订单里没有这一行")]})
    if wish.quantity > line.quantity:
        raise ValidationFailed(errors={"quantity": [_("这一行只有 %(count)d 份") % {"count": line.quantity}]})
    return line


def _columns(dish: QuotedLine, price: Decimal) -> dict[str, Any]:
    """A dish by the columns of a line, at what is charged for a portion."""
    return {
        "item_id": dish.item_id,
        "kind": dish.kind,
        "name": dish.name,
        "unit_price": str(price),
        "quantity": dish.quantity,
        "options": [],
        "components": [{"item": c.item_id, "name": c.name, "quantity": c.quantity} for c in dish.components],
        "image": dish.image or "",
    }


def _answer(order_id: int, n: int, *, accept: bool, using: str) -> Order:
    payments.services.lock_payments(order_ids=[order_id], using=using)
    order = _held(order_id)
    asked: Amendment | None = Amendment.objects.of_order(order_id).filter(n=n).first()
    if asked is None:
        raise NotFound
    wanted = State.ACCEPTED if accept else State.DECLINED
    if asked.state == wanted:
        return order
    now = db_now(using)
    if asked.state != State.PROPOSED or order.status != Status.ACCEPTED or asked.answer_by <= now:
        raise AmendmentClosed
    amendments.close([order_id], wanted, using=using, at=now)
    if not accept:
        _change(order, using=using)
        changes.tell(OrderAmendmentClosed, [order], using=using)
        return order
    if asked.refund:
        payments.services.refund_part(
            order_id=order_id, amount=asked.refund, purpose=PURPOSE, ref=str(n), reason=asked.reason, using=using
        )
    _change(order, using=using, refunded_part=order.refunded_part + asked.refund)
    changes.tell(OrderAmended, [order], using=using)
    return order


def _held(order_id: int) -> Order:
    order: Order = Order.objects.by_id(order_id).select_for_update().get()
    return order


def _change(order: Order, *, using: str, **columns: Any) -> None:
    """Raise the order's version, along with these columns, in the row and here."""
    for name, value in columns.items():
        setattr(order, name, value)
    order.version += 1
    Order.objects.on(using).filter(pk=order.pk).update(version=order.version, **columns)
