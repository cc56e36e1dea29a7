"""Undoing an order: money back in the transaction of the cancellation, portions back right after it.

The refund is asked for on the order's own shard, so it commits with the cancellation. Stock stands on another
database: the saga row remembers that it has to be released, and whoever comes by (the canceller, recovery) does it,
once, behind the barrier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet

import menu.services
import payments.services
from orders.models import Order, Saga
from orders.states import PaymentStatus, in_words
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic

EXPIRE, COMPLETE = "order.expire", "order.complete"
STEPPED, FINISHED = crashpoints.point("saga.step"), crashpoints.around("saga.finish")


def undo(orders: Sequence[Order], *, using: str, at: datetime, restock: bool | None, reason: str) -> None:
    """Ask for everything that a cancellation owes, in its transaction: refunds, stock, the end of its timers.

    `restock` None gives the portions back of orders that the shop hadn't accepted: the others were cooked.
    """
    order_ids = [order.pk for order in orders]
    timers.cancel((EXPIRE, COMPLETE), order_ids, using=using)
    # Also of a paid order: a second payment may still be open.
    payments.services.stop_collecting(order_ids=order_ids, using=using)
    for order in orders:
        if order.payment_status == PaymentStatus.PAID:
            _refund(order, using=using, reason=reason)
    _undo_stock([order for order in orders if order.limited], using=using, at=at, restock=restock)
    sagas = Saga.objects.on(using).filter(order_id__in=[order.pk for order in orders if not order.limited])
    sagas.update(state=Saga.State.COMPENSATED, next_at=None, version=F("version") + 1)


def _undo_stock(orders: Sequence[Order], *, using: str, at: datetime, restock: bool | None) -> None:
    for back in (True, False):
        chosen = [order.pk for order in orders if _goes_back(order, restock) == back]
        if chosen:
            Saga.objects.on(using).filter(order_id__in=chosen).update(
                state=Saga.State.COMPENSATING, release_stock=back, attempts=0, next_at=at, version=F("version") + 1
            )
            follow_up(chosen, using=using)


def _goes_back(order: Order, restock: bool | None) -> bool:
    return order.promised_at is None if restock is None else restock


def _refund(order: Order, *, using: str, reason: str) -> None:
    payments.services.refund_order(order_id=order.pk, purpose="cancel", reason=in_words(reason), using=using)
    Order.objects.on(using).filter(pk=order.pk).update(payment_status=PaymentStatus.REFUNDING)
    order.payment_status = PaymentStatus.REFUNDING


def follow_up(order_ids: Iterable[int], *, using: str) -> None:
    """Go on with these sagas as soon as the open transaction has committed; recovery finds those that fail."""
    wanted = list(order_ids)
    transaction.on_commit(lambda: go_on(wanted, using=using), using=using, robust=True)


def go_on(order_ids: Sequence[int], *, using: str) -> None:
    """Do the stock step that each saga waits for: sold when paid, given back when cancelled. Twice is harmless.

    Portions that staff chose not to give back were cooked: they count as sold.
    """
    rows = Saga.objects.on(using).filter(order_id__in=list(order_ids))
    selling = _numbers(rows.filter(state=Saga.State.RUNNING, step=Saga.Step.CONFIRM))
    cooked = _numbers(rows.filter(state=Saga.State.COMPENSATING, release_stock=False))
    releasing = _numbers(rows.filter(state=Saga.State.COMPENSATING, release_stock=True))
    if selling or cooked:
        menu.services.confirm_stock(order_ids=[*selling, *cooked])
        STEPPED()
        _finish(selling, Saga.State.RUNNING, Saga.State.DONE, using)
        _finish(cooked, Saga.State.COMPENSATING, Saga.State.COMPENSATED, using)
    if releasing:
        menu.services.release_stock(order_ids=releasing)
        STEPPED()
        _finish(releasing, Saga.State.COMPENSATING, Saga.State.COMPENSATED, using)


def _numbers(rows: QuerySet[Saga]) -> list[int]:
    return list(rows.values_list("order_id", flat=True))


def _finish(order_ids: Sequence[int], source: str, target: str, using: str) -> None:
    # A saga that was cancelled in between is no longer in `source` and goes its own way.
    rows = Saga.objects.on(using).filter(order_id__in=order_ids, state=source)
    end = {"state": target, "next_at": None, "attempts": 0, "error": "", "version": F("version") + 1}
    run_atomic(using, lambda: rows.update(**end), commit=FINISHED)


def captured(order: Order, *, using: str) -> None:
    """The saga's side of a captured payment, in its transaction: only the stock is left to confirm."""
    row = Saga.objects.on(using).filter(order_id=order.pk)
    if not order.limited:
        row.update(state=Saga.State.DONE, next_at=None, version=F("version") + 1)
        return
    row.update(step=Saga.Step.CONFIRM, attempts=0, next_at=db_now(using), version=F("version") + 1)
    follow_up([order.pk], using=using)
