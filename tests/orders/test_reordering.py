from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import menu.services
from menu.models import Item, Option
from menu.services import LineRequest
from orders import services
from orders.cart import CartFull
from tests.accounts.factories import problem, read
from tests.factories import Person, Stall, completed, lines, order, placed
from tests.menu.factories import make_group

pytestmark = pytest.mark.data


def reorder(who: Person, order_id: int) -> dict[str, Any]:
    document: dict[str, Any] = read(who.api.post(f"orders/{order_id}/reorder/"))
    return document


def contents(document: dict[str, Any]) -> list[tuple[int, int]]:
    return [(line["item"], line["quantity"]) for line in document["lines"]]


def test_the_old_lines_go_into_the_cart(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = completed(mei, stall, lan, (stall.fish, 1), (stall.rice, 2))
    document = reorder(mei, order_id)
    assert contents(document) == [(stall.fish, 1), (stall.rice, 2)]
    assert (document["total"], document["gone"], document["repriced"]) == ("69.00", [], [])


def test_what_is_in_the_cart_stays_there(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 1), (stall.rice, 2))
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=lines((stall.fish, 3))[0])
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=lines((stall.tofu, 1))[0])
    assert contents(reorder(mei, order_id)) == [(stall.fish, 4), (stall.tofu, 1), (stall.rice, 2)]


def test_choices_are_made_again(mei: Person, stall: Stall) -> None:
    _, hot = make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "加辣": "2"}, least=1)
    wanted = (LineRequest(item_id=stall.fish, quantity=1, option_ids=(hot.pk,)),)
    (line,) = reorder(mei, placed(mei, stall, lines=wanted))["lines"]
    assert (line["unit_price"], [option["name"] for option in line["options"]]) == ("58.00", ["加辣"])


def test_what_is_gone_is_named_and_left_out(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 1), (stall.tofu, 2))
    menu.services.stop_selling(item_ids=[stall.fish])
    document = reorder(mei, order_id)
    assert contents(document) == [(stall.tofu, 2)]
    assert document["gone"] == [{"name": "酸菜鱼", "reason": "“酸菜鱼”已下架。"}]


def test_a_choice_that_is_gone_takes_its_line_along(mei: Person, stall: Stall) -> None:
    (hot,) = make_group(Item.objects.get(pk=stall.fish), "辣度", {"加辣": "2"})
    wanted = (LineRequest(item_id=stall.fish, quantity=1, option_ids=(hot.pk,)),)
    order_id = placed(mei, stall, lines=wanted)
    Option.objects.filter(pk=hot.pk).delete()
    menu.services.menu_changed(stall.shop_id)
    document = reorder(mei, order_id)
    assert (contents(document), [gone["name"] for gone in document["gone"]]) == ([], ["酸菜鱼"])


def test_what_costs_something_else_is_named(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 1), (stall.tofu, 1))
    Item.objects.filter(pk=stall.fish).update(price=Decimal("59.50"))
    menu.services.menu_changed(stall.shop_id)
    document = reorder(mei, order_id)
    assert document["repriced"] == [{"name": "酸菜鱼", "was": "56.00", "now": "59.50"}]
    assert document["goods_total"] == "77.50"


def test_reordering_places_nothing(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    reorder(mei, order_id)
    assert len(read(mei.api.get("orders/"))["results"]) == 1
    assert order(order_id).version == 1


def test_more_than_the_cart_holds_is_refused_whole(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 60))
    services.reorder(order_id=order_id, user_id=mei.id)
    with pytest.raises(CartFull):
        services.reorder(order_id=order_id, user_id=mei.id)
    assert problem(mei.api.post(f"orders/{order_id}/reorder/")) == (409, "cart_full")
    view = services.view_cart(user_id=mei.id, shop_id=stall.shop_id)
    assert [line.quantity for line in view.lines] == [60]


def test_a_cancelled_order_can_be_ordered_again(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    assert contents(reorder(mei, order_id)) == [(stall.fish, 1)]
