"""What a person does about a saga that is stuck: let it run again, or undo its order with everything that is owed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import F

import accounts.services
import payments.services
from orders import cart, changes
from orders.changes import By
from orders.models import Order, Saga
from orders.states import Actor, Status
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound
from waimai.infra.sharding import shard_of_id


def retry_saga(order_id: int) -> bool:
    """Take a stuck saga up again: forward while its order lives, backward when it was cancelled.

    False when it isn't stuck: then nothing changes.
    """
    return run_atomic(shard_of_id(order_id), lambda: _run_again(order_id))


def undo_stuck_order(*, order_id: int, staff_id: int, reason: str) -> bool:
    """Cancel the order of a stuck saga wherever it stands: refunded when paid, portions back unless it was cooked.

    An order that was cancelled before only has its saga run again. False when the saga isn't stuck: then nothing
    changes. Raises NotFound, PermissionRefused for who may not cancel orders of the shop, and InvalidTransition for a
    completed order.
    """
    order: Order | None = Order.objects.by_id(order_id).first()
    if order is None:
        raise NotFound
    accounts.services.require_staff(user_id=staff_id, shop_id=order.shop_id, permission="cancel_order")
    return run_atomic(shard_of_id(order_id), lambda: _undo(order_id, By(Actor.STAFF, staff_id, reason)))


def _undo(order_id: int, by: By) -> bool:
    using = shard_of_id(order_id)
    # Before the order, as whoever settles a payment does: or the two wait for each other in a circle.
    payments.services.lock_payments(order_ids=[order_id], using=using)
    if not _is_stuck(order_id):
        return False
    status = Order.objects.by_id(order_id).values_list("status", flat=True).get()
    if status == Status.CANCELLED:
        return _run_again(order_id)
    method, columns = _way_out(status)
    order = changes.change(order_id, method, by=by, at=db_now(using), **columns)
    if status == Status.PLACING:
        cart.touch_after_refusal(order, using=using)
    return True


def _way_out(status: str) -> tuple[Callable[[Any], None], dict[str, Any]]:
    """The transition that cancels from there, and what it sets."""
    if status == Status.PLACING:
        return Order.give_up, {"sold_out": []}
    return (Order.cancel if status == Status.PENDING_PAYMENT else Order.withdraw), {}


def _is_stuck(order_id: int) -> bool:
    """Whether the saga is stuck, until the open transaction ends: the order is locked before it, as everywhere."""
    list(Order.objects.by_id(order_id).select_for_update().values_list("pk"))
    rows = Saga.objects.by_id(order_id).filter(state=Saga.State.STUCK)
    return bool(rows.select_for_update().values_list("pk"))


def _run_again(order_id: int) -> bool:
    if not _is_stuck(order_id):
        return False
    cancelled = Order.objects.by_id(order_id).filter(status=Status.CANCELLED).exists()
    state = Saga.State.COMPENSATING if cancelled else Saga.State.RUNNING
    now = db_now(shard_of_id(order_id))
    row = Saga.objects.by_id(order_id)
    row.update(state=state, next_at=now, attempts=0, error="", version=F("version") + 1)
    return True
