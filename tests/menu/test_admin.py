"""The admin pages keep the menu's rules and make its copies stale."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from menu import services
from menu.models import Category, Item, Kind, OptionGroup, Shop, Stock
from tests.menu.factories import make_category, make_dish, make_group, make_set_meal, make_shop, picture
from waimai.infra.ids import new_id

pytestmark = pytest.mark.data


@pytest.fixture
def boss(db_all: object) -> Client:
    """The shop's owner, logged in."""
    client = Client(headers={"accept-language": "zh-hans"})
    client.force_login(User.objects.create_superuser("boss", password=None))
    return client


@pytest.fixture
def shop(db_all: object) -> Shop:
    return make_shop()


def rows(prefix: str, *filled: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    """The fields of an inline formset."""
    fields: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(filled), f"{prefix}-INITIAL_FORMS": initial}
    for number, row in enumerate(filled):
        fields |= {f"{prefix}-{number}-{name}": value for name, value in row.items()}
    return fields


def item_form(item: Item | None = None, *parts: dict[str, Any], **values: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"name": "新菜", "price": "12.00", "sort": 0, "description": "", "on_sale": "on"}
    if item is not None:
        known |= {"name": item.name, "price": item.price, "category": item.category_id}
    known |= rows("option_groups") | rows("set_meal_components", *parts)
    return {name: value for name, value in (known | values).items() if value is not None}


def errors(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.context["errors"])


def change(client: Client, item: Item, *parts: dict[str, Any], **values: Any) -> Any:
    return client.post(f"/admin/menu/item/{item.pk}/change/", item_form(item, *parts, **values))


def act(client: Client, action: str, *items: Item, **values: Any) -> str:
    data = {"action": action, "_selected_action": [item.pk for item in items]} | values
    return client.post("/admin/menu/item/", data, follow=True).content.decode()


@pytest.mark.parametrize("model", ["shop", "category", "item", "optiongroup", "stock", "stockadjustment"])
def test_every_list_opens(boss: Client, shop: Shop, model: str) -> None:
    make_group(make_dish(shop, stock=3), "辣度", {"不辣": "0"})
    assert boss.get(f"/admin/menu/{model}/").status_code == 200


def test_every_page_opens(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop, stock=3, image="static:demo/rice.svg")
    group = make_group(dish, "辣度", {"不辣": "0"})[0].group
    for path in (
        f"shop/{shop.pk}",
        f"category/{dish.category_id}",
        f"item/{dish.pk}",
        f"optiongroup/{group.pk}",
        f"stock/{dish.pk}",
    ):
        assert boss.get(f"/admin/menu/{path}/change/").status_code == 200
    for model in ("shop", "category", "item", "optiongroup"):
        assert boss.get(f"/admin/menu/{model}/add/").status_code == 200


def test_the_list_of_items_asks_no_more_with_more_items(
    boss: Client, shop: Shop, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        make_dish(shop, f"菜{number}", stock=number)
    with django_assert_max_num_queries(16, using="default"):
        boss.get("/admin/menu/item/")


def test_a_new_dish_is_on_the_menu_at_once(boss: Client, shop: Shop) -> None:
    services.menu_document(shop.pk)
    category = make_category(shop)
    boss.post("/admin/menu/item/add/", item_form(shop=shop.pk, kind="dish", category=category.pk, portions="3"))
    document = services.menu_document(shop.pk).data
    assert [item["name"] for item in document["categories"][0]["items"]] == ["新菜"]
    assert services.stock_of([Item.objects.get().pk])[Item.objects.get().pk].available == 3


@pytest.mark.parametrize("edit", ["shop", "category", "item", "optiongroup"])
def test_every_save_makes_the_menus_copies_stale(boss: Client, shop: Shop, edit: str) -> None:
    dish = make_dish(shop)
    group = make_group(dish, "辣度", {"不辣": "0"})[0].group
    before = Shop.objects.get(pk=shop.pk).menu_version
    option = group.options.get()
    terms = {
        "name": "川味",
        "time_zone": "Asia/Shanghai",
        "day_starts_at": "04:00",
        "delivery_fee": 6,
        "packing_fee": 1,
    }
    forms: dict[str, tuple[int, dict[str, Any]]] = {
        "shop": (shop.pk, {**terms, "minimum_order": 20, "prep_minutes": 30, **rows("opening_hours")}),
        "category": (dish.category_id, {"name": "热菜", "kind": "dish", "sort": 3, "is_active": "on"}),
        "item": (dish.pk, item_form(dish)),
        "optiongroup": (
            group.pk,
            {"item": dish.pk, "name": "辣度", "min": 0, "max": 1, "sort": 0}
            | rows(
                "options", {"id": option.pk, "group": group.pk, "name": "微辣", "price_delta": 0, "sort": 0}, initial=1
            ),
        ),
    }
    pk, fields = forms[edit]
    answer = boss.post(f"/admin/menu/{edit}/{pk}/change/", fields)
    assert answer.status_code == 302, answer.context["errors"]
    assert Shop.objects.get(pk=shop.pk).menu_version > before


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"price": "-1"}, "0"),
        ({"price": "10000"}, "9999.99"),
        ({"price": "1.005"}, "2"),
        ({"portions": "-1"}, "0"),
        ({"name": "麻婆豆腐"}, "已有同名"),
    ],
)
def test_senseless_values_are_refused(boss: Client, shop: Shop, values: dict[str, Any], complaint: str) -> None:
    dish = make_dish(shop)
    fields = item_form(shop=shop.pk, kind="dish", category=dish.category_id, **values)
    assert complaint in errors(boss.post("/admin/menu/item/add/", fields))
    assert Item.objects.count() == 1


def test_names_stay_unique_when_something_is_renamed(boss: Client, shop: Shop) -> None:
    tofu, soup = make_dish(shop), make_dish(shop, "酸辣汤", category=make_category(shop, "汤类"))
    assert "已有同名" in errors(change(boss, soup, name=tofu.name))
    fields = {"name": "热菜", "kind": "dish", "sort": 0, "is_active": "on"}
    assert "已有同名" in errors(boss.post(f"/admin/menu/category/{soup.category_id}/change/", fields))


def test_a_dish_belongs_under_dishes(boss: Client, shop: Shop) -> None:
    meals = make_category(shop, "套餐", Kind.SET_MEAL)
    answer = boss.post("/admin/menu/item/add/", item_form(shop=shop.pk, kind="dish", category=meals.pk))
    assert "类型" in errors(answer)


def test_a_category_of_another_shop_is_refused(boss: Client, shop: Shop) -> None:
    theirs = make_category(make_shop("隔壁"))
    answer = boss.post("/admin/menu/item/add/", item_form(shop=shop.pk, kind="dish", category=theirs.pk))
    assert "不属于这家店" in errors(answer)


def test_a_category_keeps_the_kind_of_its_items(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    fields = {"name": "热菜", "kind": "set_meal", "sort": 0, "is_active": "on"}
    assert "不能更改类型" in errors(boss.post(f"/admin/menu/category/{dish.category_id}/change/", fields))


# --- set meals ---


def test_a_set_meal_is_made_with_its_dishes(boss: Client, shop: Shop) -> None:
    dish, category = make_dish(shop), make_category(shop, "套餐", Kind.SET_MEAL)
    fields = item_form(None, {"dish": dish.pk, "quantity": 2}, shop=shop.pk, kind="set_meal", category=category.pk)
    assert boss.post("/admin/menu/item/add/", fields).status_code == 302
    meal = services.get_menu(shop.pk).items[Item.objects.get(name="新菜").pk]
    assert [(part.item_id, part.quantity) for part in meal.components] == [(dish.pk, 2)]


@pytest.mark.parametrize(
    ("state", "complaint"),
    [("stopped", "停售的菜品"), ("foreign", "本店的菜品"), ("meal", "本店的菜品"), ("none", "没有菜品")],
)
def test_what_a_set_meal_cant_be_made_of(boss: Client, shop: Shop, state: str, complaint: str) -> None:
    dish = make_dish(shop)
    others: dict[str, Callable[[], list[Item]]] = {
        "stopped": lambda: [make_dish(shop, "停", on_sale=False)],
        "foreign": lambda: [make_dish(make_shop("隔壁"))],
        "meal": lambda: [make_set_meal(shop, [(dish, 1)])],
        "none": list,
    }
    category = make_category(shop, "套餐", Kind.SET_MEAL)
    parts = [{"dish": item.pk, "quantity": 1} for item in others[state]()]
    fields = item_form(None, *parts, shop=shop.pk, kind="set_meal", category=category.pk)
    assert complaint in errors(boss.post("/admin/menu/item/add/", fields))


def test_a_dish_has_no_parts(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    fields = item_form(None, {"dish": dish.pk, "quantity": 1}, shop=shop.pk, kind="dish", category=dish.category_id)
    assert "只有套餐" in errors(boss.post("/admin/menu/item/add/", fields))


def test_stopping_a_dish_on_its_page_stops_its_set_meals(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    make_set_meal(shop, [(dish, 1)])
    assert change(boss, dish, on_sale=None).status_code == 302
    assert not Item.objects.filter(on_sale=True).exists()


# --- stock ---


def test_portions_sold_while_the_page_stood_open_dont_come_back(boss: Client, shop: Shop) -> None:
    """The page was opened at 5 portions; two are held before it is saved with another description."""
    dish = make_dish(shop, stock=5)
    services.hold_stock(order_id=new_id(1), demands={dish.pk: 2})
    change(boss, dish, description="新的描述", portions="5", **{"initial-portions": "5"})
    stock = Stock.objects.get(item=dish)
    assert (stock.available, stock.held) == (3, 2)


def test_portions_are_set_on_the_page(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    change(boss, dish, portions="8", **{"initial-portions": "5"})
    assert Stock.objects.get(item=dish).available == 8
    assert dish.stock_adjustments.get(delta=3).reason == "boss"


def test_an_emptied_field_means_unlimited(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    change(boss, dish, portions="", **{"initial-portions": "5"})
    assert services.stock_of([dish.pk])[dish.pk].available is None


@pytest.mark.parametrize(
    ("action", "typed", "left"), [("sold_out", "", 0), ("set_stock", "7", 7), ("set_stock", "", None)]
)
def test_stock_from_the_list(boss: Client, shop: Shop, action: str, typed: str, left: int | None) -> None:
    tofu, soup = make_dish(shop, stock=5), make_dish(shop, "酸辣汤", stock=1)
    act(boss, action, tofu, soup, portions=typed)
    info = services.stock_of([tofu.pk, soup.pk])
    assert [one.available for one in info.values()] == [left, left]


@pytest.mark.parametrize("typed", ["-1", "1.5", "abc", "9999999999", "٣"])
def test_senseless_portions_in_the_list_change_nothing(boss: Client, shop: Shop, typed: str) -> None:
    dish = make_dish(shop, stock=5)
    act(boss, "set_stock", dish, portions=typed)
    assert Stock.objects.get(item=dish).available == 5


@pytest.mark.parametrize("model", ["stock", "stockadjustment"])
def test_the_books_are_only_looked_at(boss: Client, shop: Shop, model: str) -> None:
    make_dish(shop, stock=5)
    assert boss.get(f"/admin/menu/{model}/add/").status_code == 403


# --- on and off sale ---


def test_actions_keep_the_rules(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    meal = make_set_meal(shop, [(dish, 1)])
    assert "已停售 1 个商品" in act(boss, "stop_selling", dish)
    assert "停售的菜品" in act(boss, "put_on_sale", meal)
    assert not Item.objects.filter(on_sale=True).exists()
    assert "已起售 2 个商品" in act(boss, "put_on_sale", meal, dish)
    assert Item.objects.filter(on_sale=True).count() == 2


def test_shops_open_and_close_from_the_list(boss: Client, shop: Shop) -> None:
    boss.post("/admin/menu/shop/", {"action": "close_shops", "_selected_action": [shop.pk]})
    assert not services.get_shop(shop.pk).is_open
    boss.post("/admin/menu/shop/", {"action": "open_shops", "_selected_action": [shop.pk]})
    assert services.get_shop(shop.pk).is_open


# --- deleting ---


def test_a_dish_on_sale_isnt_deleted(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    page = boss.post(f"/admin/menu/item/{dish.pk}/delete/", {"post": "yes"}).content.decode()
    assert "正在售卖" in page
    assert Item.objects.filter(pk=dish.pk).exists()


def test_nor_from_the_list(boss: Client, shop: Shop) -> None:
    dish, stopped = make_dish(shop), make_dish(shop, "停", on_sale=False)
    assert "正在售卖" in act(boss, "delete_selected", dish, stopped, post="yes")
    assert Item.objects.count() == 2


def test_a_stopped_dish_is_deleted_and_the_menu_follows(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop, on_sale=False)
    before = Shop.objects.get(pk=shop.pk).menu_version
    boss.post(f"/admin/menu/item/{dish.pk}/delete/", {"post": "yes"})
    assert not Item.objects.exists()
    assert Shop.objects.get(pk=shop.pk).menu_version > before


def test_a_category_with_dishes_isnt_deleted(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop, on_sale=False)
    page = boss.post(f"/admin/menu/category/{dish.category_id}/delete/", {"post": "yes"}).content.decode()
    assert "下有商品" in page
    assert Category.objects.exists()


def test_shops_are_never_deleted(boss: Client, shop: Shop) -> None:
    assert boss.post(f"/admin/menu/shop/{shop.pk}/delete/", {"post": "yes"}).status_code == 403


# --- options, shops, pictures ---


def test_a_group_needs_as_many_options_as_its_minimum(boss: Client, shop: Shop) -> None:
    fields = {"item": make_dish(shop).pk, "name": "辣度", "min": 1, "max": 1, "sort": 0} | rows("options")
    assert "选项少于" in errors(boss.post("/admin/menu/optiongroup/add/", fields))


def test_a_minimum_above_the_maximum_is_refused(boss: Client, shop: Shop) -> None:
    fields = {"item": make_dish(shop).pk, "name": "辣度", "min": 2, "max": 1, "sort": 0}
    parts = [{"name": name, "price_delta": 0, "sort": 0} for name in ("不辣", "微辣")]
    assert errors(boss.post("/admin/menu/optiongroup/add/", fields | rows("options", *parts)))
    assert not OptionGroup.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_zone", "Asia/Atlantis"),
        ("delivery_area", '{"type": "Point"}'),
        ("delivery_area", "{"),
        ("packing_fee", "-1"),
    ],
)
def test_senseless_terms_of_a_shop_are_refused(boss: Client, shop: Shop, field: str, value: str) -> None:
    fields = {
        "name": "川味",
        "time_zone": "Asia/Shanghai",
        "day_starts_at": "04:00",
        "delivery_fee": 6,
        "packing_fee": 1,
    }
    fields |= {"minimum_order": 20, "prep_minutes": 30, **rows("opening_hours"), field: value}
    assert errors(boss.post(f"/admin/menu/shop/{shop.pk}/change/", fields))
    assert Shop.objects.get(pk=shop.pk).packing_fee == Decimal(1)


def test_a_picture_is_drawn_anew_and_shown(boss: Client, shop: Shop, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    dish = make_dish(shop)
    change(boss, dish, picture=SimpleUploadedFile("x.exe", picture("JPEG")))
    image = services.menu_document(shop.pk).data["categories"][0]["items"][0]["image"]
    assert image.startswith("/media/dishes/")
    assert (tmp_path / image.removeprefix("/media/")).read_bytes()[8:12] == b"WEBP"


def test_a_refused_picture_is_told_beside_its_field(
    boss: Client, shop: Shop, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    dish = make_dish(shop)
    answer = change(boss, dish, picture=SimpleUploadedFile("x.png", b"<svg/>", content_type="image/png"))
    assert "只支持" in errors(answer)
    assert list(tmp_path.iterdir()) == []


def test_other_wrong_fields_store_no_picture(boss: Client, shop: Shop, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    assert errors(change(boss, make_dish(shop), price="x", picture=SimpleUploadedFile("x.png", picture())))
    assert list(tmp_path.iterdir()) == []


def test_customers_have_no_business_here(shop: Shop) -> None:
    client = Client()
    client.force_login(User.objects.create_user(phone="13900000001"))
    assert client.get("/admin/menu/item/").status_code == 302
