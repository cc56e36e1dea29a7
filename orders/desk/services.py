"""The front door of the staff's side: the board's rows, and what staff do to orders.

Rows are fed by events and may be rebuilt at any time. What staff do is done to the order itself, by `orders.services`;
the row then follows: at once for the actor, by the event for certain.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

import accounts.services
import menu.services
import orders.services
from orders.desk.board import counters as board_counters
from orders.desk.board import document as board_event_document
from orders.desk.board import events_since as board_events_since
from orders.desk.board import positions as board_positions
from orders.desk.models import OF_A_SHOP, OF_ALL, DeskOrder
from orders.desk.rows import apply, rebuild
from orders.models import Order, OrderChange
from orders.services import Document
from orders.states import WITH_THE_SHOP, Actor, Status
from waimai.infra.clock import db_now
from waimai.infra.db import by_index
from waimai.infra.errors import NotFound, PermissionRefused
from waimai.infra.sharding import DEFAULT

__all__ = [
    "ACTIONS",
    "accept",
    "apply",
    "board",
    "board_counters",
    "board_event_document",
    "board_events_since",
    "board_positions",
    "cancel",
    "complete",
    "deliver",
    "document",
    "last_change",
    "number_of",
    "rebuild",
    "reject",
    "sell_out",
    "set_open",
    "visible_to",
]

# What staff may do in which state, and the permission each needs.
ACTIONS: dict[str, tuple[str, ...]] = {
    Status.PAID: ("accept", "reject", "cancel"),
    Status.ACCEPTED: ("deliver", "cancel"),
    Status.DELIVERING: ("complete", "cancel"),
}


def board(*, staff_id: int, status: str | None = None, shop_id: int | None = None) -> QuerySet[DeskOrder]:
    """The orders of the shops this person works for; without a status those that the shop still has to see to.

    Order it by `paid_at, order_id`: oldest waiting first. Raises PermissionRefused for somebody who works nowhere.
    """
    shops = _shops_of(staff_id)
    rows = _rows_of(shops)
    if shop_id is not None:
        rows = DeskOrder.objects.filter(shop_id=shop_id) if shops is None or shop_id in shops else rows.none()
        shops = frozenset({shop_id})
    if not status:
        return rows.filter(status__in=WITH_THE_SHOP)
    return by_index(rows, OF_A_SHOP if shops and len(shops) == 1 else OF_ALL).filter(status=status)


def visible_to(staff_id: int) -> QuerySet[DeskOrder]:
    """Every row of the shops this person works for. Raises PermissionRefused for somebody who works nowhere."""
    return _rows_of(_shops_of(staff_id))


def _shops_of(staff_id: int) -> frozenset[int] | None:
    """None for all of them."""
    shops = accounts.services.shops_of_staff(user_id=staff_id)
    if shops is not None and not shops:
        raise PermissionRefused
    return shops


def _rows_of(shops: frozenset[int] | None) -> QuerySet[DeskOrder]:
    return DeskOrder.objects.all() if shops is None else DeskOrder.objects.filter(shop_id__in=shops)


def number_of(order_id: int) -> int | None:
    """An order's pick-up number; None while the desk hasn't heard of it, and of one from before there were any."""
    return DeskOrder.objects.filter(order_id=order_id).values_list("number", flat=True).first()


def accept(*, order_id: int, staff_id: int, minutes: int | None = None) -> DeskOrder:
    """The shop takes the order; `minutes` until it is with the customer. Raises like `orders.services.accept`."""
    return _followed(lambda: orders.services.accept(order_id=order_id, staff_id=staff_id, minutes=minutes))


def reject(*, order_id: int, staff_id: int, reason: str) -> DeskOrder:
    """The shop won't take it; refunded. Raises like `orders.services.reject`."""
    return _followed(lambda: orders.services.reject(order_id=order_id, staff_id=staff_id, reason=reason))


def cancel(*, order_id: int, staff_id: int, reason: str, restock: bool | None = None) -> DeskOrder:
    """The shop cancels; refunded. Raises like `orders.services.withdraw`."""
    return _followed(
        lambda: orders.services.withdraw(order_id=order_id, staff_id=staff_id, reason=reason, restock=restock)
    )


def deliver(*, order_id: int, staff_id: int, courier_id: int | None = None) -> DeskOrder:
    """Handed to the courier. Raises like `orders.services.deliver`."""
    return _followed(lambda: orders.services.deliver(order_id=order_id, staff_id=staff_id, courier_id=courier_id))


def complete(*, order_id: int, staff_id: int) -> DeskOrder:
    """With the customer. Raises like `orders.services.complete`."""
    return _followed(lambda: orders.services.complete(order_id=order_id, staff_id=staff_id))


def last_change(order_id: int) -> tuple[str, OrderChange, datetime]:
    """Who made the last change of an order, the change, and when by the shop's clock. Raises NotFound."""
    change = orders.services.last_change(order_id)
    shop_id = DeskOrder.objects.filter(order_id=order_id).values_list("shop_id", flat=True).first()
    if shop_id is None:
        raise NotFound
    at = change.at.astimezone(ZoneInfo(menu.services.get_shop(shop_id).time_zone))
    people = accounts.services.user_brief([change.actor_id] if change.actor_id else [])
    names = [person.nickname for person in people.values() if change.actor == Actor.STAFF]
    return (names[0] if names and names[0] else str(change.get_actor_display())), change, at


def sell_out(*, item_id: int, staff_id: int, hours: int | None, portions: int | None = None) -> None:
    """Sell a dish out for so many hours (None: until the shop opens on another day; 0: back now, with `portions`).

    Raises like `require_staff` and `menu.services.sell_out`.
    """
    shop_id = menu.services.shop_of_item(item_id)
    accounts.services.require_staff(user_id=staff_id, shop_id=shop_id, permission="sell_out")
    by = f"staff {staff_id}"
    if hours == 0:
        menu.services.bring_back(item_id=item_id, portions=portions, reason=by)
        return
    now = db_now(DEFAULT)
    until = (
        now + timedelta(hours=hours)
        if hours
        else menu.services.clock_ahead(menu.services.get_shop(shop_id), None, now=now)
    )
    menu.services.sell_out(item_id=item_id, until=until, reason=by)


def set_open(*, shop_id: int, staff_id: int, is_open: bool) -> None:
    """Open or close a shop by hand. Raises like `require_staff`."""
    accounts.services.require_staff(user_id=staff_id, shop_id=shop_id, permission="run_shop")
    menu.services.set_open(shop_id=shop_id, is_open=is_open)


def _followed(action: Callable[[], Order]) -> DeskOrder:
    """Do it to the order, then let the actor see the row follow at once."""
    order = action()
    apply(orders.services.snapshot_of(order))
    row = DeskOrder.objects.filter(order_id=order.pk).first()
    if row is None:
        raise NotFound
    return row


def document(row: DeskOrder) -> Document:
    """A row as the staff API shows it."""
    return {
        "id": row.order_id,
        "shop": row.shop_id,
        "shop_name": row.shop_name,
        "status": row.status,
        "payment_status": row.payment_status,
        "total": str(row.total),
        "net_total": str(row.net),
        "lines": row.lines,
        "contact": {"name": row.contact_name, "phone": row.phone, "address": row.address_text},
        "note": row.note,
        "tableware": row.tableware,
        "deliver_at": _iso(row.deliver_at),
        "placed_at": _iso(row.placed_at),
        "paid_at": _iso(row.paid_at),
        "promised_at": _iso(row.promised_at),
        "reminded_at": _iso(row.reminded_at),
        "allowed_actions": list(ACTIONS.get(row.status, ())),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
