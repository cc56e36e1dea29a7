"""News of the menu, for whoever is above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from waimai.infra.outbox import Event


@dataclass(frozen=True, kw_only=True)
class ItemSoldOut(Event):
    """The last portion of an item was taken. `key` is the item; published on the default database."""

    topic: ClassVar[str] = "menu.item_sold_out"
    shop_id: int
    name: str
