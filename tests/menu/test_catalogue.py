"""The menu as it is read: one document per version, never older than the last edit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from menu import catalogue, services
from menu.errors import NoSuchShop
from menu.models import Item, Kind, Shop
from tests.menu.factories import make_category, make_dish, make_group, make_set_meal, make_shop
from waimai.infra.db import run_atomic

pytestmark = pytest.mark.data


def categories(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = services.menu_document(shop.pk).data["categories"]
    return found


def names(shop: Shop) -> list[str]:
    return [item["name"] for category in categories(shop) for item in category["items"]]


def queries(call: Any) -> int:
    with CaptureQueriesContext(connections["default"]) as captured:
        call()
    return len(captured)


def test_the_document_says_all_a_client_needs() -> None:
    shop = make_shop()
    fish = make_dish(shop, "老坛酸菜鱼", "56.00", image="static:demo/pickled-fish.svg", description="酸菜")
    mild, hot = make_group(fish, "辣度", {"不辣": "0", "重辣": "1.5"}, least=1)
    meal = make_set_meal(shop, [(fish, 1)], "招牌套餐", "50.00")
    dishes, meals = categories(shop)
    assert dishes["items"] == [
        {
            "id": fish.pk,
            "kind": "dish",
            "name": "老坛酸菜鱼",
            "price": "56.00",
            "image": "/static/demo/pickled-fish.svg",
            "description": "酸菜",
            "available": True,
            "back_at": None,
            "option_groups": [
                {
                    "id": mild.group_id,
                    "name": "辣度",
                    "min": 1,
                    "max": 1,
                    "options": [
                        {"id": mild.pk, "name": "不辣", "price_delta": "0.00"},
                        {"id": hot.pk, "name": "重辣", "price_delta": "1.50"},
                    ],
                }
            ],
            "components": [],
        }
    ]
    assert (meals["kind"], meals["items"][0]["id"]) == ("set_meal", meal.pk)
    assert meals["items"][0]["components"] == [{"item": fish.pk, "name": "老坛酸菜鱼", "quantity": 1}]


def test_the_bytes_are_the_data() -> None:
    shop = make_shop()
    make_dish(shop)
    document = services.menu_document(shop.pk)
    assert json.loads(document.body) == document.data
    assert "麻婆豆腐".encode() in document.body


def test_categories_and_items_come_in_their_order() -> None:
    shop = make_shop()
    soups, fish = make_category(shop, "汤类", sort=11), make_category(shop, "水煮鱼", sort=8)
    make_dish(shop, "鸡蛋汤", category=soups)
    make_dish(shop, "草鱼", category=fish, sort=2)
    make_dish(shop, "鮰鱼", category=fish, sort=1)
    assert [category["name"] for category in categories(shop)] == ["水煮鱼", "汤类"]
    assert names(shop) == ["鮰鱼", "草鱼", "鸡蛋汤"]


def test_what_is_off_sale_is_not_shown() -> None:
    shop = make_shop()
    make_dish(shop, "在售")
    make_dish(shop, "停售", on_sale=False)
    make_dish(shop, "停用分类的", category=make_category(shop, "停用", is_active=False))
    make_category(shop, "空的")
    assert names(shop) == ["在售"]
    assert [category["name"] for category in categories(shop)] == ["热菜"]


def test_a_dish_of_a_category_that_is_off_cant_be_ordered() -> None:
    shop = make_shop()
    dish = make_dish(shop, category=make_category(shop, "停用", is_active=False))
    quote = services.quote(shop_id=shop.pk, lines=[services.LineRequest(dish.pk, 1)])
    assert [problem.code for problem in quote.problems] == ["item_off_sale"]


def test_a_set_meal_with_a_stopped_dish_cant_be_ordered_however_that_came_about() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    meal = make_set_meal(shop, [(dish, 1)])
    Item.objects.filter(pk=dish.pk).update(on_sale=False)  # Round the rules
    services.menu_changed(shop.pk)
    quote = services.quote(shop_id=shop.pk, lines=[services.LineRequest(meal.pk, 1)])
    assert [problem.code for problem in quote.problems] == ["item_off_sale"]


def test_a_dish_of_another_shop_is_unknown() -> None:
    mine, other = make_shop(), make_shop("隔壁")
    dish = make_dish(other)
    quote = services.quote(shop_id=mine.pk, lines=[services.LineRequest(dish.pk, 1)])
    assert [problem.code for problem in quote.problems] == ["item_not_found"]


def test_a_second_reader_asks_one_small_question() -> None:
    shop = make_shop()
    for number in range(5):
        make_dish(shop, f"菜{number}")
    services.menu_document(shop.pk)
    assert queries(lambda: services.menu_document(shop.pk)) == 1
    assert queries(lambda: services.quote(shop_id=shop.pk, lines=[])) == 1


def test_a_longer_menu_takes_no_more_queries() -> None:
    small, large = make_shop("小"), make_shop("大")
    for shop, size in ((small, 2), (large, 12)):
        for number in range(size):
            dish = make_dish(shop, f"菜{number}", stock=3)
            make_group(dish, "辣度", {"不辣": "0", "重辣": "0"})
        make_set_meal(shop, [(dish, 1)])
    assert queries(lambda: services.get_menu(small.pk)) == queries(lambda: services.get_menu(large.pk))


@pytest.mark.parametrize(
    "edit",
    [
        lambda dish: services.stop_selling(item_ids=[dish.pk]),
        lambda dish: services.set_stock(item_id=dish.pk, available=0),
        lambda dish: make_dish(dish.shop, "新菜"),
        lambda dish: make_group(dish, "辣度", {"不辣": "0"}),
    ],
)
def test_an_edit_shows_at_once_under_a_new_tag(edit: Any) -> None:
    shop = make_shop()
    dish = make_dish(shop)
    before = services.menu_document(shop.pk)
    edit(dish)
    after = services.menu_document(shop.pk)
    assert after.etag != before.etag
    assert after.data != before.data


def test_the_tag_is_of_the_content() -> None:
    shop = make_shop()
    make_dish(shop)
    before = services.menu_document(shop.pk).etag
    services.menu_changed(shop.pk)
    assert services.menu_document(shop.pk).etag == before


def test_opening_hours_dont_change_the_menu() -> None:
    shop = make_shop()
    make_dish(shop)
    before = services.menu_document(shop.pk).etag
    services.set_open(shop_id=shop.pk, is_open=False)
    assert services.menu_document(shop.pk).etag == before
    assert not services.is_open_at(services.get_shop(shop.pk), datetime.now(UTC))


def test_an_edit_that_is_rolled_back_changes_nothing() -> None:
    shop = make_shop()
    dish = make_dish(shop, price="18.00")
    before = services.menu_document(shop.pk)

    def edit_and_fail() -> None:
        Item.objects.filter(pk=dish.pk).update(price=Decimal(1))
        services.menu_changed(shop.pk)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_atomic("default", edit_and_fail)
    assert services.menu_document(shop.pk) == before


def test_an_edit_between_the_queries_of_a_reader_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The items were read, then a price changes, then the categories are read: the whole is read again."""
    shop = make_shop()
    dish = make_dish(shop, price="18.00")
    real, edits = catalogue._categories, [Decimal("20.00")]

    def edit_first(*args: Any) -> Any:
        if edits:
            Item.objects.filter(pk=dish.pk).update(price=edits.pop())
            services.menu_changed(shop.pk)
        return real(*args)

    monkeypatch.setattr(catalogue, "_categories", edit_first)
    assert services.get_menu(shop.pk).items[dish.pk].price == Decimal("20.00")


def test_a_shop_under_an_old_number_never_meets_the_old_copy() -> None:
    old = make_shop()
    make_dish(old, "旧菜")
    assert names(old) == ["旧菜"]
    Item.objects.all().delete()
    old.categories.all().delete()
    old.delete()
    new = make_shop("新店", id=old.pk)
    assert names(new) == []


def test_only_so_many_copies_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_SHOPS_KEPT", 3)
    monkeypatch.setattr(catalogue, "_menus", {})
    shops = [make_shop(f"店{number}") for number in range(5)]
    for shop in shops:
        services.get_menu(shop.pk)
    assert list(catalogue._menus) == [shop.pk for shop in shops[-3:]]


def test_no_such_shop() -> None:
    for call in (services.get_menu, services.get_shop, services.menu_document):
        with pytest.raises(NoSuchShop):
            call(404)
    with pytest.raises(NoSuchShop):
        services.quote(shop_id=404, lines=[])


def test_shops_are_listed_oldest_first() -> None:
    first, second = make_shop(), make_shop("隔壁")
    assert [(shop.id, shop.delivery_fee) for shop in services.list_shops()] == [(first.pk, 6), (second.pk, 6)]


def test_kinds_are_the_contracts_words() -> None:
    assert Kind.values == ["dish", "set_meal"]
