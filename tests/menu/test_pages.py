"""The customer's pages of shops and menus."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from urllib.parse import urlencode

import pytest
import time_machine
from django.test import Client

from menu import services
from menu.models import Shop
from tests.menu.factories import make_dish, make_group, make_set_meal, make_shop
from tests.support.browsing import Browser

pytestmark = pytest.mark.data


def page(path: str) -> str:
    answer = Client(headers={"accept-language": "zh-hans"}).get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def menu_page(shop: Shop) -> str:
    return page(f"/shops/{shop.pk}/")


def test_the_only_shop_is_where_customers_begin() -> None:
    shop = make_shop()
    answer = Client().get("/")
    assert (answer.status_code, answer["Location"]) == (302, f"/shops/{shop.pk}/")


def test_several_shops_are_listed() -> None:
    open_shop, closed = make_shop(), make_shop("隔壁", is_open=False)
    html = page("/")
    assert f'href="/shops/{open_shop.pk}/"' in html
    assert f'href="/shops/{closed.pk}/"' in html
    assert (html.count("营业中"), html.count("已打烊")) == (1, 1)


def test_no_shop_yet() -> None:
    assert "还没有店铺" in page("/")


def test_the_menu_shows_dishes_with_prices_and_terms() -> None:
    shop = make_shop(notice="下雨，送得慢")
    make_dish(shop, "老坛酸菜鱼", "56.00", description="酸菜，草鱼")
    html = menu_page(shop)
    for text in ("川味小馆", "老坛酸菜鱼", "¥56.00", "酸菜，草鱼", "起送 ¥20.00", "配送费 ¥6.00", "下雨，送得慢"):
        assert text in html


def item_page(shop: Shop, item_id: int) -> str:
    return page(f"/shops/{shop.pk}/items/{item_id}/")


def test_a_dish_without_options_is_added_where_it_stands() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    html = menu_page(shop)
    assert f'action="/shops/{shop.pk}/cart/add/"' in html
    assert f'<input type="hidden" name="item" value="{dish.pk}">' in html
    assert "csrfmiddlewaretoken" in html


def test_a_dish_with_options_has_a_page_that_works_without_javascript() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    make_group(dish, "辣度", {"不辣": "0"}, least=1, most=1)
    assert f'href="/shops/{shop.pk}/items/{dish.pk}/"' in menu_page(shop)
    html = item_page(shop, dish.pk)
    assert f'action="/shops/{shop.pk}/cart/add/"' in html
    assert 'name="quantity" value="1" min="1" max="99"' in html
    assert "csrfmiddlewaretoken" in html


def test_one_of_several_are_radios_and_many_of_several_are_boxes() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    mild, _hot = make_group(dish, "辣度", {"不辣": "0", "重辣": "1.50"}, least=1, most=1)
    ice, _none = make_group(dish, "温度", {"少冰": "0", "去冰": "0"}, least=0, most=1)
    garlic, _onion = make_group(dish, "忌口", {"不要蒜": "0", "不要葱": "0"}, least=0, most=2)
    html = item_page(shop, dish.pk)
    assert html.count('<input type="radio" name="option_1"') == 2
    assert html.count('value="" checked') == 1  # Only where none may be chosen
    assert f'name="option_1" value="{mild.pk}" data-price="0.00" checked' in html
    assert f'<input type="radio" name="option_2" value="{ice.pk}"' in html
    assert f'<input type="checkbox" name="option_3" value="{garlic.pk}"' in html
    assert "+1.50" in html


@pytest.mark.parametrize("wanted", ["豆腐", "嫩", " 豆腐 "])
def test_a_search_finds_names_and_descriptions(wanted: str) -> None:
    shop = make_shop()
    make_dish(shop, "麻婆豆腐", description="又嫩又辣")
    make_dish(shop, "酸菜鱼")
    text = Browser().open(f"/shops/{shop.pk}/?{urlencode({'q': wanted})}").text
    assert ("麻婆豆腐" in text, "酸菜鱼" in text) == (True, False)


def test_a_search_that_finds_nothing_says_so() -> None:
    shop = make_shop()
    make_dish(shop)
    html = page(f"/shops/{shop.pk}/?q=pizza")
    assert '<p class="empty" id="nothing-found" role="status">' in html
    assert "还没有可点的菜品" not in html


def test_what_costs_nothing_is_not_named() -> None:
    shop = make_shop(minimum_order=Decimal(0), packing_fee=Decimal(0))
    for html in (menu_page(shop), (make_shop("隔壁"), page("/"))[1]):
        assert ("起送 ¥0.00" in html, "打包费每份 ¥0.00" in html, "配送费 ¥6.00" in html) == (False, False, True)


@pytest.mark.parametrize("item_id", [0, 2**63])
def test_an_unknown_dish_has_no_page(item_id: int) -> None:
    shop = make_shop()
    assert Client().get(f"/shops/{shop.pk}/items/{item_id}/").status_code == 404


def test_a_dish_of_another_shop_or_off_sale_has_no_page() -> None:
    shop, other = make_shop(), make_shop("隔壁")
    theirs, off = make_dish(other), make_dish(shop)
    services.stop_selling(item_ids=[off.pk])
    answers = [Client().get(f"/shops/{shop.pk}/items/{dish.pk}/").status_code for dish in (theirs, off)]
    assert answers == [404, 404]


def test_a_closed_shop_can_be_looked_at_but_sells_nothing() -> None:
    shop = make_shop(is_open=False)
    dish = make_dish(shop)
    html = menu_page(shop)
    assert "可以先看看菜单。" in html
    assert "cart/add" not in html + item_page(shop, dish.pk)


def test_a_set_meal_shows_what_is_in_it() -> None:
    shop = make_shop()
    make_set_meal(shop, [(make_dish(shop, "米饭", "2.00"), 2), (make_dish(shop), 1)])
    assert "米饭 × 2、麻婆豆腐" in menu_page(shop)


def test_a_sold_out_dish_has_no_form() -> None:
    shop = make_shop()
    make_dish(shop, stock=0)
    html = menu_page(shop)
    assert "已售罄" in html
    assert "加入购物车" not in html


def test_stopped_dishes_and_empty_headings_are_not_shown() -> None:
    shop = make_shop()
    make_dish(shop, "停售的", on_sale=False)
    html = menu_page(shop)
    assert "停售的" not in html
    assert "热菜" not in html
    assert "还没有可点的菜品" in html


def test_a_closed_shop_says_when_it_opens_in_its_own_time() -> None:
    shop = make_shop()
    shop.opening_hours.create(weekday=0, opens=dt.time(17), closes=dt.time(21))
    services.menu_changed(shop.pk)
    with time_machine.travel(dt.datetime(2026, 1, 5, 4, tzinfo=dt.UTC), tick=False):
        assert "已打烊，01-05 17:00 开始营业。" in menu_page(shop)


def test_after_midnight_the_evening_goes_on() -> None:
    shop = make_shop()
    shop.opening_hours.create(weekday=0, opens=dt.time(18), closes=dt.time(3))
    services.menu_changed(shop.pk)
    with time_machine.travel(dt.datetime(2026, 1, 5, 17, 45, tzinfo=dt.UTC), tick=False):  # Tuesday 01:45
        html = menu_page(shop)
    assert ("营业至 03:00" in html, "18:00–03:00" in html, "休息" in html) == (True, True, False)


def test_a_shop_that_never_closes_says_no_end() -> None:
    assert "营业至" not in menu_page(make_shop())


def test_a_shop_closed_by_hand() -> None:
    assert "已打烊，暂不接单。" in menu_page(make_shop(is_open=False))


def test_names_are_text_and_no_markup() -> None:
    shop = make_shop()
    make_dish(shop, "<b>粗</b>", description="<script>alert(1)</script>")
    html = menu_page(shop)
    assert "<b>粗</b>" not in html
    assert "<script>alert" not in html


def test_an_unknown_shop_is_not_found() -> None:
    assert Client().get("/shops/404/").status_code == 404


def test_pages_only_show() -> None:
    assert Client().post("/").status_code == 405


def test_prices_have_two_places_whatever_was_typed() -> None:
    shop = make_shop(minimum_order=Decimal(15))
    make_dish(shop, price="18")
    assert "¥18.00" in menu_page(shop)
