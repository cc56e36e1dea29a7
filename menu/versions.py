"""The menu's version: it grows with every change, in the transaction of the change; copies are kept by it.

The prepared documents of the near cache are taken back when that transaction has committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F

from menu.models import Shop
from waimai.infra.near_cache import NearCache
from waimai.infra.sharding import DEFAULT

MOST_SHOPS_KEPT = 200
MOST_MISSING_KEPT = 1000


@dataclass(frozen=True, kw_only=True)
class MenuDocument:
    """The menu as clients get it: the bytes of the JSON, their ETag, and the same as data."""

    body: bytes
    etag: str
    data: dict[str, Any]


# For those who don't ask the database whether a document is still the present one.
prepared_menus: NearCache[MenuDocument] = NearCache("menu", most=MOST_SHOPS_KEPT)
# Numbers that no shop has: who asks for them again and again asks no database.
missing_shops: NearCache[int] = NearCache("no-shop", most=MOST_MISSING_KEPT)


def menu_changed(*shop_ids: int) -> None:
    """Say that something of these shops was changed: every copy made of the older version is stale."""
    for shop_id in sorted(set(shop_ids)):
        Shop.objects.filter(pk=shop_id).update(menu_version=F("menu_version") + 1)
    transaction.on_commit(partial(prepared_menus.take_back, shop_ids), using=DEFAULT, robust=True)


def shop_opened(shop_id: int) -> None:
    """Say that there is a new shop: its number isn't one that no shop has any more."""
    transaction.on_commit(partial(missing_shops.take_back, [shop_id]), using=DEFAULT, robust=True)
