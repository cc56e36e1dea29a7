"""What the menu's admin forms refuse stands beside the field that it is about, in words."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from menu.models import Item, OptionGroup, Shop
from tests.menu.factories import make_dish, make_group
from tests.menu.test_admin import boss, errors, item_form, rows, shop

__all__ = ["boss", "shop"]

pytestmark = pytest.mark.data


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
