"""What the clock does to orders: cancels what nobody paid, completes what everybody forgot. In sets, not one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orders import changes
from orders.changes import By
from orders.compensation import COMPLETE, EXPIRE
from orders.models import Order
from orders.states import Actor, Reason
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic

EXPIRED = crashpoints.around("order.expire-on-read")


@timers.fires(EXPIRE)
def expire(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """Cancel the orders among these that still wait for payment; the timers end either way."""
    by = By(Actor.CLOCK, reason=Reason.PAYMENT_TIMEOUT)
    moved = changes.change_many(ref_ids, Order.expire, using=using, by=by, at=now)
    # Those of the orders that moved ended with them.
    if others := set(ref_ids) - {order.pk for order in moved}:
        timers.cancel(EXPIRE, others, using=using)


@timers.fires(COMPLETE)
def complete_forgotten(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """Complete the orders among these that are still on their way."""
    by = By(Actor.CLOCK, reason=Reason.FORGOTTEN_DELIVERY)
    changes.change_many(ref_ids, Order.complete, using=using, by=by, at=now)
    timers.cancel(COMPLETE, ref_ids, using=using)


def expire_now(order_ids: Sequence[int], *, using: str) -> None:
    """Expire orders that a reader found past their time."""
    run_atomic(using, lambda: expire(list(order_ids), using=using, now=db_now(using)), commit=EXPIRED)
