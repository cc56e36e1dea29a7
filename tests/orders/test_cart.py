from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest

import menu.services
from menu.models import Item
from menu.services import LineRequest, QuantityInvalid
from orders import services
from orders.cart import MOST_LINES, CartFull
from orders.models import Cart, CartLine
from tests import factories
from tests.accounts.factories import problem, read
from tests.factories import Person, Stall, at_once, lines
from tests.menu.factories import make_dish, make_group
from waimai.infra import ids
from waimai.infra.errors import NotFound

pytestmark = pytest.mark.data


def add(who: Person, at: Stall, item: int, quantity: int = 1, *options: int) -> Any:
    body = {"item": item, "quantity": quantity, "options": list(options)}
    return who.api.post(f"shops/{at.shop_id}/cart/lines/", body)


def cart(who: Person, at: Stall) -> dict[str, Any]:
    document: dict[str, Any] = read(who.api.get(f"shops/{at.shop_id}/cart/"))
    return document


def contents(who: Person, at: Stall) -> list[tuple[int, int]]:
    return [(line["item"], line["quantity"]) for line in cart(who, at)["lines"]]


def test_a_cart_begins_empty_and_costs_nothing(mei: Person, stall: Stall) -> None:
    assert cart(mei, stall) == {
        "shop": stall.shop_id,
        "version": 0,
        "lines": [],
        "goods_total": "0.00",
        "packing_fee": "0.00",
        "delivery_fee": "0.00",
        "total": "0.00",
        "minimum_order": "20.00",
    }


def test_a_line_goes_in_with_its_price(mei: Person, stall: Stall) -> None:
    answer = add(mei, stall, stall.fish, 2)
    document = read(answer)
    (line,) = document["lines"]
    assert (answer.status_code, document["total"], document["packing_fee"]) == (201, "120.00", "2.00")
    assert line.pop("id") > 0
    assert line == {
        "item": stall.fish,
        "name": "酸菜鱼",
        "quantity": 2,
        "options": [],
        "unit_price": "56.00",
        "amount": "112.00",
        "available": True,
        "problem": None,
    }


def test_the_same_again_is_more_of_it(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish, 1)
    add(mei, stall, stall.tofu, 1)
    add(mei, stall, stall.fish, 2)
    assert contents(mei, stall) == [(stall.fish, 3), (stall.tofu, 1)]


def test_another_choice_is_another_line(mei: Person, stall: Stall) -> None:
    mild, hot = make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "加辣": "2"}, least=1)
    for option in (mild, hot, mild):
        add(mei, stall, stall.fish, 1, option.pk)
    assert contents(mei, stall) == [(stall.fish, 2), (stall.fish, 1)]
    assert [line["unit_price"] for line in cart(mei, stall)["lines"]] == ["56.00", "58.00"]


def test_the_order_of_options_makes_no_difference(mei: Person, stall: Stall) -> None:
    a, b = make_group(Item.objects.get(pk=stall.fish), "忌口", {"不要葱": "0", "不要蒜": "0"}, most=2)
    add(mei, stall, stall.fish, 1, a.pk, b.pk)
    add(mei, stall, stall.fish, 1, b.pk, a.pk)
    assert contents(mei, stall) == [(stall.fish, 2)]


def test_a_cart_may_cost_less_than_the_minimum(mei: Person, stall: Stall) -> None:
    assert add(mei, stall, stall.rice).status_code == 201


def test_a_line_is_made_so_many(mei: Person, stall: Stall) -> None:
    line = read(add(mei, stall, stall.fish))["lines"][0]["id"]
    answer = mei.api.patch(f"shops/{stall.shop_id}/cart/lines/{line}/", {"quantity": 5})
    assert (answer.status_code, read(answer)["goods_total"]) == (200, "280.00")


@pytest.mark.parametrize("quantity", [0, -1, 100, 1.5, "2", True, None])
def test_a_line_is_never_made_a_number_that_is_none(quantity: Any, mei: Person, stall: Stall) -> None:
    line = read(add(mei, stall, stall.fish))["lines"][0]["id"]
    answer = mei.api.patch(f"shops/{stall.shop_id}/cart/lines/{line}/", {"quantity": quantity})
    assert problem(answer) == (400, "validation_error")
    with pytest.raises(QuantityInvalid):
        services.set_cart_quantity(user_id=mei.id, shop_id=stall.shop_id, line_id=line, quantity=quantity)
    assert contents(mei, stall) == [(stall.fish, 1)]


def test_a_line_is_taken_out(mei: Person, stall: Stall) -> None:
    line = read(add(mei, stall, stall.fish))["lines"][0]["id"]
    add(mei, stall, stall.tofu)
    assert mei.api.delete(f"shops/{stall.shop_id}/cart/lines/{line}/").status_code == 204
    assert contents(mei, stall) == [(stall.tofu, 1)]
    assert problem(mei.api.delete(f"shops/{stall.shop_id}/cart/lines/{line}/")) == (404, "not_found")


def test_a_cart_is_emptied(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    assert mei.api.delete(f"shops/{stall.shop_id}/cart/").status_code == 204
    assert contents(mei, stall) == []


def test_every_change_raises_the_version(mei: Person, stall: Stall) -> None:
    line = read(add(mei, stall, stall.fish))["lines"][0]["id"]
    services.set_cart_quantity(user_id=mei.id, shop_id=stall.shop_id, line_id=line, quantity=2)
    services.remove_from_cart(user_id=mei.id, shop_id=stall.shop_id, line_id=line)
    services.clear_cart(user_id=mei.id, shop_id=stall.shop_id)
    assert cart(mei, stall)["version"] == 4


def test_a_change_that_fails_raises_nothing(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    with pytest.raises(NotFound):
        services.remove_from_cart(user_id=mei.id, shop_id=stall.shop_id, line_id=ids.new_id(1))
    assert cart(mei, stall)["version"] == 1


@pytest.mark.parametrize(("quantity", "code"), [(0, "validation_error"), (100, "validation_error")])
def test_no_line_of_a_number_that_is_none(quantity: int, code: str, mei: Person, stall: Stall) -> None:
    assert problem(add(mei, stall, stall.fish, quantity)) == (400, code)


def test_nothing_goes_in_that_cannot_be_ordered(mei: Person, stall: Stall) -> None:
    menu.services.stop_selling(item_ids=[stall.tofu])
    assert problem(add(mei, stall, stall.tofu)) == (409, "item_unavailable")
    assert problem(add(mei, stall, 987654)) == (409, "item_unavailable")
    assert problem(add(mei, stall, stall.fish, 1, 987654)) == (400, "option_invalid")
    assert contents(mei, stall) == []


def test_a_shop_that_is_not_there(mei: Person, stall: Stall) -> None:
    assert problem(mei.api.get("shops/987654/cart/")) == (404, "not_found")
    assert problem(mei.api.post("shops/987654/cart/lines/", {"item": 1, "quantity": 1})) == (404, "not_found")
    assert problem(mei.api.delete("shops/987654/cart/")) == (404, "not_found")
    assert not Cart.objects.on(mei.shard).exists()


def test_ninety_nine_of_a_kind_and_no_more(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish, 99)
    assert problem(add(mei, stall, stall.fish)) == (409, "cart_full")
    assert contents(mei, stall) == [(stall.fish, 99)]


def test_fifty_lines_and_no_more(mei: Person, stall: Stall) -> None:
    shop = Item.objects.get(pk=stall.fish).shop
    dishes = [make_dish(shop, f"小菜 {number}", "3.00").pk for number in range(MOST_LINES + 1)]
    everything = lines(*((dish, 1) for dish in dishes))
    with pytest.raises(CartFull):
        services.merge_into_cart(user_id=mei.id, shop_id=stall.shop_id, lines=everything)
    assert contents(mei, stall) == []
    services.merge_into_cart(user_id=mei.id, shop_id=stall.shop_id, lines=everything[:-1])
    assert len(contents(mei, stall)) == 50


# --- what is no longer to be had ---


def test_a_dish_that_went_off_sale_stays_and_says_so(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    add(mei, stall, stall.tofu)
    menu.services.stop_selling(item_ids=[stall.fish])
    document = cart(mei, stall)
    gone, there = document["lines"]
    assert (gone["name"], gone["available"], gone["problem"]) == ("酸菜鱼", False, "item_off_sale")
    assert (gone["unit_price"], gone["amount"]) == (None, None)
    assert (there["available"], there["problem"], document["goods_total"]) == (True, None, "18.00")


def test_a_dish_that_is_sold_out_says_so(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    menu.services.set_stock(item_id=stall.fish, available=0)
    (line,) = cart(mei, stall)["lines"]
    assert (line["available"], line["problem"], line["amount"]) == (False, "sold_out", "56.00")


def test_prices_are_todays(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    Item.objects.filter(pk=stall.fish).update(price=Decimal(60))
    menu.services.menu_changed(stall.shop_id)
    assert cart(mei, stall)["goods_total"] == "60.00"


# --- whose cart ---


def test_everybody_has_a_cart_of_their_own(mei: Person, tao: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    assert contents(tao, stall) == []


def test_every_shop_has_a_cart_of_its_own(mei: Person, stall: Stall) -> None:
    other = factories.stall("粤味小馆")
    add(mei, stall, stall.fish)
    assert contents(mei, other) == []


def test_nobody_touches_someone_elses_line(mei: Person, tao: Person, stall: Stall) -> None:
    line = read(add(mei, stall, stall.fish))["lines"][0]["id"]
    path = f"shops/{stall.shop_id}/cart/lines/{line}/"
    assert problem(tao.api.patch(path, {"quantity": 9})) == (404, "not_found")
    assert problem(tao.api.delete(path)) == (404, "not_found")
    assert contents(mei, stall) == [(stall.fish, 1)]


def test_a_line_of_another_shops_cart_is_not_found(mei: Person, stall: Stall) -> None:
    other = factories.stall("粤味小馆")
    line = read(add(mei, stall, stall.fish))["lines"][0]["id"]
    assert problem(mei.api.delete(f"shops/{other.shop_id}/cart/lines/{line}/")) == (404, "not_found")


def test_a_cart_lives_on_its_owners_shard(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish)
    assert CartLine.objects.on(mei.shard).filter(user_id=mei.id).count() == 1
    assert not CartLine.objects.on(factories.other_shard(mei.shard)).exists()


# --- at once ---


def test_eight_hands_put_in_one_each(mei: Person, stall: Stall) -> None:
    line = LineRequest(item_id=stall.fish, quantity=1)
    added = at_once(*[partial(services.add_to_cart, user_id=mei.id, shop_id=stall.shop_id, line=line)] * 8)
    assert [one for one in added if isinstance(one, Exception)] == []
    assert contents(mei, stall) == [(stall.fish, 8)]
    assert cart(mei, stall)["version"] == 8


def test_a_guests_cart_is_merged(mei: Person, stall: Stall) -> None:
    add(mei, stall, stall.fish, 1)
    services.merge_into_cart(user_id=mei.id, shop_id=stall.shop_id, lines=lines((stall.fish, 2), (stall.rice, 1)))
    assert contents(mei, stall) == [(stall.fish, 3), (stall.rice, 1)]
