"""The mini-program's view of the one shop it knows and of its menu."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from menu import services
from menu.models import Kind
from menu.services import Menu, NoSuchItem, NoSuchShop, ShopInfo
from menu.snapshot import MenuCategory, MenuItem, MenuOptionGroup
from waimai.infra.sky import IdField, PublicSkyView, SkyView, clock, given, ok, picture, read, yuan

TYPES = {Kind.DISH: 1, Kind.SET_MEAL: 2}
ON, OFF = 1, 0
# Nobody notes when something was made, and by whom.
NOT_KEPT = {"createTime": None, "updateTime": None, "createUser": None, "updateUser": None}


class CategoryQuery(serializers.Serializer[Any]):
    """Which categories: 1 dishes, 2 set meals, or all."""

    type = serializers.ChoiceField(choices=list(TYPES.values()), required=False)


class ItemQuery(serializers.Serializer[Any]):
    """Of which category."""

    categoryId = IdField()


class StatusView(PublicSkyView):
    """Whether the shop takes orders."""

    def get(self, request: Request) -> Response:
        """1 or 0; where there is no shop, none is open."""
        try:
            shop = services.only_shop().shop
        except NoSuchShop:
            return ok(OFF)
        return ok(_status(shop))


class MerchantView(SkyView):
    """The shop."""

    def get(self, request: Request) -> Response:
        """Name, telephone, place and terms."""
        shop = services.only_shop().shop
        known = {
            "id": shop.id,
            "shopId": shop.id,
            "name": shop.name,
            "shopName": shop.name,
            "phone": shop.phone,
            "address": shop.address,
            "shopAddress": shop.address,
            "notice": shop.notice,
            "status": _status(shop),
            "deliveryFee": yuan(shop.delivery_fee),
            "packFee": yuan(shop.packing_fee),
            "minimumOrder": yuan(shop.minimum_order),
        }
        return ok(known)


class DeliveryTimeView(SkyView):
    """When an order of now would be there."""

    def get(self, request: Request) -> Response:
        """The shop's usual time from now."""
        shop = services.only_shop().shop
        return ok(clock(timezone.now() + timedelta(minutes=shop.prep_minutes), shop.time_zone))


class CategoryListView(SkyView):
    """The headings of the menu."""

    def get(self, request: Request) -> Response:
        """Those that are switched on, in order."""
        wanted = read(CategoryQuery, given(request.query_params)).get("type")
        found = [each for each in services.only_shop().categories if wanted in (None, TYPES[Kind(each.kind)])]
        return ok([_category(each) for each in found])


class DishListView(SkyView):
    """The dishes under a heading."""

    def get(self, request: Request) -> Response:
        """What is on sale, with what there is to choose."""
        category, items = _on_sale(services.only_shop(), request, Kind.DISH)
        return ok([_dish(request, item, category) for item in items])


class SetMealListView(SkyView):
    """The set meals under a heading."""

    def get(self, request: Request) -> Response:
        """What is on sale."""
        _category_of, items = _on_sale(services.only_shop(), request, Kind.SET_MEAL)
        return ok([_set_meal(request, item) for item in items])


class SetMealDishesView(SkyView):
    """What a set meal is made of."""

    def get(self, request: Request, item_id: int) -> Response:
        """Its dishes, and how many of each."""
        menu = services.only_shop()
        meal = menu.items.get(item_id)
        if meal is None or meal.kind != Kind.SET_MEAL:
            raise NoSuchItem
        parts = [(part, menu.items.get(part.item_id)) for part in meal.components]
        return ok(
            [
                {
                    "name": part.name,
                    "copies": part.quantity,
                    "image": picture(request, dish.image if dish else ""),
                    "description": dish.description if dish else "",
                }
                for part, dish in parts
            ]
        )


def _status(shop: ShopInfo) -> int:
    return ON if services.is_open_at(shop, timezone.now()) else OFF


def _on_sale(menu: Menu, request: Request, kind: Kind) -> tuple[str, list[MenuItem]]:
    """The heading that was asked for, and what is sold under it of one kind; nothing under an unknown one."""
    wanted = read(ItemQuery, given(request.query_params))["categoryId"]
    for category in menu.categories:
        if category.id == wanted:
            return category.name, [item for item in category.items if item.on_sale and item.kind == kind]
    return "", []


def _category(category: MenuCategory) -> dict[str, Any]:
    known = {"id": category.id, "type": TYPES[Kind(category.kind)], "name": category.name, "sort": category.sort}
    return known | {"status": ON} | NOT_KEPT


def _dish(request: Request, item: MenuItem, category_name: str) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "categoryId": item.category_id,
        "price": yuan(item.price),
        "image": picture(request, item.image),
        "description": item.description,
        "status": ON,
        "updateTime": None,
        "categoryName": category_name,
        "flavors": [_flavor(item, group) for group in item.option_groups],
    }


def _flavor(item: MenuItem, group: MenuOptionGroup) -> dict[str, Any]:
    """A choice; its values are a JSON array in a string: so the client wants it."""
    values = json.dumps([one.name for one in group.options], ensure_ascii=False, separators=(",", ":"))
    return {"id": group.id, "dishId": item.id, "name": group.name, "value": values}


def _set_meal(request: Request, item: MenuItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "categoryId": item.category_id,
        "name": item.name,
        "price": yuan(item.price),
        "status": ON,
        "description": item.description,
        "image": picture(request, item.image),
    } | NOT_KEPT
