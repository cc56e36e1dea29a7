"""What people do to an order after it was placed: the customer cancels and reminds, the shop cooks and delivers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.translation import gettext as _

import accounts.services
import menu.services
from orders import changes, reading
from orders.changes import By
from orders.compensation import COMPLETE
from orders.errors import InvalidTransition, RemindedAlready
from orders.events import OrderReminded
from orders.models import Order
from orders.states import WITH_THE_SHOP, Actor
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, ValidationFailed
from waimai.infra.sharding import shard_of_id

REMIND_AGAIN_AFTER_SECONDS = 60
MOST_MINUTES = 24 * 60
LONGEST_REASON = 200
FORGOTTEN_AT = time(1, 0)
CHANGED = crashpoints.around("order.change")


def cancel(*, order_id: int, user_id: int, reason: str = "") -> Order:
    """The customer cancels, until the shop has accepted; a paid order is refunded.

    Raises NotFound (also for someone else's order) and InvalidTransition.
    """
    reading.own_order(order_id=order_id, user_id=user_id)
    return _move(order_id, Order.cancel, By(Actor.CUSTOMER, user_id, reason))


def remind(*, order_id: int, user_id: int) -> Order:
    """The customer asks the shop where the order is; at most once a minute.

    Raises NotFound, InvalidTransition when the shop doesn't have it, RemindedAlready.
    """
    using = shard_of_id(order_id)
    reading.own_order(order_id=order_id, user_id=user_id)

    def body() -> Order:
        order: Order = Order.objects.by_id(order_id).select_for_update().get()
        now = db_now(using)
        _check_remindable(order, now)
        order.reminded_at, order.version = now, order.version + 1
        Order.objects.by_id(order_id).update(reminded_at=now, version=order.version)
        changes.tell(OrderReminded, [order], using=using)
        return order

    return run_atomic(using, body, commit=CHANGED)


def _check_remindable(order: Order, now: datetime) -> None:
    if order.status not in WITH_THE_SHOP:
        raise InvalidTransition(order_status=order.status, transition="remind")
    if order.reminded_at and (passed := (now - order.reminded_at).total_seconds()) < REMIND_AGAIN_AFTER_SECONDS:
        raise RemindedAlready(retry_after=int(REMIND_AGAIN_AFTER_SECONDS - passed) + 1)


def accept(*, order_id: int, staff_id: int, minutes: int | None = None) -> Order:
    """The shop takes the order, promised in so many minutes (its usual preparation time when None).

    Raises like every staff action: NotFound for an order of another shop, PermissionRefused, InvalidTransition; and
    ValidationFailed for minutes outside 1 to 1440.
    """
    order = _for_staff(order_id, staff_id, "accept_order")
    if minutes is None:
        minutes = menu.services.get_shop(order.shop_id).prep_minutes
    if not 1 <= minutes <= MOST_MINUTES:
        raise ValidationFailed(errors={"minutes": [_("请输入 1 到 1440 分钟")]})
    now = db_now(shard_of_id(order_id))
    promised = max(now + timedelta(minutes=minutes), order.deliver_at or now)
    return _move(order_id, Order.accept, By(Actor.STAFF, staff_id), promised_at=promised)


def reject(*, order_id: int, staff_id: int, reason: str) -> Order:
    """The shop won't take the order: refunded, portions back. A reason is needed."""
    _for_staff(order_id, staff_id, "reject_order")
    return _move(order_id, Order.reject, By(Actor.STAFF, staff_id, _needed(reason)))


def withdraw(*, order_id: int, staff_id: int, reason: str, restock: bool | None = None) -> Order:
    """The shop cancels an order that it has: refunded. A reason is needed.

    `restock` says whether the portions can be sold again; None means: only if it hadn't been accepted yet.
    """
    _for_staff(order_id, staff_id, "cancel_order")
    return _move(order_id, Order.withdraw, By(Actor.STAFF, staff_id, _needed(reason)), restock=restock)


def deliver(*, order_id: int, staff_id: int, courier_id: int | None = None) -> Order:
    """Handed to the courier, by name if one is given; from now on the clock completes it should everybody forget.

    Raises ValidationFailed for somebody who brings nothing for this shop.
    """
    order = _for_staff(order_id, staff_id, "deliver_order")
    if courier_id is not None and courier_id not in accounts.services.couriers_of(shop_id=order.shop_id):
        raise ValidationFailed(errors={"courier": [_("请选择本店的骑手")]})
    using = shard_of_id(order_id)
    due_at = forgotten_at(order, db_now(using))

    def body() -> Order:
        timers.schedule(COMPLETE, order_id, due_at=due_at, using=using)
        return _move(order_id, Order.deliver, By(Actor.STAFF, staff_id), courier_id=courier_id)

    return run_atomic(using, body, commit=CHANGED)


def complete(*, order_id: int, staff_id: int) -> Order:
    """With the customer."""
    _for_staff(order_id, staff_id, "complete_order")
    using = shard_of_id(order_id)

    def body() -> Order:
        timers.cancel(COMPLETE, [order_id], using=using)
        return _move(order_id, Order.complete, By(Actor.STAFF, staff_id))

    return run_atomic(using, body, commit=CHANGED)


def forgotten_at(order: Order, now: datetime) -> datetime:
    """When a delivery counts as forgotten: the first 01:00 of the shop's clock, an hour or more after the order."""
    shop = menu.services.get_shop(order.shop_id)
    settled = order.placed_at + timedelta(seconds=settings.WAIMAI_FORGOTTEN_DELIVERY_SECONDS)
    earliest = max(settled, order.deliver_at or settled, now).astimezone(ZoneInfo(shop.time_zone))
    due = datetime.combine(earliest.date(), FORGOTTEN_AT, earliest.tzinfo)
    return (
        due if due >= earliest else datetime.combine(earliest.date() + timedelta(days=1), FORGOTTEN_AT, earliest.tzinfo)
    )


def _for_staff(order_id: int, staff_id: int, permission: str) -> Order:
    order: Order | None = Order.objects.by_id(order_id).first()
    if order is None:
        raise NotFound
    accounts.services.require_staff(user_id=staff_id, shop_id=order.shop_id, permission=permission)
    return order


def _needed(reason: str) -> str:
    if not reason.strip():
        raise ValidationFailed(errors={"reason": [_("请说明原因")]})
    return reason.strip()[:LONGEST_REASON]


def _move(order_id: int, method: Callable[[Any], None], by: By, **columns: Any) -> Order:
    using = shard_of_id(order_id)
    return run_atomic(
        using, lambda: changes.change(order_id, method, by=by, at=db_now(using), **columns), commit=CHANGED
    )
