"""The demo shop and its menu; its pictures in static/demo were drawn for it.

Harmless twice: what stands is left as staff have made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from menu.models import Category, Item, Kind, Option, OptionGroup, SetMealComponent, Shop
from menu.versions import menu_changed
from waimai.infra.db import run_atomic
from waimai.infra.sharding import DEFAULT

SHOP_NAME = "苍穹外卖（演示店）"
# Longitude and latitude: a part of Beijing east of the centre.
DELIVERY_AREA = [[116.40, 39.88], [116.50, 39.88], [116.50, 39.96], [116.40, 39.96], [116.40, 39.88]]

CATEGORIES = (
    ("蜀味烤鱼", Kind.DISH, 4),
    ("蜀味牛蛙", Kind.DISH, 5),
    ("特色蒸菜", Kind.DISH, 6),
    ("新鲜时蔬", Kind.DISH, 7),
    ("水煮鱼", Kind.DISH, 8),
    ("传统主食", Kind.DISH, 9),
    ("酒水饮料", Kind.DISH, 10),
    ("汤类", Kind.DISH, 11),
    ("人气套餐", Kind.SET_MEAL, 12),
    ("商务套餐", Kind.SET_MEAL, 13),
)


class Flavor(NamedTuple):
    """A choice, as an option group."""

    name: str
    options: tuple[str, ...]
    min: int
    max: int


SWEETNESS = Flavor("甜味", ("无糖", "少糖", "半糖", "多糖", "全糖"), 0, 1)
TEMPERATURE = Flavor("温度", ("热饮", "常温", "去冰", "少冰", "多冰"), 0, 1)
WITHOUT = Flavor("忌口", ("不要葱", "不要蒜", "不要香菜", "不要辣"), 0, 4)
SPICINESS = Flavor("辣度", ("不辣", "微辣", "中辣", "重辣"), 1, 1)


class Dish(NamedTuple):
    """A dish of the demo, its price in yuan."""

    category: str
    name: str
    price: int
    picture: str
    description: str
    flavors: tuple[Flavor, ...] = ()


DISHES = (
    Dish("酒水饮料", "王老吉", 6, "wanglaoji", "凉茶，310 毫升罐装", (SWEETNESS, TEMPERATURE)),
    Dish("酒水饮料", "北冰洋", 4, "beibingyang", "还是小时候的味道", (TEMPERATURE,)),
    Dish("酒水饮料", "雪花啤酒", 4, "snow-beer", "500 毫升"),
    Dish("传统主食", "米饭", 2, "rice", "精选五常大米"),
    Dish("传统主食", "馒头", 1, "mantou", "优质面粉，老面发酵"),
    Dish("水煮鱼", "老坛酸菜鱼", 56, "pickled-fish", "汤，草鱼，酸菜", (WITHOUT, SPICINESS)),
    Dish("水煮鱼", "经典酸菜鮰鱼", 66, "pickled-catfish", "酸菜，江团，鮰鱼", (WITHOUT, SPICINESS)),
    Dish("水煮鱼", "蜀味水煮草鱼", 38, "boiled-grass-carp", "草鱼，汤", (WITHOUT, SPICINESS)),
    Dish("新鲜时蔬", "清炒小油菜", 18, "bok-choy", "小油菜", (WITHOUT,)),
    Dish("新鲜时蔬", "蒜蓉娃娃菜", 18, "baby-cabbage", "蒜，娃娃菜", (WITHOUT,)),
    Dish("新鲜时蔬", "清炒西兰花", 18, "broccoli", "西兰花", (WITHOUT,)),
    Dish("新鲜时蔬", "炝炒圆白菜", 18, "cabbage", "圆白菜", (WITHOUT,)),
    Dish("特色蒸菜", "清蒸鲈鱼", 98, "steamed-bass", "鲈鱼"),
    Dish("特色蒸菜", "东坡肘子", 138, "pork-knuckle", "猪肘"),
    Dish("特色蒸菜", "梅菜扣肉", 58, "pork-belly", "猪肉，梅菜", (WITHOUT,)),
    Dish("特色蒸菜", "剁椒鱼头", 66, "fish-head", "鲢鱼头，剁椒"),
    Dish("蜀味牛蛙", "金汤酸菜牛蛙", 88, "frog-golden", "鲜活牛蛙，酸菜"),
    Dish("蜀味牛蛙", "香锅牛蛙", 88, "frog-dry-pot", "鲜活牛蛙，莲藕，青笋"),
    Dish("蜀味牛蛙", "馋嘴牛蛙", 88, "frog-spicy", "鲜活牛蛙，丝瓜，黄豆芽"),
    Dish("蜀味烤鱼", "草鱼2斤", 68, "grilled-grass-carp", "草鱼，黄豆芽，莲藕", (SPICINESS,)),
    Dish("蜀味烤鱼", "江团鱼2斤", 119, "grilled-longsnout", "江团鱼，黄豆芽，莲藕", (SPICINESS,)),
    Dish("蜀味烤鱼", "鮰鱼2斤", 72, "grilled-catfish", "鮰鱼，黄豆芽，莲藕", (SPICINESS,)),
    Dish("汤类", "鸡蛋汤", 4, "egg-soup", "鸡蛋，紫菜"),
    Dish("汤类", "平菇豆腐汤", 6, "mushroom-tofu-soup", "平菇，豆腐"),
)


class SetMeal(NamedTuple):
    """A set meal of the demo, cheaper than its dishes."""

    category: str
    name: str
    price: int
    picture: str
    description: str
    dishes: tuple[tuple[str, int], ...]


SET_MEALS = (
    SetMeal(
        "人气套餐", "招牌套餐", 68, "set-signature", "一鱼一饮，两人份", (("老坛酸菜鱼", 1), ("米饭", 2), ("王老吉", 2))
    ),
    SetMeal(
        "人气套餐",
        "牛蛙双人餐",
        98,
        "set-frog",
        "招牌牛蛙配时蔬",
        (("馋嘴牛蛙", 1), ("清炒西兰花", 1), ("米饭", 2)),
    ),
    SetMeal(
        "商务套餐",
        "商务套餐",
        88,
        "set-business",
        "有荤有素有汤",
        (("剁椒鱼头", 1), ("蒜蓉娃娃菜", 1), ("平菇豆腐汤", 1), ("米饭", 2)),
    ),
)


def seed() -> int:
    """Make what is missing of the demo shop and return its number."""
    return run_atomic(DEFAULT, _seed)


def _seed() -> int:
    shop, _made = Shop.objects.get_or_create(
        name=SHOP_NAME,
        defaults={
            "notice": "演示店：不会真的送餐，也不会真的收款。",
            "phone": "010-00000000",
            "address": "北京市朝阳区建国路 1 号",
            "latitude": Decimal("39.915000"),
            "longitude": Decimal("116.455000"),
            "delivery_fee": Decimal(6),
            "packing_fee": Decimal(1),
            "minimum_order": Decimal(20),
            "delivery_area": {"type": "Polygon", "coordinates": [DELIVERY_AREA]},
        },
    )
    headings = {name: _category(shop, name, kind, sort) for name, kind, sort in CATEGORIES}
    for number, dish in enumerate(DISHES):
        _dish(headings[dish.category], dish, number)
    for number, meal in enumerate(SET_MEALS):
        _set_meal(headings[meal.category], meal, number)
    menu_changed(shop.pk)
    return shop.pk


def _category(shop: Shop, name: str, kind: Kind, sort: int) -> Category:
    return Category.objects.get_or_create(shop=shop, name=name, defaults={"kind": kind, "sort": sort})[0]


def _item(category: Category, wanted: Dish | SetMeal, number: int) -> tuple[Item, bool]:
    return Item.objects.get_or_create(
        shop=category.shop,
        name=wanted.name,
        defaults={
            "category": category,
            "kind": category.kind,
            "price": Decimal(wanted.price),
            "image": f"static:demo/{wanted.picture}.svg",
            "description": wanted.description,
            "sort": number,
        },
    )


def _dish(category: Category, dish: Dish, number: int) -> None:
    item, made = _item(category, dish, number)
    if made:
        _flavors(item, dish.flavors)


def _flavors(item: Item, flavors: Sequence[Flavor]) -> None:
    for number, flavor in enumerate(flavors):
        group = OptionGroup.objects.create(item=item, name=flavor.name, min=flavor.min, max=flavor.max, sort=number)
        Option.objects.bulk_create(
            Option(group=group, name=name, sort=place) for place, name in enumerate(flavor.options)
        )


def _set_meal(category: Category, meal: SetMeal, number: int) -> None:
    item, made = _item(category, meal, number)
    if not made:
        return
    dishes = {dish.name: dish for dish in Item.objects.filter(shop=category.shop, kind=Kind.DISH)}
    SetMealComponent.objects.bulk_create(
        SetMealComponent(set_meal=item, dish=dishes[name], quantity=quantity)
        for name, quantity in meal.dishes
        if name in dishes
    )
