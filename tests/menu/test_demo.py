"""The demo shop: the facts of the published menu."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders

from menu import demo, services
from menu.models import Category, Item, Kind, Option, OptionGroup, SetMealComponent, Shop

pytestmark = pytest.mark.data

PRICES = {
    "酒水饮料": {"王老吉": 6, "北冰洋": 4, "雪花啤酒": 4},
    "传统主食": {"米饭": 2, "馒头": 1},
    "水煮鱼": {"老坛酸菜鱼": 56, "经典酸菜鮰鱼": 66, "蜀味水煮草鱼": 38},
    "新鲜时蔬": {"清炒小油菜": 18, "蒜蓉娃娃菜": 18, "清炒西兰花": 18, "炝炒圆白菜": 18},
    "特色蒸菜": {"清蒸鲈鱼": 98, "东坡肘子": 138, "梅菜扣肉": 58, "剁椒鱼头": 66},
    "蜀味牛蛙": {"金汤酸菜牛蛙": 88, "香锅牛蛙": 88, "馋嘴牛蛙": 88},
    "蜀味烤鱼": {"草鱼2斤": 68, "江团鱼2斤": 119, "鮰鱼2斤": 72},
    "汤类": {"鸡蛋汤": 4, "平菇豆腐汤": 6},
}


def rows() -> list[int]:
    models = (Shop, Category, Item, OptionGroup, Option, SetMealComponent)
    return [model._default_manager.count() for model in models]


def groups(*names: str) -> list[dict[str, tuple[int, int]]]:
    return [
        {group.name: (group.min, group.max) for group in OptionGroup.objects.filter(item__name=name)} for name in names
    ]


def test_every_dish_has_its_category_and_price() -> None:
    demo.seed()
    found: dict[str, dict[str, Any]] = {}
    for name, category, price in Item.objects.filter(kind=Kind.DISH).values_list("name", "category__name", "price"):
        found.setdefault(category, {})[name] = price
    assert found == PRICES


def test_categories_stand_in_the_contracts_order() -> None:
    demo.seed()
    assert list(Category.objects.order_by("sort").values_list("name", "kind", "sort")) == [
        ("蜀味烤鱼", "dish", 4),
        ("蜀味牛蛙", "dish", 5),
        ("特色蒸菜", "dish", 6),
        ("新鲜时蔬", "dish", 7),
        ("水煮鱼", "dish", 8),
        ("传统主食", "dish", 9),
        ("酒水饮料", "dish", 10),
        ("汤类", "dish", 11),
        ("人气套餐", "set_meal", 12),
        ("商务套餐", "set_meal", 13),
    ]


def test_flavors_are_where_the_contract_has_them() -> None:
    demo.seed()
    boiled, grilled, vegetable = {"忌口": (0, 4), "辣度": (1, 1)}, {"辣度": (1, 1)}, {"忌口": (0, 4)}
    assert groups(*PRICES["水煮鱼"]) == [boiled] * 3
    assert groups(*PRICES["蜀味烤鱼"]) == [grilled] * 3
    assert groups(*PRICES["新鲜时蔬"], "梅菜扣肉") == [vegetable] * 5
    assert groups(*PRICES["传统主食"], *PRICES["蜀味牛蛙"]) == [{}] * 5


def test_flavors_have_the_contracts_options() -> None:
    demo.seed()
    spicy = Option.objects.filter(group__name="辣度", group__item__name="老坛酸菜鱼").order_by("sort")
    assert list(spicy.values_list("name", flat=True)) == ["不辣", "微辣", "中辣", "重辣"]
    assert set(OptionGroup.objects.values_list("name", flat=True)) == {"甜味", "温度", "忌口", "辣度"}


def test_the_fees_agree_with_the_published_client() -> None:
    shop = services.get_shop(demo.seed())
    assert (shop.delivery_fee, shop.packing_fee, shop.minimum_order) == (6, 1, 20)


def test_set_meals_are_cheaper_than_their_dishes() -> None:
    menu = services.get_menu(demo.seed())
    meals = [item for item in menu.items.values() if item.kind == "set_meal"]
    assert {"招牌套餐": Decimal(68), "商务套餐": Decimal(88)}.items() <= {
        meal.name: meal.price for meal in meals
    }.items()
    for meal in meals:
        assert meal.on_sale
        assert meal.price < sum(menu.items[part.item_id].price * part.quantity for part in meal.components)


def test_twice_is_harmless() -> None:
    first = demo.seed()
    before = rows()
    assert demo.seed() == first
    assert rows() == before


def test_what_staff_changed_stays() -> None:
    shop_id = demo.seed()
    Item.objects.filter(name="米饭").update(price=Decimal(3))
    services.set_open(shop_id=shop_id, is_open=False)
    demo.seed()
    assert Item.objects.get(name="米饭").price == Decimal(3)
    assert not services.get_shop(shop_id).is_open


def test_the_demo_shop_is_always_open_and_delivers_to_its_customers() -> None:
    shop_id = demo.seed()
    fish = Item.objects.get(name="老坛酸菜鱼")
    mild = Option.objects.get(group__item=fish, name="不辣")
    quote = services.quote(shop_id=shop_id, lines=[services.LineRequest(fish.pk, 1, (mild.pk,))])
    quote.require_complete()
    for hour in range(24):
        at = datetime(2026, 1, 5, hour, tzinfo=UTC)
        services.check_orderable(quote, at=at, latitude=39.915, longitude=116.455)
    assert quote.total == Decimal("63.00")


def test_every_picture_is_there() -> None:
    demo.seed()
    for image in Item.objects.values_list("image", flat=True):
        found = finders.find(image.removeprefix("static:"))
        assert found, image
        assert Path(found).read_text().startswith("<svg")
