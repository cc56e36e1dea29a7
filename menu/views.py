"""The customer's pages of shops and menus."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from menu import services


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The menu of the only shop, else a list of shops."""
    shops = services.list_shops()
    if len(shops) == 1:
        return redirect("shop_menu", shops[0].id)
    now = timezone.now()
    listed = [{"shop": shop, "is_open": services.is_open_at(shop, now)} for shop in shops]
    return render(request, "menu/shops.html", {"shops": listed})


@require_safe
def shop_menu(request: HttpRequest, shop_id: int) -> HttpResponse:
    """A shop's menu; each dish is a form that puts it into the cart."""
    menu, now = services.get_menu(shop_id), timezone.now()
    context = {
        "shop": menu.shop,
        "is_open": services.is_open_at(menu.shop, now),
        "opens_at": services.next_opening(menu.shop, now),
        "categories": services.on_sale(menu),
    }
    return render(request, "menu/menu.html", context)
