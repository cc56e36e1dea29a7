"""The published product's rules of the menu."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from menu import services
from menu.errors import MenuRuleBroken, NoSuchItem, NoSuchShop
from menu.models import Category, Item, Kind, Shop
from tests.menu.factories import make_category, make_dish, make_group, make_set_meal, make_shop
from waimai.infra.ids import new_id

pytestmark = pytest.mark.data


@pytest.fixture
def shop(db_all: object) -> Shop:
    return make_shop()


def on_sale() -> dict[str, bool]:
    return dict(Item.objects.values_list("name", "on_sale"))


def test_a_dish_on_sale_cant_be_deleted(shop: Shop) -> None:
    dish = make_dish(shop)
    with pytest.raises(MenuRuleBroken, match="正在售卖"):
        services.delete_item(item_id=dish.pk)
    assert Item.objects.filter(pk=dish.pk).exists()


def test_a_dish_in_a_set_meal_cant_be_deleted(shop: Shop) -> None:
    dish = make_dish(shop)
    make_set_meal(shop, [(dish, 1)])
    services.stop_selling(item_ids=[dish.pk])
    with pytest.raises(MenuRuleBroken, match="包含在套餐中"):
        services.delete_item(item_id=dish.pk)


def test_a_dish_that_somebody_is_about_to_pay_cant_be_deleted(shop: Shop) -> None:
    dish = make_dish(shop, stock=3)
    services.hold_stock(order_id=new_id(1), demands={dish.pk: 1})
    services.stop_selling(item_ids=[dish.pk])
    with pytest.raises(MenuRuleBroken, match="待付款"):
        services.delete_item(item_id=dish.pk)


def test_a_stopped_dish_goes_with_all_that_is_its(shop: Shop) -> None:
    dish = make_dish(shop, stock=3)
    make_group(dish, "辣度", {"不辣": "0"})
    services.stop_selling(item_ids=[dish.pk])
    services.delete_item(item_id=dish.pk)
    assert not Item.objects.exists()


def test_a_deleted_set_meal_leaves_its_dishes(shop: Shop) -> None:
    meal = make_set_meal(shop, [(make_dish(shop), 1)])
    services.stop_selling(item_ids=[meal.pk])
    services.delete_item(item_id=meal.pk)
    assert on_sale() == {"麻婆豆腐": True}


def test_nothing_to_delete(shop: Shop) -> None:
    with pytest.raises(NoSuchItem):
        services.delete_item(item_id=404)


def test_stopping_a_dish_stops_its_set_meals_and_no_others(shop: Shop) -> None:
    tofu, soup = make_dish(shop), make_dish(shop, "酸辣汤")
    make_set_meal(shop, [(tofu, 1), (soup, 1)], "双人餐")
    make_set_meal(shop, [(soup, 1)], "汤餐")
    assert services.stop_selling(item_ids=[tofu.pk]) == 1
    assert on_sale() == {"麻婆豆腐": False, "酸辣汤": True, "双人餐": False, "汤餐": True}


def test_stopping_a_set_meal_leaves_its_dishes(shop: Shop) -> None:
    meal = make_set_meal(shop, [(make_dish(shop), 1)])
    services.stop_selling(item_ids=[meal.pk])
    assert on_sale() == {"麻婆豆腐": True, "双人餐": False}


def test_a_set_meal_with_a_stopped_dish_cant_be_started(shop: Shop) -> None:
    dish = make_dish(shop)
    meal = make_set_meal(shop, [(dish, 1)])
    services.stop_selling(item_ids=[dish.pk])
    with pytest.raises(MenuRuleBroken, match="麻婆豆腐"):
        services.put_on_sale(item_ids=[meal.pk])
    assert on_sale() == {"麻婆豆腐": False, "双人餐": False}


def test_all_are_started_or_none(shop: Shop) -> None:
    stopped, other = make_dish(shop), make_dish(shop, "酸辣汤", on_sale=False)
    meal = make_set_meal(shop, [(stopped, 1)])
    services.stop_selling(item_ids=[stopped.pk])
    with pytest.raises(MenuRuleBroken):
        services.put_on_sale(item_ids=[meal.pk, other.pk])
    assert on_sale() == {"麻婆豆腐": False, "双人餐": False, "酸辣汤": False}


def test_a_set_meal_starts_along_with_its_dish(shop: Shop) -> None:
    dish = make_dish(shop)
    meal = make_set_meal(shop, [(dish, 1)])
    services.stop_selling(item_ids=[dish.pk])
    assert services.put_on_sale(item_ids=[meal.pk, dish.pk]) == 2
    assert on_sale() == {"麻婆豆腐": True, "双人餐": True}


def test_an_empty_set_meal_cant_be_started(shop: Shop) -> None:
    meal = make_set_meal(shop, [])
    with pytest.raises(MenuRuleBroken, match="没有菜品"):
        services.put_on_sale(item_ids=[meal.pk])


def test_a_category_with_items_cant_be_deleted(shop: Shop) -> None:
    dish = make_dish(shop, on_sale=False)
    with pytest.raises(MenuRuleBroken, match="热菜"):
        services.delete_category(category_id=dish.category_id)
    assert Category.objects.count() == 1


def test_an_empty_category_can(shop: Shop) -> None:
    category = make_category(shop)
    services.delete_category(category_id=category.pk)
    services.delete_category(category_id=category.pk)  # Again: gone is gone
    assert not Category.objects.exists()


def test_names_are_unique_per_shop(shop: Shop) -> None:
    make_dish(shop)
    with pytest.raises(IntegrityError):
        make_dish(shop)
    make_dish(make_shop("隔壁"))


def test_category_names_are_unique_per_shop(shop: Shop) -> None:
    make_category(shop)
    with pytest.raises(IntegrityError):
        Category.objects.create(shop=shop, name="热菜", kind=Kind.SET_MEAL)


def test_opening_and_closing_by_hand(shop: Shop) -> None:
    services.set_open(shop_id=shop.pk, is_open=False)
    assert not services.get_shop(shop.pk).is_open
    services.set_open(shop_id=shop.pk, is_open=True)
    assert services.get_shop(shop.pk).is_open


def test_no_such_shop_to_open(db_all: object) -> None:
    with pytest.raises(NoSuchShop):
        services.set_open(shop_id=404, is_open=True)
