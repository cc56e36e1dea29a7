"""What people at a shop look at: the board's cards, the kitchen's list, a courier's deliveries. Only reading.

Each is of the shops this person may see the board of, or of one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

import accounts.services
import menu.services
from menu.services import ShopInfo
from orders.desk import board, tickets
from orders.desk.models import LONGEST_NUMBER, OF_A_DAY, BoardEvent, DeskOrder
from orders.desk.services import ACTIONS
from orders.states import WITH_THE_SHOP, Status
from waimai.infra.clock import db_now
from waimai.infra.db import by_index
from waimai.infra.errors import NotFound, PermissionRefused
from waimai.infra.sharding import DEFAULT

# More than anybody can see at once; the oldest are shown, and a line says how many wait behind them.
MOST_CARDS = 200
CANCELLED_WITHIN = timedelta(minutes=30)
USUAL_MINUTES = (15, 30, 45, 60)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One order on the board."""

    order: DeskOrder
    waiting_minutes: int
    late: bool
    actions: tuple[str, ...]
    minutes: tuple[int, ...]
    customer: str
    courier: str
    couriers: dict[int, str]
    map_url: str
    # The shop's clock.
    zone: str
    may_amend: bool
    # What may come instead of something: number and name of each dish.
    instead: dict[int, str]


@dataclass(frozen=True, kw_only=True)
class Board:
    """The board: its columns, what was cancelled lately, and how much of it isn't shown."""

    new: list[Card]
    accepted: list[Card]
    delivering: list[Card]
    cancelled: list[BoardEvent]
    not_shown: int
    tickets: int

    @property
    def columns(self) -> list[tuple[str, list[Card]]]:
        """State and cards, from left to right."""
        return [(Status.PAID, self.new), (Status.ACCEPTED, self.accepted), (Status.DELIVERING, self.delivering)]


@dataclass
class Dish:
    """So many of a dish, wanted the same way, for these orders; `since` is when the first of them was paid."""

    name: str
    details: str
    since: datetime
    # The shop's clock.
    zone: str
    # When the first of them has to be there.
    due: datetime | None = None
    quantity: int = 0
    notes: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)


def my_shops(*, staff_id: int, permission: str = "view_board") -> dict[int, ShopInfo]:
    """The shops whose board this person may see. Raises PermissionRefused when there are none."""
    mine = accounts.services.shops_of_staff(user_id=staff_id, permission=permission)
    found = {shop.id: shop for shop in menu.services.list_shops() if mine is None or shop.id in mine}
    if not found:
        raise PermissionRefused
    return found


def doors_of(staff_id: int) -> dict[str, bool]:
    """Which of the screens besides the board and the kitchen are of use to this person."""

    def may(permission: str) -> bool:
        return accounts.services.has_permission_somewhere(user_id=staff_id, permission=permission)

    return {"courier": may("complete_order"), "dishes": may("sell_out") or may("run_shop")}


def chosen(shops: dict[int, ShopInfo], wanted: str) -> frozenset[int]:
    """The numbers of the shops that are looked at: all, or the one that is named. Raises NotFound for another's."""
    if not wanted:
        return frozenset(shops)
    if not wanted.isdecimal() or int(wanted) not in shops:
        raise NotFound
    return frozenset({int(wanted)})


def read_board(*, staff_id: int, shops: dict[int, ShopInfo], looked_at: frozenset[int]) -> Board:
    """The orders that these shops have to see to, oldest first."""
    rows, not_shown = _with_the_shop(looked_at)
    cards = _cards(rows, staff_id, shops)
    by_status: dict[str, list[Card]] = {status: [] for status in WITH_THE_SHOP}
    for card in cards:
        by_status[card.order.status].append(card)
    return Board(
        new=by_status[Status.PAID],
        accepted=by_status[Status.ACCEPTED],
        delivering=by_status[Status.DELIVERING],
        cancelled=board.cancellations(looked_at, within=CANCELLED_WITHIN),
        not_shown=not_shown,
        tickets=tickets.waiting(looked_at),
    )


def _with_the_shop(looked_at: Iterable[int]) -> tuple[list[DeskOrder], int]:
    """The oldest of each state: deliveries that nobody ended must not hide what waits to be accepted."""
    found: list[DeskOrder] = []
    not_shown = 0
    for status in WITH_THE_SHOP:
        some = list(_of_status(looked_at, status, most=MOST_CARDS + 1))
        found += some[:MOST_CARDS]
        if len(some) > MOST_CARDS:
            not_shown += DeskOrder.objects.filter(shop_id__in=looked_at, status=status).count() - MOST_CARDS
    return found, not_shown


def _cards(rows: list[DeskOrder], staff_id: int, shops: dict[int, ShopInfo]) -> list[Card]:
    now = db_now(DEFAULT)
    may = {shop: accounts.services.permissions_of(user_id=staff_id, shop_id=shop) for shop in {r.shop_id for r in rows}}
    couriers = {shop: accounts.services.couriers_of(shop_id=shop) for shop in may}
    instead = {shop: _could_come_instead(shop) for shop in may}
    people = accounts.services.user_brief({row.user_id for row in rows} | {row.courier_id or 0 for row in rows})
    return [
        Card(
            order=row,
            waiting_minutes=max(0, int((now - row.paid_at).total_seconds() // 60)),
            late=bool(row.promised_at and row.promised_at < now),
            actions=tuple(name for name in ACTIONS.get(row.status, ()) if f"{name}_order" in may[row.shop_id]),
            minutes=_minutes(shops[row.shop_id].prep_minutes),
            customer=people[row.user_id].nickname if row.user_id in people else "",
            courier=people[row.courier_id].nickname if row.courier_id in people else "",
            couriers=couriers[row.shop_id],
            map_url=map_url(row),
            zone=shops[row.shop_id].time_zone,
            may_amend=row.status == Status.ACCEPTED and "amend_order" in may[row.shop_id] and not row.is_asked,
            instead=instead[row.shop_id],
        )
        for row in rows
    ]


def _could_come_instead(shop_id: int) -> dict[int, str]:
    """Dishes that can be ordered as they stand: on sale, not counted, nothing to choose."""
    return {
        item.id: f"{item.name} ¥{item.price:.2f}"
        for item in menu.services.get_menu(shop_id).items.values()
        if item.on_sale and item.in_stock and not item.limited and not any(group.min for group in item.option_groups)
    }


def _minutes(usual: int) -> tuple[int, ...]:
    """What can be promised with one touch, the shop's usual time first."""
    return (usual, *(minutes for minutes in USUAL_MINUTES if minutes != usual))


def map_url(row: DeskOrder) -> str:
    """A map of where it goes: of the coordinates where there are any, else of the address in words."""
    if row.latitude is None or row.longitude is None:
        return "https://uri.amap.com/search?" + urlencode({"keyword": row.address_text})
    place = {"position": f"{row.longitude},{row.latitude}", "name": row.address_text, "coordinate": "wgs84"}
    return "https://uri.amap.com/marker?" + urlencode(place)


def read_kitchen(*, shops: dict[int, ShopInfo], looked_at: frozenset[int]) -> dict[str, list[Dish]]:
    """The dishes of accepted orders, set meals multiplied out.

    `now`: what to cook, the longest waiting first. `later`: orders for a time whose cooking begins later than now, by
    that time.
    """
    at = db_now(DEFAULT)
    rows: list[DeskOrder] = []
    later: list[DeskOrder] = []
    for row in _of_status(looked_at, Status.ACCEPTED):
        early = row.deliver_at and row.deliver_at - timedelta(minutes=shops[row.shop_id].prep_minutes) > at
        (later if early else rows).append(row)
    later.sort(key=lambda row: row.deliver_at or at)
    by_time = [_dishes([row], shops) for row in later]
    return {"now": _dishes(rows, shops), "later": [dish for dishes in by_time for dish in dishes]}


def _dishes(rows: Iterable[DeskOrder], shops: dict[int, ShopInfo]) -> list[Dish]:
    dishes: dict[tuple[str, str], Dish] = {}
    for row in rows:
        shop = shops[row.shop_id]
        due = row.deliver_at or row.promised_at
        # Numbers are counted per shop.
        number = f"{row.call_number} {shop.name}" if len(shops) > 1 else row.call_number
        for name, details, quantity in _dishes_of(row):
            dish = dishes.setdefault((name, details), Dish(name, details, row.paid_at, shop.time_zone))
            dish.quantity += quantity
            dish.numbers.append(number)
            dish.due = min(dish.due or due, due) if due else dish.due
            if row.note and row.note not in dish.notes:
                dish.notes.append(row.note)
    return list(dishes.values())


def _of_status(looked_at: Iterable[int], status: str, *, most: int = MOST_CARDS) -> QuerySet[DeskOrder]:
    rows = DeskOrder.objects.filter(shop_id__in=looked_at, status=status)
    return rows.order_by("paid_at", "order_id")[:most]


def _dishes_of(row: DeskOrder) -> Iterable[tuple[str, str, int]]:
    for line in row.lines:
        details = "、".join(option["name"] for option in line["options"])
        if not line["components"]:
            yield line["name"], details, line["quantity"]
        for part in line["components"]:
            yield part["name"], "", part["quantity"] * line["quantity"]


def read_today(
    *, shops: dict[int, ShopInfo], looked_at: frozenset[int], wanted: str = ""
) -> list[tuple[DeskOrder, str]]:
    """The orders of each shop's business day with its time zone, newest first.

    Only those with this pick-up number, or these digits in the customer's phone, if `wanted` names any.
    """
    now, of_today = db_now(DEFAULT), Q()
    for shop_id in looked_at:
        of_today |= Q(shop_id=shop_id, business_date=menu.services.business_date(shops[shop_id], now))
    rows = DeskOrder.objects.filter(of_today)
    digits = "".join(filter(str.isdecimal, wanted))
    if digits:
        rows = rows.filter(Q(number=int(digits)) if len(digits) <= LONGEST_NUMBER else Q(phone__contains=digits))
    found = by_index(rows, OF_A_DAY).order_by("-paid_at", "-order_id")[:MOST_CARDS]
    return [(row, shops[row.shop_id].time_zone) for row in found]


def read_deliveries(*, staff_id: int, shops: dict[int, ShopInfo], looked_at: frozenset[int]) -> dict[str, Any]:
    """What this courier brings now, and what waits to be taken."""
    mine = DeskOrder.objects.filter(shop_id__in=looked_at, status=Status.DELIVERING, courier_id=staff_id)
    rows = [*mine.order_by("paid_at", "order_id")[:MOST_CARDS], *_of_status(looked_at, Status.ACCEPTED)]
    cards = _cards(rows, staff_id, shops)
    return {
        "mine": [card for card in cards if card.order.status == Status.DELIVERING],
        "to_take": [card for card in cards if card.order.status == Status.ACCEPTED],
    }
