"""Counting what a menu has, for those who run it."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q

from menu.models import Item

NONE_LEFT = Q(stock__limited=True, stock__available=0)


def sold_out_now(*, shops: Collection[int] | None) -> int:
    """How many items that are on sale in these shops (None: in all) have no portion left now; one query."""
    rows = Item.objects.filter(NONE_LEFT, on_sale=True)
    return (rows if shops is None else rows.filter(shop_id__in=shops)).count()
