"""The order saga: reserve stock, charge, confirm stock; each step has its undo in `orders.compensation`.

The row in the order's shard says how far it came. The request that places an order runs the first step itself; when it
dies, `recover` goes on once `next_at` has passed. The charge is the pivot: it is driven by the payment's own news, and
after it there is only forward.

Of several that work on one saga (after Garcia-Molina and Salem's sagas, dtm's barrier, Kleppmann's fencing tokens):

- **Lease.** Who claims a saga pushes `next_at` ahead, and nobody looks at it until then. A lease proves nothing: its
  holder may have stood still for longer than that, and not know it.
- **Fence.** Each claim and each step of progress raises `version`. What only the owner may decide (to begin, to give
  the order up, to note a failure) is done only while `version` is still the one that it claimed.
- **Forward needs no fence.** Holding, opening, selling and releasing are the same whoever does them, and happen once:
  by the barrier and the states of the holds on `default`, by compare-and-set of the order's state on its shard.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.models import F, QuerySet

import menu.services
from menu.services import SoldOut
from orders import cart, changes, compensation, documents
from orders.changes import By
from orders.compensation import EXPIRE
from orders.errors import InvalidTransition
from orders.models import Order, OrderChange, Saga
from orders.states import Actor, Reason, Status
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.sharding import shard_of_id

logger = logging.getLogger(__name__)

FIRST_VERSION = 1
RECOVER_AFTER_SECONDS = 5
LEASE_SECONDS = 30
RECOVERED_AT_ONCE = 50
TRIES_BEFORE_STUCK = 10
LIVE = (Saga.State.RUNNING, Saga.State.COMPENSATING)
T2, GIVEN_UP = crashpoints.around("place.t2"), crashpoints.around("place.give-up")
CLAIMED, PUT_OFF = crashpoints.around("saga.claim"), crashpoints.around("saga.retry")
TRANSIENT = (OperationalError, InterfaceError, ServiceUnavailable)

__all__ = ["EXPIRE", "FIRST_VERSION", "RECOVER_AFTER_SECONDS", "recover", "reserve", "reserve_many"]


def reserve(order_id: int, demands: Mapping[int, int], *, version: int = FIRST_VERSION) -> None:
    """T1 and T2: hold the portions, then open the order for payment, or cancel it for want of portions.

    `version` is the claim that it runs under: the row's first one for the request that wrote it. What became of it
    stands in the order, whoever was first, this call or recovery. Raises whatever the databases raise: then recovery
    goes on. Twice is harmless.
    """
    try:
        menu.services.hold_stock(order_id=order_id, demands=dict(demands))
    except SoldOut as refusal:
        _give_up(order_id, version, Reason.SOLD_OUT, sold_out=refusal.extra["items"])
    else:
        _open_for_payment([order_id], using=shard_of_id(order_id))


def reserve_many(
    orders: Sequence[Order], demands: Mapping[int, Mapping[int, int]], *, using: str
) -> dict[int, OrderChange]:
    """`reserve` for orders of one shard that were just written: T1 and T2 are each one transaction for all of them.

    Returns the history rows of those that were opened for payment, and sets these orders so; the others were cancelled.
    Raises also when only some were reserved: `reserve` may then be called for each.
    """
    short = menu.services.hold_many(demands)
    held = [order for order in orders if order.pk not in short]
    opened = run_atomic(using, lambda: _open_new(held, using), commit=T2) if held else []
    for order_id, items in short.items():
        _give_up(order_id, FIRST_VERSION, Reason.SOLD_OUT, sold_out=items)
    return {row.order_id: row for row in opened}


def _open_new(orders: Sequence[Order], using: str) -> list[OrderChange]:
    rows = changes.move_new(orders, Order.confirm, using=using, by=By(Actor.CUSTOMER), at=db_now(using))
    _await_payment(orders, using)
    return rows


def _open_for_payment(order_ids: Sequence[int], *, using: str) -> None:
    """T2: `placing → pending_payment`, the expiry timers, the carts emptied. Passes over those where it was done."""

    def body() -> set[int]:
        by, at = By(Actor.CUSTOMER), db_now(using)
        orders = changes.change_many(order_ids, Order.confirm, using=using, by=by, at=at)
        _await_payment(orders, using)
        return {order.pk for order in orders}

    passed_over = set(order_ids) - run_atomic(using, body, commit=T2)
    if passed_over:
        # Those that were cancelled between our hold and now: what we just held has to go back.
        cancelled = Order.objects.on(using).filter(pk__in=passed_over, status=Status.CANCELLED)
        menu.services.release_stock(order_ids=list(cancelled.values_list("pk", flat=True)))


def _await_payment(orders: Sequence[Order], using: str) -> None:
    timers.schedule_many(EXPIRE, [(order.pk, order.expires_at) for order in orders], using=using, new=True)
    for order in orders:
        cart.empty_after_order(order, using=using)
    rows = Saga.objects.on(using).filter(order_id__in=[order.pk for order in orders])
    rows.update(step=Saga.Step.CHARGE, next_at=None, attempts=0, version=F("version") + 1)


def _give_up(order_id: int, version: int, reason: Reason, *, sold_out: list[Any]) -> None:
    """`placing → cancelled`, unless the order has moved on or somebody else has claimed its saga, who may do better.

    `sold_out` names what was missing, for the answer.
    """
    using = shard_of_id(order_id)

    def body() -> None:
        if not _holds_claim(order_id, version, using):
            return
        by = By(Actor.SYSTEM, reason=reason)
        order = changes.change(order_id, Order.give_up, by=by, at=db_now(using), sold_out=sold_out)
        cart.touch_after_refusal(order, using=using)

    with suppress(InvalidTransition):
        run_atomic(using, body, commit=GIVEN_UP)


def recover(using: str) -> int:
    """Go on with the sagas of a shard that are due; returns how many were taken up."""
    due = Saga.objects.on(using).filter(next_at__lte=db_now(using), state__in=LIVE)
    if not due.exists():
        return 0
    claimed = run_atomic(using, lambda: _claim(using), commit=CLAIMED)
    for row in claimed:
        if not _claimed(row.order_id, row.version, using).exists():
            continue  # Those before it took longer than the lease.
        try:
            _go_on(row, using)
        except Exception as error:
            logger.warning(
                "saga of order %s failed at %s: %r",
                row.order_id,
                row.step,
                error,
                exc_info=not isinstance(error, TRANSIENT),
            )
            run_atomic(using, lambda row=row, error=error: _note_failure(row, error, using), commit=PUT_OFF)  # type: ignore[misc]
    return len(claimed)


def _claim(using: str) -> list[Saga]:
    now = db_now(using)
    rows = Saga.objects.on(using).filter(next_at__lte=now, state__in=LIVE)
    if connections[using].features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    claimed = list(rows.order_by("next_at")[:RECOVERED_AT_ONCE])
    for row in claimed:
        row.attempts, row.version = row.attempts + 1, row.version + 1
    Saga.objects.on(using).filter(order_id__in=[row.order_id for row in claimed]).update(
        next_at=now + timedelta(seconds=LEASE_SECONDS), attempts=F("attempts") + 1, version=F("version") + 1
    )
    return claimed


def _claimed(order_id: int, version: int, using: str) -> QuerySet[Saga]:
    """The row, if nobody has claimed it or moved it since."""
    rows: QuerySet[Saga] = Saga.objects.on(using).filter(order_id=order_id, version=version)
    return rows


def _holds_claim(order_id: int, version: int, using: str) -> bool:
    """Whether the claim holds, until the open transaction ends: order and saga are locked, in everybody's order."""
    list(Order.objects.by_id(order_id).select_for_update().values_list("pk"))
    return bool(_claimed(order_id, version, using).select_for_update().values_list("pk"))


def _go_on(row: Saga, using: str) -> None:
    if row.state == Saga.State.RUNNING and row.step == Saga.Step.RESERVE:
        reserve(row.order_id, _demands_of(row.order_id, using), version=row.version)
    else:
        compensation.go_on([row.order_id], using=using)


def _demands_of(order_id: int, using: str) -> dict[int, int]:
    """Portions per item, set meals with their parts; unlimited items among them are passed over when holding."""
    wanted: Counter[int] = Counter()
    for line in documents.lines_of([order_id], using=using)[order_id]:
        wanted[line.item_id] += line.quantity
        for part in line.components:
            wanted[part["item"]] += part["quantity"] * line.quantity
    return dict(wanted)


def _note_failure(row: Saga, error: Exception, using: str) -> None:
    """Try again later. A database that was down doesn't count as a try. What failed too often waits for a person; an
    order that couldn't be placed waits for nobody: it is given up, and what it may hold goes back."""
    transient = isinstance(error, TRANSIENT)
    too_often = row.attempts >= TRIES_BEFORE_STUCK and not transient
    if too_often and row.state == Saga.State.RUNNING and row.step == Saga.Step.RESERVE:
        _give_up(row.order_id, row.version, Reason.NOT_FINISHED, sold_out=[])
        return
    pause = timedelta(seconds=min(2**row.attempts, 300))
    noted = _claimed(row.order_id, row.version, using).update(
        state=Saga.State.STUCK if too_often else row.state,
        next_at=None if too_often else db_now(using) + pause,
        attempts=row.attempts - transient,
        error=repr(error)[:500],
    )
    if noted and too_often:
        logger.error("saga of order %s is stuck at %s after %s tries: %r", row.order_id, row.step, row.attempts, error)
