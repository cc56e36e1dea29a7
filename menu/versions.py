"""The menu's version: it grows with every change, in the transaction of the change; copies are kept by it."""

from __future__ import annotations

from django.db.models import F

from menu.models import Shop


def menu_changed(*shop_ids: int) -> None:
    """Say that something of these shops was changed: every copy made of the older version is stale."""
    for shop_id in sorted(set(shop_ids)):
        Shop.objects.filter(pk=shop_id).update(menu_version=F("menu_version") + 1)
