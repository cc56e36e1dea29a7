"""The cart's pages: filled from the menu by guests and users, and taken over once at login."""

from __future__ import annotations

from typing import Any

import pytest

import menu.services
from menu.models import Item
from menu.services import LineRequest
from orders import guest_cart, services
from tests.factories import Person, Stall, at_once, down
from tests.factories import stall as open_stall
from tests.menu.factories import make_group
from tests.support.browsing import Browser, Page
from waimai.infra.sharding import shards

pytestmark = pytest.mark.data
ADD = "/cart/add/"


def menu_of(stall: Stall) -> str:
    return f"/shops/{stall.shop_id}/"


def cart_of(stall: Stall) -> str:
    return f"/shops/{stall.shop_id}/cart/"


def form_of(page: Page, item_id: int) -> Any:
    """The form that puts an item into the cart."""
    return next(form for form in page.forms if form.values.get("item") == [str(item_id)])


def put(browser: Browser, stall: Stall, item_id: int, **changes: Any) -> Page:
    """Press "add" on the page of an item; the menu comes back."""
    page = browser.open(f"{menu_of(stall)}items/{item_id}/")
    form = form_of(page, item_id)
    page.forms = [form]
    return browser.submit(page, ADD, changes)


def lines_of(who: Person, stall: Stall) -> list[tuple[int, int]]:
    """(item, quantity) of the user's cart."""
    view = services.view_cart(user_id=who.id, shop_id=stall.shop_id)
    return [(line.item_id, line.quantity) for line in view.lines]


def press(browser: Browser, page: Page, quantity: int, line: int = 0) -> Page:
    """Press the button that makes it `quantity` of a line."""
    forms = [form for form in page.forms if "/cart/lines/" in form.action]
    assert str(quantity) in [button.get("value") for button in forms[line].buttons]
    page.forms = [forms[line]]
    return browser.submit(page, forms[line].action, {"quantity": quantity})


# --- a guest ---


def test_a_guest_fills_a_cart_and_sees_its_price(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    put(guest, stall, stall.rice, quantity=3)
    page = guest.open(cart_of(stall))
    assert "酸菜鱼" in page.text
    assert "¥56.00" in page.text
    # 56 and three times 2, four portions packed for 1 each, delivered for 6.
    assert "商品金额 ¥62.00 打包费 ¥4.00 配送费 ¥6.00 合计 ¥72.00" in page.text


def test_adding_leads_back_to_the_item_on_the_menu(stall: Stall) -> None:
    guest = Browser()
    page = guest.open(menu_of(stall))
    form = form_of(page, stall.tofu)
    answer = guest.client.post(form.action, form.values)
    assert answer["Location"] == f"/shops/{stall.shop_id}/#item-{stall.tofu}"


def test_the_same_item_twice_is_one_line(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = put(guest, stall, stall.fish)
    assert "2 份 ¥112.00" in page.text


def test_the_bar_says_what_is_missing_to_the_minimum(stall: Stall) -> None:
    page = put(Browser(), stall, stall.rice)
    assert "还差 ¥18.00 起送 1 份 ¥2.00" in page.text


def test_below_the_minimum_no_checkout_is_offered(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.rice)
    page = guest.open(cart_of(stall))
    assert "¥20.00 起送，还差 ¥18.00" in page.text
    assert "去结算" not in page.links


def test_chosen_options_are_shown_and_priced(stall: Stall) -> None:
    mild, hot = make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "特辣": "2"}, least=1)
    guest = Browser()
    put(guest, stall, stall.fish, option_1=str(hot.pk))
    page = guest.open(cart_of(stall))
    assert "特辣 ¥58.00" in page.text
    assert mild.name not in page.text


def test_a_missing_choice_is_named_on_the_menu(stall: Stall) -> None:
    make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "特辣": "2"}, least=1, most=2)
    page = put(Browser(), stall, stall.fish)
    assert "“酸菜鱼”的辣度至少选 1 项。" in page.text


@pytest.mark.parametrize("quantity", ["0", "-1", "100", "1.5", "1e9", "many", ""])
def test_nonsense_quantities_are_refused(stall: Stall, quantity: str) -> None:
    guest = Browser()
    page = put(guest, stall, stall.fish, quantity=quantity)
    assert "请检查数量和规格" in page.text
    assert "购物车是空的" in guest.open(cart_of(stall)).text


@pytest.mark.parametrize("option", ["x", "-1", "99999999999999999999"])
def test_nonsense_options_are_refused(stall: Stall, option: str) -> None:
    assert "请检查数量和规格" in put(Browser(), stall, stall.fish, option=[option]).text


def test_more_than_ninety_nine_of_a_line_are_refused(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish, quantity=99)
    assert "购物车放不下了" in put(guest, stall, stall.fish).text
    assert "¥5544.00" in guest.open(cart_of(stall)).text


def test_plus_minus_and_remove(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = press(guest, guest.open(cart_of(stall)), 2)
    assert "¥112.00" in page.text
    page = press(guest, page, 1)
    assert "合计 ¥63.00" in page.text
    assert "购物车是空的" in press(guest, page, 0).text


def test_plus_pressed_twice_on_one_page_is_one_more(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = guest.open(cart_of(stall))
    form = next(form for form in page.forms if "/cart/lines/" in form.action)
    for _press in range(2):
        guest.client.post(form.action, form.values | {"quantity": "2"})
    assert "¥112.00" in guest.open(cart_of(stall)).text


def test_a_line_that_is_gone_is_no_error(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = guest.open(cart_of(stall))
    form = next(form for form in page.forms if "/cart/lines/" in form.action)
    press(guest, page, 0)
    answer = guest.client.post(form.action, form.values | {"quantity": "3"}, follow=True)
    assert "这一项已不在购物车里" in answer.content.decode()


def test_a_cart_can_be_emptied(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = guest.submit(guest.open(cart_of(stall)), "/cart/clear/")
    assert "购物车是空的" in page.text


def test_carts_of_two_shops_are_two(stall: Stall) -> None:
    other = open_stall("粤味小馆")
    guest = Browser()
    put(guest, stall, stall.fish)
    put(guest, other, other.rice)
    assert "米饭" not in guest.open(cart_of(stall)).text
    assert "酸菜鱼" not in guest.open(cart_of(other)).text


def test_the_header_leads_to_the_cart_last_used(stall: Stall) -> None:
    other = open_stall("粤味小馆")
    guest = Browser()
    assert guest.open("/cart/").path == "/"
    put(guest, other, other.rice)
    assert guest.open("/cart/").path == cart_of(other)


def test_what_went_off_sale_is_named_and_can_be_removed(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    menu.services.stop_selling(item_ids=[stall.fish])
    page = guest.open(cart_of(stall))
    assert "“酸菜鱼”已下架。" in page.text
    assert "去结算" not in page.links
    assert "购物车是空的" in press(guest, page, 0).text


def test_what_sold_out_is_named(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    menu.services.set_stock(item_id=stall.fish, available=0)
    page = guest.open(cart_of(stall))
    assert "已售罄" in page.text
    assert "去结算" not in page.links


@pytest.mark.parametrize("path", ["cart/", "checkout/", "cart/add/", "cart/clear/"])
def test_a_shop_that_does_not_exist_is_not_found(mei: Person, path: str) -> None:
    browser = Browser(mei.user)
    browser.client.handler.enforce_csrf_checks = False
    method = browser.client.get if path in ("cart/", "checkout/") else browser.client.post
    assert method(f"/shops/999/{path}", {"item": "1", "quantity": "1"}).status_code == 404


# --- the click that htmx sends ---


def test_htmx_gets_the_bar_alone(stall: Stall) -> None:
    guest = Browser()
    page = guest.open(menu_of(stall))
    page.forms = [form_of(page, stall.fish)]
    answer = guest.submit(page, ADD, htmx=True)
    # The bar, and what stands at the dish now.
    assert (answer.status, answer.text) == (200, "1 份 ¥56.00 另需配送费 ¥6.00 去购物车 去结算 − 1 +")
    assert f'<div id="control-{stall.fish}" hx-swap-oob="innerHTML">' in answer.html
    assert "<html" not in answer.html


def test_htmx_gets_a_refusal_where_the_bar_was(stall: Stall) -> None:
    guest = Browser()
    page = guest.open(menu_of(stall))
    page.forms = [form_of(page, stall.fish)]
    menu.services.stop_selling(item_ids=[stall.fish])
    answer = guest.submit(page, ADD, htmx=True)
    assert (answer.status, answer.text) == (422, "“酸菜鱼”已下架。 去购物车 已售罄")


def test_steps_on_the_menu_lead_back_to_the_dish(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = guest.open(menu_of(stall))
    form = next(form for form in page.forms if "/cart/lines/" in form.action)
    assert [button["value"] for button in form.buttons] == ["0", "2"]
    answer = guest.client.post(form.action, form.values | {"quantity": "2"})
    assert answer["Location"] == f"{menu_of(stall)}#item-{stall.fish}"
    assert "2 份 ¥112.00" in guest.open(menu_of(stall)).text


def test_what_was_taken_out_can_be_put_in_again(stall: Stall) -> None:
    mild, hot = make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "特辣": "2"}, least=1)
    guest = Browser()
    put(guest, stall, stall.fish, option_1=str(hot.pk))
    page = press(guest, guest.open(cart_of(stall)), 0)
    assert "已移除。" in page.text
    page = guest.submit(page, "/cart/restore/")
    assert "特辣 ¥58.00" in page.text
    assert mild.name not in page.text
    assert "已移除。" not in guest.open(cart_of(stall)).text


def test_a_whole_cart_can_be_put_in_again(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    put(guest, stall, stall.rice, quantity=2)
    page = guest.submit(guest.open(cart_of(stall)), "/cart/clear/")
    assert "购物车是空的" in page.text
    page = guest.submit(page, "/cart/restore/")
    assert "商品金额 ¥60.00" in page.text


@pytest.mark.parametrize("line", ["", "x", "1", "1.1000", "1.1;2", "9" * 17 + ".1", "１.1"])
def test_nonsense_is_not_put_in(stall: Stall, line: str) -> None:
    answer = Browser().client.post(f"{cart_of(stall)}restore/", {"line": [line]})
    assert answer.status_code == 403  # Without the page's token.
    guest = Browser()
    put(guest, stall, stall.fish)
    page = press(guest, guest.open(cart_of(stall)), 0)
    page = guest.submit(page, "/cart/restore/", {"line": [line]})
    assert "请检查数量和规格" in page.text
    assert "购物车是空的" in page.text


def test_what_is_gone_meanwhile_is_named_when_it_shall_be_put_in_again(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    page = press(guest, guest.open(cart_of(stall)), 0)
    menu.services.stop_selling(item_ids=[stall.fish])
    assert "“酸菜鱼”已下架。" in guest.submit(page, "/cart/restore/").text


def htmx(browser: Browser, path: str, target: str) -> Any:
    """Fetch a fragment as a click on the menu does."""
    return browser.client.get(path, headers={"HX-Request": "true", "HX-Target": target}).content.decode()


def test_over_the_menu_the_cart_is_a_sheet(stall: Stall) -> None:
    guest = Browser()
    put(guest, stall, stall.fish)
    html = htmx(guest, cart_of(stall), "sheet-body")
    assert "<html" not in html
    assert '<h2 id="sheet-title">购物车</h2>' in html
    assert 'hx-target="#sheet-body"' in html
    assert '<div id="cart-bar" hx-swap-oob="innerHTML">' in html


# --- a user, and the way from guest to user ---


def test_a_users_cart_is_the_one_of_the_api(stall: Stall, mei: Person) -> None:
    browser = Browser(mei.user)
    put(browser, stall, stall.fish, quantity=2)
    assert lines_of(mei, stall) == [(stall.fish, 2)]
    press(browser, browser.open(cart_of(stall)), 1)
    assert lines_of(mei, stall) == [(stall.fish, 1)]
    browser.submit(browser.open(cart_of(stall)), "/cart/clear/")
    assert lines_of(mei, stall) == []


def test_another_users_line_cannot_be_touched(stall: Stall, mei: Person, tao: Person) -> None:
    line = LineRequest(item_id=stall.fish, quantity=1)
    view = services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=line)
    services.add_to_cart(user_id=tao.id, shop_id=stall.shop_id, line=line)
    taos = Browser(tao.user)
    page = taos.open(cart_of(stall))
    token = page.form("/cart/clear/").values
    taos.client.post(f"/shops/{stall.shop_id}/cart/lines/{view.lines[0].id}/", token | {"quantity": "7"})
    assert lines_of(mei, stall) == [(stall.fish, 1)]


def test_a_guests_choice_is_added_to_the_users_at_login(stall: Stall, mei: Person) -> None:
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=LineRequest(item_id=stall.fish, quantity=1))
    browser = Browser()
    put(browser, stall, stall.fish)
    put(browser, stall, stall.rice, quantity=2)
    browser.log_in(mei.user)
    page = browser.open(cart_of(stall))
    assert lines_of(mei, stall) == [(stall.fish, 2), (stall.rice, 2)]
    assert "合计 ¥126.00" in page.text  # 112 and 4 of goods, four portions packed, delivery
    assert guest_cart.SESSION_KEY not in browser.client.session


def test_the_menu_after_login_shows_both(stall: Stall, mei: Person) -> None:
    browser = Browser()
    put(browser, stall, stall.fish)
    browser.log_in(mei.user)
    assert "1 份 ¥56.00" in browser.open(menu_of(stall)).text


def test_a_session_saved_late_adds_nothing_again(stall: Stall, mei: Person) -> None:
    browser = Browser()
    put(browser, stall, stall.fish)
    browser.log_in(mei.user)
    before = dict(browser.client.session.items())
    browser.open(cart_of(stall))
    session = browser.client.session
    session.update(before)
    session.save()
    browser.open(cart_of(stall))
    assert lines_of(mei, stall) == [(stall.fish, 1)]


def test_two_tabs_after_login_take_over_once(stall: Stall, mei: Person) -> None:
    browser = Browser()
    put(browser, stall, stall.fish)
    browser.log_in(mei.user)
    sessions = [browser.client.session, browser.client.session]

    def take_over(number: int) -> None:
        guest_cart.take_over(sessions[number], user_id=mei.id, shop_id=stall.shop_id)

    assert at_once(lambda: take_over(0), lambda: take_over(1)) == [None, None]
    assert lines_of(mei, stall) == [(stall.fish, 1)]


def test_what_does_not_fit_stays_with_the_guest_until_it_does(stall: Stall, mei: Person) -> None:
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=LineRequest(item_id=stall.fish, quantity=99))
    browser = Browser()
    put(browser, stall, stall.fish)
    put(browser, stall, stall.rice)
    browser.log_in(mei.user)
    page = browser.open(cart_of(stall))
    assert "登录前选的商品暂时放不进购物车" in page.text
    assert lines_of(mei, stall) == [(stall.fish, 99)]
    press(browser, page, 98)
    browser.open(cart_of(stall))
    assert lines_of(mei, stall) == [(stall.fish, 99), (stall.rice, 1)]


def test_with_the_shard_down_nothing_chosen_is_lost(stall: Stall, mei: Person) -> None:
    browser = Browser()
    put(browser, stall, stall.fish)
    browser.log_in(mei.user)
    with down(mei.shard):
        assert browser.open(cart_of(stall)).status == 503
    browser.open(cart_of(stall))
    assert lines_of(mei, stall) == [(stall.fish, 1)]


def test_with_the_shard_down_the_menu_can_still_be_read(stall: Stall, mei: Person) -> None:
    browser = Browser(mei.user)
    with down(mei.shard):
        page = browser.open(menu_of(stall))
    assert (page.status, page.links["去购物车"]) == (200, cart_of(stall))
    assert "酸菜鱼" in page.text


def test_a_guest_needs_no_shard(stall: Stall) -> None:
    guest = Browser()
    with down(shards()[0]), down(shards()[1]):
        put(guest, stall, stall.fish)
        assert "合计 ¥63.00" in guest.open(cart_of(stall)).text


def test_logging_out_leaves_no_cart_behind(stall: Stall, mei: Person) -> None:
    browser = Browser(mei.user)
    put(browser, stall, stall.fish)
    page = browser.submit(browser.open("/me/"), "/logout/")
    assert page.status == 200
    assert "购物车是空的" in browser.open(cart_of(stall)).text
    assert lines_of(mei, stall) == [(stall.fish, 1)]
