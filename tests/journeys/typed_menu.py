"""What is typed into the admin's forms of shops and menus, what is wrong at first, and what is stored."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

from menu.models import Category, Item, OptionGroup, Shop
from tests.menu.factories import make_category, make_group, picture
from tests.support.admin_forms import Form

SQUARE = {"type": "Polygon", "coordinates": [[[116.4, 39.9], [116.5, 39.9], [116.5, 40.0], [116.4, 39.9]]]}
NOON, NIGHT = dt.time(12), dt.time(22, 30)
PHOTO = {"name": "fish.png", "mimeType": "image/png", "buffer": picture()}


def new_shop() -> Form:
    """Another one."""
    return Form(
        Shop,
        typed={
            "name": "东门小馆",
            "time_zone": "Asia/Urumqi",
            "day_starts_at": "05:00",
            "is_open": False,
            "notice": "周五打烊早",
            "phone": "010-65001234",
            "address": "东门路 1 号",
            "latitude": "39.915",
            "longitude": "116.455",
            "delivery_fee": "6.50",
            "packing_fee": "1.50",
            "minimum_order": "25",
            "prep_minutes": "40",
            "delivery_area": json.dumps(SQUARE),
            "opening_hours-0-weekday": "周五",
            "opening_hours-0-opens": "12:00",
            "opening_hours-0-closes": "22:30",
        },
        wrong=("time_zone", "Mars/Base", "没有这个时区"),
        stored={
            "name": "东门小馆",
            "time_zone": "Asia/Urumqi",
            "day_starts_at": dt.time(5),
            "is_open": False,
            "notice": "周五打烊早",
            "phone": "010-65001234",
            "address": "东门路 1 号",
            "latitude": Decimal("39.915"),
            "longitude": Decimal("116.455"),
            "delivery_fee": Decimal("6.50"),
            "packing_fee": Decimal("1.50"),
            "minimum_order": Decimal(25),
            "prep_minutes": 40,
            "delivery_area": SQUARE,
            "opening_hours__weekday": 4,
            "opening_hours__opens": NOON,
            "opening_hours__closes": NIGHT,
        },
    )


def shop(known: Shop) -> Form:
    """The one there is."""
    return Form(
        Shop,
        row=known,
        typed={
            "minimum_order": "30.00",
            "delivery_area": json.dumps(SQUARE),
            "opening_hours-0-weekday": "周日",
            "opening_hours-0-opens": "12:00",
            "opening_hours-0-closes": "22:30",
        },
        wrong=("opening_hours-0-opens", "25:00", "有效的时间"),
        stored={
            "minimum_order": Decimal(30),
            "delivery_area": SQUARE,
            "opening_hours__weekday": 6,
            "opening_hours__opens": NOON,
            "opening_hours__closes": NIGHT,
        },
    )


def categories(shop: Shop) -> list[Form]:
    """Dishes have one already."""
    sides = make_category(shop, "小菜")
    return [
        Form(
            Category,
            typed={"shop": shop.name, "name": "凉菜", "kind": "菜品", "sort": "3", "is_active": False},
            wrong=("name", "热菜", "已有同名"),
            stored={"name": "凉菜", "shop": shop.pk, "kind": "dish", "sort": 3, "is_active": False},
        ),
        Form(
            Category,
            row=sides,
            typed={"name": "下饭小菜", "sort": "7"},
            wrong=("name", "热菜", "已有同名"),
            stored={"name": "下饭小菜", "sort": 7, "kind": "dish"},
        ),
    ]


def items(shop: Shop, fish: Item) -> list[Form]:
    """A set meal of fish is made, and the fish gets a choice."""
    make_category(shop, "套餐", "set_meal")
    return [
        Form(
            Item,
            typed={
                "shop": shop.name,
                "kind": "套餐",
                "category": "套餐",
                "name": "双鱼餐",
                "price": "99.50",
                "sort": "2",
                "description": "两条鱼",
                "on_sale": True,
                "portions": "8",
                "set_meal_components-0-dish": fish.name,
                "set_meal_components-0-quantity": "2",
            },
            wrong=("price", "-1", "大于或等于"),
            stored={
                "name": "双鱼餐",
                "shop": shop.pk,
                "kind": "set_meal",
                "category__name": "套餐",
                "price": Decimal("99.50"),
                "sort": 2,
                "description": "两条鱼",
                "on_sale": True,
                "stock__available": 8,
                "set_meal_components__dish": fish.pk,
                "set_meal_components__quantity": 2,
            },
        ),
        Form(
            Item,
            row=fish,
            typed={
                "price": "58.00",
                "description": "酸菜自己腌",
                "picture": PHOTO,
                "portions": "12",
                "option_groups-0-name": "辣度",
                "option_groups-0-min": "1",
                "option_groups-0-max": "2",
                "option_groups-0-sort": "4",
            },
            wrong=("option_groups-0-max", "0", "不能少于"),
            stored={
                "price": Decimal(58),
                "description": "酸菜自己腌",
                "stock__available": 12,
                "option_groups__name": "辣度",
                "option_groups__min": 1,
                "option_groups__max": 2,
                "option_groups__sort": 4,
            },
            again=("picture",),
        ),
    ]


def choices(tofu: Item, rice: Item) -> list[Form]:
    """The tofu gets a choice, the rice's is changed."""
    return [
        Form(
            OptionGroup,
            typed={
                "item": tofu.name,
                "name": "加料",
                "min": "1",
                "max": "1",
                "sort": "5",
                "options-0-name": "肉末",
                "options-0-price_delta": "3.50",
                "options-0-sort": "1",
            },
            wrong=("options-0-price_delta", "1000", "小于或等于"),
            stored={
                "name": "加料",
                "item": tofu.pk,
                "min": 1,
                "max": 1,
                "sort": 5,
                "options__name": "肉末",
                "options__price_delta": Decimal("3.50"),
                "options__sort": 1,
            },
        ),
        Form(
            OptionGroup,
            row=make_group(rice, "份量", {"小份": "0"})[0].group,
            typed={"name": "几两", "min": "1", "max": "1", "options-0-name": "二两", "options-0-price_delta": "-0.50"},
            wrong=("max", "0", "不能少于"),
            stored={
                "name": "几两",
                "min": 1,
                "max": 1,
                "options__name": "二两",
                "options__price_delta": Decimal("-0.50"),
            },
        ),
    ]
