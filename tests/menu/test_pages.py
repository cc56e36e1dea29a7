"""The customer's pages of shops and menus."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import time_machine
from django.test import Client

from menu import services
from menu.models import Shop
from tests.menu.factories import make_dish, make_group, make_set_meal, make_shop

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


def test_each_dish_is_a_form_that_works_without_javascript() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    html = menu_page(shop)
    assert f'action="/shops/{shop.pk}/cart/add/"' in html
    assert f'<input type="hidden" name="item" value="{dish.pk}">' in html
    assert 'name="quantity" value="1" min="1" max="99"' in html
    assert "csrfmiddlewaretoken" in html


def test_one_of_several_is_a_list_and_many_of_several_are_boxes() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    mild, _hot = make_group(dish, "辣度", {"不辣": "0", "重辣": "1.50"}, least=1, most=1)
    ice, _none = make_group(dish, "温度", {"少冰": "0", "去冰": "0"}, least=0, most=1)
    garlic, _onion = make_group(dish, "忌口", {"不要蒜": "0", "不要葱": "0"}, least=0, most=2)
    html = menu_page(shop)
    assert html.count('<select name="option">') == 2
    assert html.count('<option value="">') == 1  # Only where none may be chosen
    assert f'<option value="{mild.pk}">' in html
    assert f'<option value="{ice.pk}">' in html
    assert f'<input type="checkbox" name="option" value="{garlic.pk}">' in html
    assert "(+1.50)" in html


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
