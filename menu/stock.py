"""Portions: counting them, holding them for an order, selling them, giving them back.

Every transaction here changes the stock rows last and in ascending order of items: a hot row is then locked for as
short as can be, and two orders of the same two dishes never wait for each other in a circle. Only when a dish runs low,
or comes back from there, does the shop's menu version follow: low is fewer than some set meal takes of it, or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import connections
from django.db.models import F, Max
from django.utils.translation import gettext as _

from menu.errors import NoSuchItem, SoldOut
from menu.events import ItemSoldOut
from menu.models import Item, Stock, StockAdjustment, StockHold
from menu.versions import menu_changed
from waimai.infra import crashpoints
from waimai.infra.barrier import undo_many, with_barrier
from waimai.infra.db import run_atomic
from waimai.infra.errors import ValidationFailed
from waimai.infra.outbox import publish
from waimai.infra.sharding import DEFAULT

STEP = "reserve"
ORDERS_AT_ONCE = 100
MOST_PORTIONS = 1_000_000
State = StockHold.State
HELD, RELEASED, CONFIRMED = (crashpoints.around(f"stock.{step}") for step in ("hold", "release", "confirm"))


@dataclass(frozen=True, kw_only=True)
class StockInfo:
    """Portions of an item: `available` is None when unlimited; `held` wait for payment."""

    item_id: int
    available: int | None
    held: int
    sold: int


@dataclass(frozen=True, kw_only=True)
class HoldInfo:
    """Portions that an order has: `live`, `sold` or `released`."""

    item_id: int
    quantity: int
    state: str


def set_stock(*, item_id: int, available: int | None, reason: str = "") -> None:
    """Make it `available` portions from now on, whatever is held or sold; None = unlimited.

    Raises NoSuchItem, and ValidationFailed for anything but None or a whole number from 0 to a million.
    """
    if available is not None and (type(available) is not int or not 0 <= available <= MOST_PORTIONS):
        raise ValidationFailed(errors={"available": [_("库存应为 0 到 1000000 的整数，或留空表示不限。")]})
    run_atomic(DEFAULT, lambda: put_stock(item_id, available, reason))


def put_stock(item_id: int, available: int | None, reason: str) -> None:
    """`set_stock` in the open transaction; whenever the item was to come back, that is settled now."""
    item = Item.objects.filter(pk=item_id).values("shop_id").first()
    if item is None:
        raise NoSuchItem
    Stock.objects.get_or_create(item_id=item_id)
    stock = Stock.objects.select_for_update().get(item_id=item_id)
    if available is None:
        stock.limited = False
    else:
        if available != stock.available:
            StockAdjustment.objects.create(item_id=item_id, delta=available - stock.available, reason=reason[:64])
        stock.limited, stock.available = True, available
    stock.back_at = stock.back_with = None
    stock.save(update_fields=["limited", "available", "back_at", "back_with"])
    menu_changed(item["shop_id"])


def stock_of(item_ids: Iterable[int]) -> dict[int, StockInfo]:
    """The stock of those items that ever had any counted."""
    return {
        row.item_id: StockInfo(
            item_id=row.item_id, available=row.available if row.limited else None, held=row.held, sold=row.sold
        )
        for row in Stock.objects.filter(item_id__in=list(item_ids))
    }


def hold_stock(*, order_id: int, demands: Mapping[int, int]) -> None:
    """Take the portions for an order, all or none, in a transaction of its own; a repetition changes nothing.

    An item that isn't limited (any more) is passed over. Raises SoldOut naming every item that falls short.
    """
    # The barrier comes before the question whether there is enough: a repetition after the last portion went must not
    # hear "sold out" about portions that it holds.
    body = partial(_hold, order_id, demands)
    held = partial(with_barrier, using=DEFAULT, saga_id=order_id, step=STEP, op="do", body=body)
    run_atomic(DEFAULT, held, commit=HELD)


def _hold(order_id: int, demands: Mapping[int, int]) -> None:
    enough = _enough(demands, limited=True)
    wanted = {item_id: demands[item_id] for item_id in sorted(enough) if demands[item_id] > 0}
    StockHold.objects.bulk_create(
        StockHold(order_id=order_id, item_id=item_id, quantity=quantity) for item_id, quantity in wanted.items()
    )
    left = {item_id: _take(order_id, item_id, wanted, enough[item_id]) for item_id in wanted}
    _tell_low({item_id: few for item_id, few in left.items() if few is not None})


def _enough(item_ids: Iterable[int], **which: bool) -> dict[int, int]:
    """With how many portions left, of those items that are counted, everything made of them can still be ordered."""
    rows = Stock.objects.filter(item_id__in=list(item_ids), **which)
    largest = rows.annotate(largest=Max("item__set_meal_uses__quantity")).values_list("item_id", "largest")
    return {item_id: quantity or 1 for item_id, quantity in largest}


def _take(order_id: int, item_id: int, wanted: Mapping[int, int], enough: int) -> int | None:
    """Take the portions of one item; returns how many are left if fewer than `enough`. Raises SoldOut."""
    quantity = wanted[item_id]
    row = Stock.objects.filter(item_id=item_id)
    change = {"available": F("available") - quantity, "held": F("held") + quantity}
    # The busy way is this one statement. Only what leaves few, or finds too few, looks again under a lock.
    if row.filter(available__gte=quantity + enough, back_at=None).update(**change):
        return None
    stock = row.select_for_update().first()
    if stock is None or not stock.limited:
        StockHold.objects.filter(order_id=order_id, item_id=item_id).delete()
        return None
    if stock.orderable < quantity:
        raise _sold_out(item_id, wanted)
    row.update(**change)
    left = stock.available - quantity
    return left if left < enough else None


def _sold_out(item_id: int, wanted: Mapping[int, int]) -> SoldOut:
    """The refusal, naming every item that falls short from this one on: those before it were enough."""
    later = [one for one in wanted if one >= item_id]
    rows = Stock.objects.filter(item_id__in=later, limited=True).select_related("item").order_by("item_id")
    short = [
        {"id": row.item_id, "name": row.item.name, "available": row.orderable}
        for row in rows
        if row.orderable < wanted[row.item_id]
    ]
    names = "、".join(str(one["name"]) for one in short)
    return SoldOut(_("库存不足：%(names)s。") % {"names": names}, items=short)


def _tell_low(left: Mapping[int, int]) -> None:
    if not left:
        return
    items = list(Item.objects.filter(pk__in=left).order_by("pk"))
    menu_changed(*(item.shop_id for item in items))
    for item in items:
        if left[item.pk] == 0:
            publish(ItemSoldOut(key=item.pk, shop_id=item.shop_id, name=item.name), using=DEFAULT)


def release_stock(*, order_ids: Sequence[int]) -> int:
    """Give back what orders hold or were sold, once; an order that comes to hold later finds the door shut.

    Returns how many holds were released.
    """
    return sum(run_atomic(DEFAULT, partial(_release, ids), commit=RELEASED) for ids in _chunks(order_ids))


def _release(order_ids: Sequence[int]) -> int:
    # The barrier only shuts the door. What there is to give back the holds' own states say, once each: they are kept
    # for good, and an order may be given up long after its barrier was forgotten.
    undo_many(using=DEFAULT, saga_ids=order_ids, step=STEP)
    live, sold = _move(order_ids, [State.LIVE, State.SOLD], State.RELEASED)
    back = [
        item_id
        for item_id, enough in sorted(_enough({*live, *sold}).items())
        if _put_back(item_id, live.get(item_id, 0), sold.get(item_id, 0), enough)
    ]
    if back:
        menu_changed(*Item.objects.filter(pk__in=back).values_list("shop_id", flat=True))
    return live.count + sold.count


def _put_back(item_id: int, live: int, sold: int, enough: int) -> bool:
    """Put portions of one item back; True when until now there were fewer than `enough`."""
    row = Stock.objects.filter(item_id=item_id)
    change = {"available": F("available") + live + sold, "held": F("held") - live, "sold": F("sold") - sold}
    return not row.filter(available__gte=enough).update(**change) and row.update(**change) == 1


def confirm_stock(*, order_ids: Sequence[int]) -> int:
    """What the orders hold is sold. Returns how many holds were; a repetition finds none."""
    return sum(run_atomic(DEFAULT, partial(_confirm, ids), commit=CONFIRMED) for ids in _chunks(order_ids))


def _confirm(order_ids: Sequence[int]) -> int:
    live, _none = _move(order_ids, [State.LIVE], State.SOLD)
    for item_id in sorted(live):
        Stock.objects.filter(item_id=item_id).update(held=F("held") - live[item_id], sold=F("sold") + live[item_id])
    return live.count


class _Portions(dict[int, int]):
    """Portions per item, and from how many holds they came."""

    count = 0


def _move(order_ids: Sequence[int], states: Sequence[str], to: str) -> tuple[_Portions, _Portions]:
    """Move holds from `states`; returns the portions that were live and those that were sold."""
    rows = StockHold.objects.filter(order_id__in=list(order_ids), state__in=states)
    found = list(rows.select_for_update().order_by("order_id", "item_id"))
    if rows.update(state=to) != len(found):
        raise RuntimeError("a hold appeared between reading and moving; the transaction is rolled back")
    portions = {State.LIVE.value: _Portions(), State.SOLD.value: _Portions()}
    for hold in found:
        group = portions[hold.state]
        group[hold.item_id] = group.get(hold.item_id, 0) + hold.quantity
        group.count += 1
    return portions[State.LIVE], portions[State.SOLD]


def _chunks(order_ids: Sequence[int]) -> Iterator[list[int]]:
    ordered = sorted(set(order_ids))
    for start in range(0, len(ordered), ORDERS_AT_ONCE):
        yield ordered[start : start + ORDERS_AT_ONCE]


def holds_of(order_ids: Iterable[int]) -> dict[int, list[HoldInfo]]:
    """The holds of those orders that have any, by item."""
    held: defaultdict[int, list[HoldInfo]] = defaultdict(list)
    for hold in StockHold.objects.filter(order_id__in=list(order_ids)).order_by("order_id", "item_id"):
        held[hold.order_id].append(HoldInfo(item_id=hold.item_id, quantity=hold.quantity, state=hold.state))
    return dict(held)


# One statement, so that it sees one moment even while orders come in; each table is read once.
AUDIT_SQL = """
SELECT s.item_id, s.available, s.held, s.sold, COALESCE(a.total, 0), COALESCE(h.live, 0), COALESCE(h.sold, 0)
FROM menu_stock s
LEFT JOIN (SELECT item_id, SUM(delta) AS total FROM menu_stockadjustment GROUP BY item_id) a ON a.item_id = s.item_id
LEFT JOIN (
    SELECT item_id, SUM(CASE state WHEN 'live' THEN quantity ELSE 0 END) AS live,
           SUM(CASE state WHEN 'sold' THEN quantity ELSE 0 END) AS sold
    FROM menu_stockhold GROUP BY item_id
) h ON h.item_id = s.item_id
WHERE s.available < 0 OR s.available + s.held + s.sold <> COALESCE(a.total, 0)
   OR s.held <> COALESCE(h.live, 0) OR s.sold <> COALESCE(h.sold, 0)
ORDER BY s.item_id
"""


def stock_problems() -> list[str]:
    """What breaks I1 (nothing below zero; adjustments = available + held + sold; counters = holds): a line per item."""
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(AUDIT_SQL)
        return [
            f"stock of item {item}: available {available}, held {held}, sold {sold}; "
            f"adjustments make {adjusted}, holds say {live} live and {gone} sold"
            for item, available, held, sold, adjusted, live, gone in cursor.fetchall()
        ]
