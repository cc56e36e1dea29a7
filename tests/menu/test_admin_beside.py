"""What the menu's admin forms refuse stands beside the field that it is about, in words."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from menu.models import Item, OptionGroup, Shop
from tests.menu.factories import make_dish, make_group
from tests.menu.test_admin import boss, errors, item_form, rows, shop

__all__ = ["boss", "shop"]

pytestmark = [pytest.mark.once, pytest.mark.data]


def beside(answer: Any) -> dict[str, list[str]]:
    """What the form complains of, by field."""
    assert answer.status_code == 200
    return dict(answer.context["adminform"].form.errors)


@pytest.mark.parametrize(
    ("place", "faults"),
    [
        (("91", "116.4"), {"latitude"}),
        (("39.9", "-180.5"), {"longitude"}),
        (("39.9", ""), {"longitude"}),
        (("", "116.4"), {"latitude"}),
        (("x", ""), {"latitude", "longitude"}),
        (("", ""), set()),
        (("-90", "180"), set()),
    ],
)
def test_a_shop_stands_somewhere_on_earth(boss: Client, shop: Shop, place: tuple[str, str], faults: set[str]) -> None:
    form = {"name": "东门小馆", "time_zone": "Asia/Shanghai", "day_starts_at": "04:00", "prep_minutes": 30}
    money = dict.fromkeys(("delivery_fee", "packing_fee", "minimum_order"), "0")
    where = dict(zip(("latitude", "longitude"), place, strict=True))
    answer = boss.post("/admin/menu/shop/add/", form | money | where | rows("opening_hours"))
    assert (beside(answer).keys() if faults else answer.status_code) == (faults or 302)


def group_form(item: Item, **values: Any) -> dict[str, Any]:
    return {"item": item.pk, "name": "辣度", "min": 0, "max": 1, "sort": 0} | rows("options") | values


def test_a_taken_name_is_answered_beside_it(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    make_group(dish, "辣度", {"微辣": "0"})
    taken = {
        "category": {"shop": shop.pk, "name": "热菜", "kind": "dish", "sort": 0},
        "item": item_form(shop=shop.pk, kind="dish", category=dish.category_id, name="麻婆豆腐"),
        "optiongroup": group_form(dish),
    }
    answers = {model: beside(boss.post(f"/admin/menu/{model}/add/", form)) for model, form in taken.items()}
    assert answers == {
        "category": {"name": ["这家店已有同名的。"]},
        "item": {"name": ["这家店已有同名的。"]},
        "optiongroup": {"name": ["这个商品已有同名的。"]},
    }


def test_another_items_choice_may_have_the_name(boss: Client, shop: Shop) -> None:
    make_group(make_dish(shop), "辣度", {"微辣": "0"})
    rice = make_dish(shop, "米饭")
    assert boss.post("/admin/menu/optiongroup/add/", group_form(rice)).status_code == 302
    assert list(rice.option_groups.values_list("name", flat=True)) == ["辣度"]


def test_a_choice_of_more_than_it_allows_is_answered_in_words(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    answer = boss.post("/admin/menu/optiongroup/add/", group_form(dish, min=2))
    assert beside(answer) == {"max": ["不能少于最少选择的数量。"]}
    row = {"name": "辣度", "min": 2, "max": 1, "sort": 0}
    answer = boss.post(f"/admin/menu/item/{dish.pk}/change/", item_form(dish) | rows("option_groups", row))
    assert "不能少于最少选择的数量。" in errors(answer)
    assert "option_group_min_at_most_max" not in answer.content.decode()
    assert not OptionGroup.objects.exists()


@pytest.mark.parametrize("sent", ["", "x", "-1", "0", "1e9", "9" * 30, "\x00", "[1]"])
def test_what_is_no_row_at_all_is_answered_beside_the_search(boss: Client, shop: Shop, sent: str) -> None:
    dish = make_dish(shop)
    assert beside(boss.post("/admin/menu/optiongroup/add/", group_form(dish) | {"item": sent})).keys() == {"item"}
    part = {"dish": sent, "quantity": 2}
    answer = boss.post(f"/admin/menu/item/{dish.pk}/change/", item_form(dish, part))
    assert answer.status_code == 200
    assert not OptionGroup.objects.exists()


def shop_form(**values: Any) -> dict[str, Any]:
    form = {"name": "东门小馆", "time_zone": "Asia/Shanghai", "day_starts_at": "04:00", "prep_minutes": 30}
    return form | dict.fromkeys(("delivery_fee", "packing_fee", "minimum_order"), "0") | rows("opening_hours") | values


@pytest.mark.parametrize(
    "phone", ["", "13911110001", "010-65001234", "400 800 1234", "95016", "(010) 65001234", "+86 (10) 6500-1234"]
)
def test_what_can_be_called_is_a_shops_phone(boss: Client, db_all: object, phone: str) -> None:
    assert boss.post("/admin/menu/shop/add/", shop_form(phone=phone)).status_code == 302
    assert Shop.objects.get().phone == phone


@pytest.mark.parametrize(
    "phone", ["wrong", "微信 abc", "1234", "-----", "(((((12345", "１３９１１１１０００１", "010\n65001234"]
)
def test_what_cannot_be_called_is_none(boss: Client, db_all: object, phone: str) -> None:
    answer = beside(boss.post("/admin/menu/shop/add/", shop_form(phone=phone)))
    assert answer == {"phone": ["请输入电话号码，例如 010-65001234。"]}
    assert not Shop.objects.exists()


@pytest.mark.parametrize(
    ("opens", "closes", "fine"),
    [("10:00", "10:00", False), ("00:00", "00:00", True), ("18:00", "02:00", True), ("10:00", "22:00", True)],
)
def test_a_shop_is_not_open_from_ten_to_ten(boss: Client, shop: Shop, opens: str, closes: str, *, fine: bool) -> None:
    row = rows("opening_hours", {"weekday": 4, "opens": opens, "closes": closes})
    answer = boss.post(f"/admin/menu/shop/{shop.pk}/change/", shop_form(name=shop.name) | row)
    assert shop.opening_hours.exists() == fine
    assert answer.status_code == (302 if fine else 200)
    if not fine:
        formset = answer.context["inline_admin_formsets"][0].formset
        assert formset.errors == [{"closes": ["开始和结束不能相同；全天营业请填 00:00 到 00:00。"]}]


def groups_of(answer: Any) -> Any:
    return next(it.formset for it in answer.context["inline_admin_formsets"] if it.formset.prefix == "option_groups")


def test_a_dish_does_not_ask_for_options_that_are_not_there(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    row = {"name": "辣度", "min": 1, "max": 1, "sort": 0}
    answer = boss.post(f"/admin/menu/item/{dish.pk}/change/", item_form(dish) | rows("option_groups", row))
    words = "最少选 1 个，但只有 0 个选项。请先添加选项，或改小“最少选”。"
    assert groups_of(answer).errors == [{"min": [words]}]
    assert not OptionGroup.objects.exists()


def test_a_dish_does_not_ask_for_more_options_than_there_are(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    made = make_group(dish, "加料", {"肉末": "3", "花生": "1"}, least=1, most=2)[0].group
    row = {"id": made.pk, "item": dish.pk, "name": "加料", "min": 3, "max": 3, "sort": 0}
    page, form = f"/admin/menu/item/{dish.pk}/change/", item_form(dish)
    answer = boss.post(page, form | rows("option_groups", row, initial=1))
    assert "但只有 2 个选项" in str(groups_of(answer).errors)
    assert boss.post(page, form | rows("option_groups", row | {"min": 2}, initial=1)).status_code == 302
    made.refresh_from_db()
    assert (made.min, made.max) == (2, 3)
    gone = rows("option_groups", row | {"DELETE": "on"}, initial=1)
    assert boss.post(page, form | gone).status_code == 302
    assert not OptionGroup.objects.exists()


def test_a_choice_says_how_many_options_are_missing(boss: Client, shop: Shop) -> None:
    form = group_form(make_dish(shop), min=2, max=2) | rows("options", {"name": "微辣", "price_delta": 0, "sort": 0})
    answer = boss.post("/admin/menu/optiongroup/add/", form)
    assert "最少选 2 个，但只有 1 个选项。" in errors(answer)
    assert not OptionGroup.objects.exists()


def test_the_way_from_a_dish_to_a_new_choice(boss: Client, shop: Shop) -> None:
    dish = make_dish(shop)
    page = boss.get(f"/admin/menu/item/{dish.pk}/change/").content.decode()
    assert f'href="/admin/menu/optiongroup/add/?item={dish.pk}"' in page
    there = boss.get(f"/admin/menu/optiongroup/add/?item={dish.pk}").content.decode()
    assert f'<option value="{dish.pk}" selected>麻婆豆腐</option>' in there
    assert "保存后可以添加" in boss.get("/admin/menu/item/add/").content.decode()
