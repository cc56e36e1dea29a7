"""A shop's whole menu at one version, as plain values: prices and documents are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from menu.hours import OpeningSpan


@dataclass(frozen=True, kw_only=True)
class ShopInfo:
    """A shop. `is_open` is the switch thrown by hand; `hours.is_open_at` also asks the clock. Fees in yuan."""

    id: int
    name: str
    time_zone: str
    day_starts_at: time
    is_open: bool
    opening_hours: tuple[OpeningSpan, ...]
    notice: str
    phone: str
    address: str
    latitude: float | None
    longitude: float | None
    delivery_fee: Decimal
    packing_fee: Decimal
    minimum_order: Decimal
    prep_minutes: int
    delivery_area: dict[str, Any] | None
    menu_version: int


@dataclass(frozen=True, kw_only=True)
class MenuOption:
    """One option and what it adds to the price."""

    id: int
    name: str
    price_delta: Decimal


@dataclass(frozen=True, kw_only=True)
class MenuOptionGroup:
    """A choice of at least `min` and at most `max` options."""

    id: int
    name: str
    min: int
    max: int
    options: tuple[MenuOption, ...]


@dataclass(frozen=True, kw_only=True)
class MenuComponent:
    """A dish in a set meal."""

    item_id: int
    name: str
    quantity: int


@dataclass(frozen=True, kw_only=True)
class MenuItem:
    """A dish or a set meal. `on_sale` counts its category and dishes too; `in_stock` is a hint, the hold decides."""

    id: int
    category_id: int
    kind: str
    name: str
    price: Decimal
    image: str
    description: str
    on_sale: bool
    limited: bool
    in_stock: bool
    option_groups: tuple[MenuOptionGroup, ...]
    components: tuple[MenuComponent, ...]
    # When what is sold out is expected back, if anybody knows. Copies that an older release has put down lack it.
    back_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class MenuCategory:
    """A heading with its items, in order, those off sale too."""

    id: int
    name: str
    kind: str
    items: tuple[MenuItem, ...]
    # Copies that an older release has put down lack it.
    sort: int = 0


@dataclass(frozen=True, kw_only=True)
class Menu:
    """All of it. `items` also finds what stands under a category that is switched off."""

    shop: ShopInfo
    categories: tuple[MenuCategory, ...]
    items: Mapping[int, MenuItem]
