"""The times of day for which an order can be placed ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import menu.services
from menu.services import ShopInfo

SLOT = timedelta(minutes=15)


def delivery_times(shop: ShopInfo, *, now: datetime) -> list[datetime]:
    """Every quarter of an hour left of the shop's day at which it is open, by its clock; preparing takes its time."""
    local = now.astimezone(ZoneInfo(shop.time_zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    # Counted in slots from midnight: the first one not before it can be ready.
    first = -(-(local + timedelta(minutes=shop.prep_minutes) - midnight) // SLOT)
    slots = (midnight + number * SLOT for number in range(first, timedelta(days=1) // SLOT))
    return [slot for slot in slots if menu.services.is_open_at(shop, slot)]
