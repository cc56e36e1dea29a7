"""Managers, and whom Django's permissions for menus were given, see and change those of their shops and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

import accounts.services
from accounts.models import User
from menu.models import Category, Item, OptionGroup, SetMealComponent, Shop, StockAdjustment
from tests.menu.factories import make_category, make_dish, make_group, make_set_meal, make_shop
from tests.menu.test_admin import item_form, rows

pytestmark = pytest.mark.data
MODELS = ("shop", "category", "item", "optiongroup", "stock", "stockadjustment")
PAGES = ("change", "delete", "history")


@pytest.fixture
def shop(db_all: object) -> Shop:
    """Where Lan works."""
    return make_shop("川味小馆")


@pytest.fixture
def theirs(db_all: object) -> dict[str, Any]:
    """Another shop, with a row of every kind, by model."""
    shop = make_shop("隔壁酒楼")
    dish = make_dish(shop, "隔壁的鸭", stock=3)
    group = make_group(dish, "隔壁辣度", {"不辣": "0"})[0].group
    return {
        "shop": shop,
        "category": dish.category,
        "item": dish,
        "optiongroup": group,
        "stock": dish.stock,
        "stockadjustment": StockAdjustment.objects.filter(item=dish).first()
        or StockAdjustment.objects.create(item=dish, delta=3, reason="隔壁"),
    }


@pytest.fixture
def lookers(db_all: object) -> Iterator[None]:
    """An operator lets the kitchen look at dishes. Taken away again: groups outlive a test."""
    accounts.services.ensure_roles()
    kitchen, permission = Group.objects.get(name="kitchen"), Permission.objects.get(codename="view_item")
    kitchen.permissions.add(permission)
    yield
    kitchen.permissions.remove(permission)


def member(*shops: Shop, besides: str = "", **roles: Shop) -> Client:
    """Somebody who manages these shops and has other roles elsewhere; `besides` are permissions of his or her own."""
    accounts.services.ensure_roles()
    user = User.objects.create_user("lan", is_staff=True)
    own = Permission.objects.filter(content_type__app_label="menu", codename__regex=besides)
    user.user_permissions.set(own if besides else [])
    for role, shop in [*(("manager", shop) for shop in shops), *roles.items()]:
        accounts.services.add_member(user_id=user.pk, shop_id=shop.pk, role=role)
    client = Client(headers={"accept-language": "zh-hans"})
    client.force_login(user)
    return client


@pytest.mark.parametrize("model", MODELS)
def test_the_lists_are_of_the_own_shops(model: str, shop: Shop, theirs: dict[str, Any]) -> None:
    make_group(make_dish(shop, "自家的鱼", stock=5), "自家辣度", {"不辣": "0"})
    StockAdjustment.objects.get_or_create(item=Item.objects.get(name="自家的鱼"), defaults={"delta": 5})
    page = member(shop).get(f"/admin/menu/{model}/")
    assert {row.pk for row in page.context["cl"].result_list} == own_rows(model, shop)
    assert own_rows(model, shop)
    assert "隔壁" not in page.content.decode()


def own_rows(model: str, shop: Shop) -> set[int]:
    paths = {
        "shop": Shop.objects.filter(pk=shop.pk),
        "category": Category.objects.filter(shop=shop),
        "item": Item.objects.filter(shop=shop),
        "optiongroup": OptionGroup.objects.filter(item__shop=shop),
        "stock": Item.objects.filter(shop=shop, stock__isnull=False),
        "stockadjustment": StockAdjustment.objects.filter(item__shop=shop),
    }
    return set(paths[model].values_list("pk", flat=True))


@pytest.mark.parametrize("model", MODELS)
def test_who_works_nowhere_sees_nothing(model: str, theirs: dict[str, Any]) -> None:
    client = member(besides=".")
    page = client.get(f"/admin/menu/{model}/")
    assert list(page.context["cl"].result_list) == []
    assert "隔壁" not in page.content.decode()
    assert client.get(f"/admin/menu/{model}/{theirs[model].pk}/change/").status_code == 404


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("model", MODELS)
def test_another_shops_rows_have_no_pages(model: str, page: str, shop: Shop, theirs: dict[str, Any]) -> None:
    client = member(shop)
    url = f"/admin/menu/{model}/{theirs[model].pk}/{page}/"
    assert client.get(url).status_code in (403, 404)
    assert client.post(url, {"post": "yes", "name": "我的了", "price": "0.01"}).status_code in (403, 404, 405)
    assert Item.objects.get(pk=theirs["item"].pk).name == "隔壁的鸭"


def test_the_own_rows_have(shop: Shop) -> None:
    dish = make_dish(shop)
    answer = member(shop).post(f"/admin/menu/item/{dish.pk}/change/", item_form(dish, price="19.50"))
    assert answer.status_code == 302
    assert str(Item.objects.get().price) == "19.50"


@pytest.mark.parametrize("action", ["stop_selling", "sold_out", "set_stock", "delete_selected"])
def test_another_shops_dishes_cannot_be_chosen(action: str, shop: Shop, theirs: dict[str, Any]) -> None:
    chosen = {"action": action, "_selected_action": [theirs["item"].pk], "portions": "99", "post": "yes"}
    member(shop).post("/admin/menu/item/", chosen, follow=True)
    dish = Item.objects.get(pk=theirs["item"].pk)
    assert (dish.on_sale, dish.stock.available) == (True, 3)


def test_nothing_is_put_into_another_shop(shop: Shop, theirs: dict[str, Any]) -> None:
    client, there = member(shop), theirs["shop"].pk
    fields = item_form(shop=there, kind="dish", category=theirs["category"].pk)
    assert client.post("/admin/menu/item/add/", fields).status_code == 200
    category = {"shop": there, "name": "我的", "kind": "dish", "sort": 0, "is_active": "on"}
    assert client.post("/admin/menu/category/add/", category).status_code == 200
    group = {"item": theirs["item"].pk, "name": "加料", "min": 0, "max": 1, "sort": 0} | rows("options")
    assert client.post("/admin/menu/optiongroup/add/", group).status_code == 200
    assert (Item.objects.count(), Category.objects.count(), OptionGroup.objects.count()) == (1, 1, 1)


def test_no_set_meal_is_made_of_another_shops_dishes(shop: Shop, theirs: dict[str, Any]) -> None:
    meal = make_set_meal(shop, [(make_dish(shop), 1)])
    fields = item_form(meal, {"dish": theirs["item"].pk, "quantity": 1})
    assert member(shop).post(f"/admin/menu/item/{meal.pk}/change/", fields).status_code == 200
    assert not SetMealComponent.objects.filter(dish=theirs["item"]).exists()


def test_a_dish_does_not_move_under_another_shops_category(shop: Shop, theirs: dict[str, Any]) -> None:
    dish = make_dish(shop, category=make_category(shop))
    fields = item_form(dish, category=theirs["category"].pk)
    assert member(shop).post(f"/admin/menu/item/{dish.pk}/change/", fields).status_code == 200
    assert Item.objects.get(pk=dish.pk).category_id == dish.category_id


def test_looking_up_names_stays_at_home(shop: Shop, theirs: dict[str, Any]) -> None:
    make_dish(shop, "自家的鱼")
    where = {"app_label": "menu", "model_name": "setmealcomponent", "field_name": "dish", "term": "的"}
    found = member(shop).get("/admin/autocomplete/", where).json()["results"]
    assert [row["text"] for row in found] == ["自家的鱼"]


def test_new_shops_are_opened_by_who_works_everywhere(shop: Shop) -> None:
    assert member(shop).get("/admin/menu/shop/add/").status_code == 403
    assert Shop.objects.count() == 1


def test_who_leaves_a_shop_sees_it_no_more(shop: Shop) -> None:
    client = member(shop)
    assert client.get(f"/admin/menu/shop/{shop.pk}/change/").status_code == 200
    User.objects.get(username="lan").memberships.all().delete()
    assert client.get(f"/admin/menu/shop/{shop.pk}/change/").status_code == 404


def test_a_role_counts_in_its_own_shop(shop: Shop, theirs: dict[str, Any]) -> None:
    client = member(shop, kitchen=theirs["shop"])
    make_dish(shop, "自家的鱼")
    page = client.get("/admin/menu/item/")
    assert [str(row) for row in page.context["cl"].result_list] == ["自家的鱼"]
    assert client.get(f"/admin/menu/item/{theirs['item'].pk}/change/").status_code == 404
    fields = item_form(shop=theirs["shop"].pk, kind="dish", category=theirs["category"].pk)
    assert client.post("/admin/menu/item/add/", fields).status_code == 200
    assert not Item.objects.filter(name="新菜").exists()


@pytest.mark.usefixtures("lookers")
def test_looking_in_one_shop_is_not_changing_it(shop: Shop, theirs: dict[str, Any]) -> None:
    client, dish = member(shop, kitchen=theirs["shop"]), theirs["item"]
    page = f"/admin/menu/item/{dish.pk}/change/"
    assert client.get(page).status_code == 200
    assert client.post(page, item_form(dish, name="我的鸭")).status_code == 403
    assert client.post(f"/admin/menu/item/{dish.pk}/delete/", {"post": "yes"}).status_code == 403
    for action in ("stop_selling", "set_stock", "delete_selected"):
        chosen = {"action": action, "_selected_action": [dish.pk], "portions": "99", "post": "yes"}
        client.post("/admin/menu/item/", chosen, follow=True)
    both = {"action": ["delete_selected", "stop_selling"], "index": 1, "_selected_action": [dish.pk]}
    client.post("/admin/menu/item/", both, follow=True)
    dish.refresh_from_db()
    assert (dish.name, dish.on_sale, dish.stock.available) == ("隔壁的鸭", True, 3)


@pytest.mark.usefixtures("lookers")
def test_no_choices_are_added_where_one_may_only_look(shop: Shop, theirs: dict[str, Any]) -> None:
    client, dish = member(shop, kitchen=theirs["shop"]), theirs["item"]
    row = rows("option_groups", {"name": "加料", "min": 0, "max": 1, "sort": 0})
    assert client.post(f"/admin/menu/item/{dish.pk}/change/", item_form(dish) | row).status_code == 403
    assert "option_groups" not in client.get(f"/admin/menu/item/{dish.pk}/change/").content.decode()


def test_nor_with_a_new_dish_of_that_shop(shop: Shop, theirs: dict[str, Any]) -> None:
    client = member(shop, kitchen=theirs["shop"])
    kitchen, may = Group.objects.get(name="kitchen"), Permission.objects.filter(codename__in=["view_item", "add_item"])
    kitchen.permissions.add(*may)
    try:
        fields = item_form(shop=theirs["shop"].pk, kind="dish", category=theirs["category"].pk, name="隔壁的新菜")
        row = rows("option_groups", {"name": "加料", "min": 0, "max": 1, "sort": 0})
        assert client.post("/admin/menu/item/add/", fields | row).status_code == 403
        assert not Item.objects.filter(name="隔壁的新菜").exists()
        assert client.post("/admin/menu/item/add/", fields).status_code == 302
    finally:
        kitchen.permissions.remove(*may)


def test_what_somebody_holds_besides_a_role_counts_where_he_works(shop: Shop, theirs: dict[str, Any]) -> None:
    client, dish = member(besides="_item$", kitchen=shop), make_dish(shop, "自家的鱼")
    assert client.post(f"/admin/menu/item/{dish.pk}/change/", item_form(dish, price="19.50")).status_code == 302
    assert client.get(f"/admin/menu/item/{theirs['item'].pk}/change/").status_code == 404


def test_a_manager_makes_a_menu_out_of_nothing(shop: Shop) -> None:
    client = member(shop)
    category = {"shop": shop.pk, "name": "主食", "kind": "dish", "sort": 0, "is_active": "on"}
    assert client.post("/admin/menu/category/add/", category).status_code == 302
    there = Category.objects.get()
    fields = item_form(shop=shop.pk, kind="dish", category=there.pk, portions="9")
    assert client.post("/admin/menu/item/add/", fields).status_code == 302
    dish = Item.objects.get()
    group = {"item": dish.pk, "name": "辣度", "min": 1, "max": 1, "sort": 0}
    options = rows("options", {"name": "微辣", "price_delta": 0, "sort": 0})
    assert client.post("/admin/menu/optiongroup/add/", group | options).status_code == 302
    made = OptionGroup.objects.get()
    assert client.post(f"/admin/menu/optiongroup/{made.pk}/delete/", {"post": "yes"}).status_code == 302
    assert (dish.stock.available, dish.option_groups.count()) == (9, 0)


def test_a_manager_mends_the_shops_hours_and_notice(shop: Shop) -> None:
    client = member(shop)
    terms = {"name": shop.name, "time_zone": "Asia/Shanghai", "day_starts_at": "04:00", "prep_minutes": 30}
    money = {"delivery_fee": "7", "packing_fee": "0", "minimum_order": "0"}
    hours = rows("opening_hours", {"weekday": 4, "opens": "18:00", "closes": "02:00"})
    path = f"/admin/menu/shop/{shop.pk}/change/"
    assert client.post(path, terms | money | hours | {"notice": "周五到两点"}).status_code == 302
    shop.refresh_from_db()
    assert (shop.notice, shop.delivery_fee, shop.opening_hours.count()) == ("周五到两点", 7, 1)


def test_a_role_never_opens_pages_that_no_shop_limits(shop: Shop) -> None:
    """What an operator added to a role's group from elsewhere counts for members of the group, not for the role."""
    client = member(shop)
    manager, foreign = Group.objects.get(name="manager"), Permission.objects.get(codename="view_user")
    manager.permissions.add(foreign)
    status = client.get("/admin/accounts/user/").status_code
    manager.permissions.remove(foreign)
    assert status == 403
