"""The shop of clients that know of one only."""

from __future__ import annotations

from django.conf import settings

from menu.catalogue import get_menu
from menu.errors import NoSuchShop
from menu.models import Shop
from menu.snapshot import Menu


def only_shop() -> Menu:
    """The menu of that shop: the one that `WAIMAI_SKY_SHOP` names, else the oldest. Raises NoSuchShop."""
    shop_id = settings.WAIMAI_SKY_SHOP or Shop.objects.order_by("pk").values_list("pk", flat=True).first()
    if not shop_id:
        raise NoSuchShop
    return get_menu(shop_id)
