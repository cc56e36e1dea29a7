"""The customer's pages of shops and menus."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe
from django_htmx.middleware import HtmxDetails

from menu import services

LONGEST_SEARCH = 50


class HtmxRequest(HttpRequest):
    """A request as the htmx middleware leaves it."""

    htmx: HtmxDetails


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
    """A shop's menu, each dish to be put into the cart where it stands. What a search doesn't find is there but hidden:
    the page's own search goes on from it."""
    menu, now = services.get_menu(shop_id), timezone.now()
    wanted = request.GET.get("q", "").strip()[:LONGEST_SEARCH]
    categories = services.on_sale(menu)
    found = services.found(categories, wanted)
    context = {
        "shop": menu.shop,
        "is_open": services.is_open_at(menu.shop, now),
        "open_until": services.open_until(menu.shop, now),
        "opens_at": services.next_opening(menu.shop, now),
        "hours_today": services.hours_on(menu.shop, now),
        "categories": categories,
        "found": {category.id for category in found},
        "found_items": {item.id for category in found for item in category.items},
        "q": wanted,
    }
    return render(request, "menu/menu.html", context)


@require_safe
def menu_item(request: HtmxRequest, shop_id: int, item_id: int) -> HttpResponse:
    """One dish with its options: a sheet over the menu, or a page of its own without JavaScript."""
    menu = services.get_menu(shop_id)
    item = menu.items.get(item_id)
    if item is None or not item.on_sale:
        raise services.NoSuchItem
    context = {
        "shop": menu.shop,
        "item": item,
        "is_open": services.is_open_at(menu.shop, timezone.now()),
        "in_sheet": bool(request.htmx),
    }
    return render(request, "menu/_item_form.html" if request.htmx else "menu/item.html", context)
