"""The pages of orders: the list, an order through its states, and its buttons."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

import menu.services
import payments.services
from menu.models import Item, Shop
from orders import services, views
from orders.models import Order
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    accepted,
    capture,
    completed,
    delivering,
    down,
    history,
    notice,
    order,
    orders_of,
    overdue,
    paid,
    payments_of,
    place,
    placed,
    receive,
    refunds_of,
    settle,
    start_payment,
)
from tests.support.browsing import Browser, Page

pytestmark = pytest.mark.data


@pytest.fixture
def browser(mei: Person) -> Browser:
    """Mei's."""
    return Browser(mei.user)


def shown(browser: Browser, order_id: int) -> Page:
    return browser.open(f"/orders/{order_id}/")


def press(browser: Browser, order_id: int, what: str, **changes: Any) -> Page:
    """Press a button of the order's page."""
    return browser.submit(shown(browser, order_id), f"/orders/{order_id}/{what}/", changes)


def polled(page: Page) -> str:
    """The address that the page asks for news; empty when it doesn't."""
    found = re.search(r'hx-get="([^"]+)"', page.html)
    return unescape(found.group(1)) if found else ""


def payment_at(till: Page) -> int:
    """The payment that a till is open for."""
    return int(till.path.split("/")[-2])


# --- one order ---


def test_an_unpaid_order_shows_until_when_and_what_may_be_done(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall, note="少放盐")
    page = shown(browser, order_id)
    assert re.search(r"请在 \d\d:\d\d 前付款，超时订单自动取消。 1[45]:\d\d", page.text)
    assert "酸菜鱼 × 1 ¥56.00" in page.text
    assert "合计 ¥63.00" in page.text
    assert "备注 少放盐" in page.text
    assert page.has_form("/pay/")
    assert "取消订单" in page.links
    assert not page.has_form("/remind/")


def test_the_timeline_names_actors_and_reasons(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    services.reject(order_id=order_id, staff_id=lan.id, reason="厨房停电")
    text = shown(browser, order_id).text
    assert re.search(r"进度 待付款 \S+ \S+ · 顾客 待接单 \S+ \S+ · 支付 已取消 \S+ \S+ · 商家 厨房停电", text)


def test_each_state_says_what_happens_next(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    assert "已付款，等待商家接单。" in shown(browser, paid(mei, stall, key="1")).text
    assert "商家正在备餐，预计" in shown(browser, accepted(mei, stall, lan, key="2")).text
    assert "骑手正在派送，预计" in shown(browser, delivering(mei, stall, lan, key="3")).text
    assert "已送达，请慢用。" in shown(browser, completed(mei, stall, lan, key="4")).text


def test_an_order_past_its_time_shows_as_cancelled(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    page = shown(browser, order_id)
    assert "已取消 没有扣款。" in page.text
    assert "订单超时，自动取消" in page.text


def test_times_are_the_shops(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    at = order(order_id).placed_at
    assert f"下单时间 {at.astimezone():%Y-%m-%d %H:%M}" in shown(browser, order_id).text


def test_the_pickup_number_is_told_as_soon_as_there_is_one(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    waiting = f"/orders/{order_id}/number/"
    page = shown(browser, order_id)
    assert ("取餐号" in page.text, waiting in page.html, waiting in browser.open(waiting).html) == (False, True, True)
    settle()  # The desk hears of it.
    for page in (browser.open(waiting), shown(browser, order_id)):
        assert ("取餐号 #001" in page.text, waiting in page.html) == (True, False)
    services.cancel(order_id=order_id, user_id=mei.id)
    assert "取餐号" not in shown(browser, order_id).text


def test_nobody_waits_for_a_number_of_what_is_not_paid(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    assert "/number/" not in shown(browser, order_id).html
    assert Browser().client.get(f"/orders/{order_id}/number/")["HX-Refresh"] == "true"


@pytest.mark.parametrize("what", ["", "status/", "number/", "cancel/"])
def test_another_customers_order_is_not_found(stall: Stall, mei: Person, tao: Person, what: str) -> None:
    order_id = placed(mei, stall)
    page = Browser(tao.user).open(f"/orders/{order_id}/{what}")
    assert (page.status, "酸菜鱼" in page.text) == (404, False)


@pytest.mark.parametrize("what", ["pay", "cancel", "remind", "reorder"])
def test_nothing_can_be_done_to_another_customers_order(stall: Stall, mei: Person, tao: Person, what: str) -> None:
    order_id, own = placed(mei, stall), placed(tao, stall)
    taos = Browser(tao.user)
    form = shown(taos, own).form("/pay/")
    answer = taos.client.post(f"/orders/{order_id}/{what}/", form.values | {"provider": "sandbox"})
    assert answer.status_code == 404
    assert (order(order_id).status, payments_of(order_id)) == ("pending_payment", [])


@pytest.mark.parametrize("order_id", ["1", "9007199254740991", "99999999999999999999"])
def test_an_order_that_does_not_exist_is_not_found(browser: Browser, order_id: str) -> None:
    assert browser.open(f"/orders/{order_id}/").status == 404


def test_without_a_login_the_order_is_not_shown(stall: Stall, mei: Person) -> None:
    order_id = placed(mei, stall)
    assert Browser().open(f"/orders/{order_id}/").path == f"/login/?next=/orders/{order_id}/"


def test_a_button_pressed_after_the_session_ended_leads_back_to_the_order(
    stall: Stall, mei: Person, browser: Browser
) -> None:
    order_id = paid(mei, stall)
    page = shown(browser, order_id)
    del browser.client.cookies["sessionid"]
    answer = browser.submit(page, f"/orders/{order_id}/remind/")
    assert answer.path == f"/login/?next=/orders/{order_id}/"


def test_the_shop_can_be_called_above_all_once_it_has_accepted(
    stall: Stall, mei: Person, lan: Person, browser: Browser
) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(phone="010 8888 6666", address="望京街 1 号")
    waiting, cooking = shown(browser, paid(mei, stall, key="1")), shown(browser, accepted(mei, stall, lan, key="2"))
    for page in (waiting, cooking, browser.open(f"/shops/{stall.shop_id}/")):
        assert page.links["010 8888 6666"] == "tel:01088886666"
        assert "望京街 1 号" in page.html
    assert ("致电商家" in waiting.links, cooking.links["致电商家"]) == (False, "tel:01088886666")


def test_without_a_phone_there_is_nothing_to_call(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(phone="", address="")
    assert "tel:" not in shown(browser, accepted(mei, stall, lan)).html


def test_progress_is_shared_only_while_there_is_any(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    unpaid, waiting = placed(mei, stall, key="1"), paid(mei, stall, key="2")
    done = completed(mei, stall, lan, key="3")
    offered = ["分享进度" in shown(browser, order_id).links for order_id in (unpaid, waiting, done)]
    assert offered == [False, True, False]


def test_the_timeline_begins_where_the_customer_does(stall: Stall, mei: Person, browser: Browser) -> None:
    menu.services.set_stock(item_id=stall.fish, available=3)  # Portions are held first.
    order_id = paid(mei, stall)
    assert history(order_id)[0] == "placing"
    page = shown(browser, order_id)
    assert "提交中" not in page.text
    assert "提交中" not in browser.follow(page, "分享进度").text


def test_packing_that_costs_nothing_is_not_named(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    assert "打包费" in shown(browser, order_id).text
    Order.objects.by_id(order_id).update(packing_fee=0)
    assert "打包费" not in shown(browser, order_id).text


# --- following the state ---


def test_the_page_polls_while_something_can_still_happen(
    stall: Stall, mei: Person, lan: Person, browser: Browser
) -> None:
    page = shown(browser, paid(mei, stall, key="1"))
    assert polled(page).endswith("/status/?seen=paid-paid-2")
    assert re.search(r'<noscript>\s*<meta http-equiv="refresh" content="10">', page.html)
    ended = shown(browser, completed(mei, stall, lan, key="2"))
    assert polled(ended) == ""
    assert "refresh" not in ended.html


def test_a_poll_that_brings_nothing_new_is_empty(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(polled(shown(browser, placed(mei, stall))))
    assert (page.status, page.html) == (204, "")


def test_a_poll_brings_the_new_state(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    address = polled(shown(browser, order_id))
    services.accept(order_id=order_id, staff_id=lan.id)
    news = browser.open(address)
    assert news.status == 200
    assert "商家正在备餐" in news.text
    assert "<html" not in news.html
    assert polled(news).endswith("seen=accepted-paid-3")


def test_a_refund_is_followed_to_its_end(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    page = shown(browser, order_id)
    assert "¥63.00 正在退款。" in page.text
    settle()
    news = browser.open(polled(page))
    assert "¥63.00 已退款。" in news.text
    assert polled(news) == ""


def test_a_poll_after_the_session_ended_reloads_the_page(stall: Stall, mei: Person) -> None:
    answer = Browser().client.get(f"/orders/{placed(mei, stall)}/status/")
    assert (answer["HX-Refresh"], answer.content) == ("true", b"")


# --- paying ---


def test_paying_leads_to_the_till_and_back(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    till = press(browser, order_id, "pay", provider="sandbox")
    assert till.path.startswith("/pay/sandbox/")
    assert "¥63.00" in till.text
    page = browser.submit(till, till.path, {"outcome": "success"})
    assert page.path.startswith(f"/orders/{order_id}/?paid=")


def test_a_payment_on_its_way_is_said_until_it_arrives(stall: Stall, mei: Person, browser: Browser) -> None:
    till = press(browser, placed(mei, stall), "pay", provider="sandbox")
    page = browser.submit(till, till.path, {"outcome": "success"})
    assert "支付结果正在送往店铺" in page.text
    assert 'hx-trigger="news, every 1s"' in page.html
    assert browser.open(polled(page)).status == 204
    capture(payment_at(till))
    news = browser.open(polled(page))
    assert "已付款，等待商家接单。" in news.text
    assert "支付结果正在送往店铺" not in news.text
    assert 'hx-trigger="news, every 3s"' in news.html


def test_money_for_a_cancelled_order_is_followed_until_it_is_back(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    till = press(browser, order_id, "pay", provider="sandbox")
    services.cancel(order_id=order_id, user_id=mei.id)
    page = browser.submit(till, till.path, {"outcome": "success"})
    assert "如已扣款，会原路退回。" in page.text
    assert "没有扣款" not in page.text
    assert browser.open(polled(page)).status == 204
    capture(payment_at(till))
    settle()
    news = browser.open(polled(page))
    assert "¥63.00 已退款。" in news.text
    assert polled(news) == ""


def test_a_minute_after_the_till_nothing_is_waited_for(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    now = int(time.time())
    waiting = browser.open(f"/orders/{order_id}/?paid={now - 30}")
    late = browser.open(polled(waiting).replace(f"paid={now - 30}", f"paid={now - 61}"))
    assert "没有扣款。" in late.text
    assert polled(late) == ""


@pytest.mark.parametrize("at", ["", "x", "-1", "1.5", "9" * 12, "9" * 40, "１", '"><script>'])
def test_a_time_of_nonsense_is_no_visit_to_the_till(stall: Stall, mei: Person, browser: Browser, at: str) -> None:
    order_id = placed(mei, stall)
    page = browser.open(f"/orders/{order_id}/?{urlencode({'paid': at})}")
    assert page.status == 200
    assert "支付结果正在送往店铺" not in page.text


def test_a_failed_payment_says_that_another_can_be_made(stall: Stall, mei: Person, browser: Browser) -> None:
    till = press(browser, placed(mei, stall), "pay", provider="sandbox")
    page = browser.submit(till, till.path, {"outcome": "failure"})
    assert "支付失败，可以重新付款。" in page.text
    assert page.has_form("/pay/")


def test_paying_twice_from_one_page_opens_one_payment(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    page = shown(browser, order_id)
    first, second = (
        browser.submit(page, f"/orders/{order_id}/pay/", {"provider": "sandbox"}),
        browser.submit(page, f"/orders/{order_id}/pay/", {"provider": "sandbox"}),
    )
    assert first.path == second.path
    assert payments_of(order_id) == ["pending"]


def test_after_a_failed_payment_another_one_can_be_made(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    till = press(browser, order_id, "pay", provider="sandbox")
    receive(notice(payment_at(till), "failure"))
    again = press(browser, order_id, "pay", provider="sandbox")
    assert again.path != till.path
    capture(payment_at(again))
    assert payments_of(order_id) == ["failed", "captured"]
    assert "已付款，等待商家接单。" in shown(browser, order_id).text


@pytest.mark.parametrize(
    ("name", "value"), [("provider", "gold"), ("token", ""), ("token", "x y"), ("token", "漢" * 20)]
)
def test_a_payment_of_nonsense_is_refused(stall: Stall, mei: Person, browser: Browser, name: str, value: str) -> None:
    order_id = placed(mei, stall)
    page = press(browser, order_id, "pay", **{"provider": "sandbox", name: value})
    assert "请选择支付方式" in page.text
    assert payments_of(order_id) == []


def test_an_order_that_was_paid_meanwhile_is_not_paid_again(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    page = shown(browser, order_id)
    capture(start_payment(order_id))
    again = browser.submit(page, f"/orders/{order_id}/pay/", {"provider": "sandbox"})
    assert again.path == f"/orders/{order_id}/"
    assert "订单当前状态不允许此操作" in again.text
    assert payments_of(order_id) == ["captured"]


def test_an_expired_order_is_not_paid(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    page = shown(browser, order_id)
    overdue(order_id)
    again = browser.submit(page, f"/orders/{order_id}/pay/", {"provider": "sandbox"})
    assert "已取消" in again.text
    assert payments_of(order_id) == []


# --- cancelling, reminding, again ---


def test_cancelling_asks_first_and_keeps_the_reason(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    question = browser.follow(shown(browser, order_id), "取消订单")
    assert "取消后全额退款。" in question.text
    assert order(order_id).status == "paid"
    page = browser.submit(question, "/cancel/", {"reason": "点错了"})
    assert "点错了" in page.text
    assert order(order_id).status == "cancelled"
    settle()
    assert refunds_of(order_id) == [(Decimal("63.00"), "cancel", "succeeded")]


def test_cancelling_too_late_says_so(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    question = browser.open(f"/orders/{order_id}/cancel/")
    services.accept(order_id=order_id, staff_id=lan.id)
    page = browser.submit(question, "/cancel/", {"reason": "点错了"})
    assert "订单当前状态不允许此操作" in page.text
    assert order(order_id).status == "accepted"
    assert "现在不能取消" in browser.open(f"/orders/{order_id}/cancel/").text


def test_a_reason_is_not_a_novel(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    page = browser.submit(browser.open(f"/orders/{order_id}/cancel/"), "/cancel/", {"reason": "长" * 201})
    assert page.path == f"/orders/{order_id}/cancel/"
    assert order(order_id).status == "pending_payment"


def test_reminding_is_confirmed_and_not_repeated_at_once(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = paid(mei, stall)
    assert "已提醒商家" in press(browser, order_id, "remind").text
    assert "刚刚催过单了" in press(browser, order_id, "remind").text


def test_the_same_again_fills_the_cart(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = paid(mei, stall, (stall.fish, 2), (stall.rice, 1))
    page = press(browser, order_id, "reorder")
    assert page.path == f"/shops/{stall.shop_id}/cart/"
    assert "商品金额 ¥114.00" in page.text


def test_the_same_again_names_what_is_gone_or_costs_more(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = paid(mei, stall, (stall.fish, 1), (stall.tofu, 1))
    menu.services.stop_selling(item_ids=[stall.tofu])
    Item.objects.filter(pk=stall.fish).update(price=Decimal("60.00"))
    menu.services.menu_changed(stall.shop_id)
    text = press(browser, order_id, "reorder").text
    assert "“麻婆豆腐”没有加入：“麻婆豆腐”已下架。" in text
    assert "“酸菜鱼”现价 ¥60.00，上次 ¥56.00" in text


# --- the list ---


def test_the_list_is_newest_first_and_ones_own(stall: Stall, mei: Person, tao: Person, browser: Browser) -> None:
    first = placed(mei, stall, (stall.fish, 1), key="1")
    second = paid(mei, stall, (stall.tofu, 2), key="2")
    other = placed(tao, stall)
    page = browser.open("/orders/")
    found = [int(number) for number in re.findall(r'href="/orders/(\d+)/"', page.html)]
    assert found == [second, first]
    assert other not in found
    assert "麻婆豆腐 × 2" in page.text


def test_an_empty_list_leads_to_the_menu(browser: Browser) -> None:
    page = browser.open("/orders/")
    assert "还没有订单。" in page.text
    assert page.links["去点餐"] == "/"


def test_older_orders_are_on_the_next_page(
    stall: Stall, mei: Person, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "ORDERS_PER_PAGE", 2)
    for number in range(5):
        place(mei, stall, key=f"k-{number}")
    newest = list(reversed(orders_of(mei)))
    pages, page = [], browser.open("/orders/")
    while True:
        pages.append([int(number) for number in re.findall(r'href="/orders/(\d+)/"', page.html)])
        if "更早的订单" not in page.links:
            break
        page = browser.follow(page, "更早的订单")
    assert pages == [newest[:2], newest[2:4], newest[4:]]
    assert browser.follow(page, "最新订单").path == "/orders/"


@pytest.mark.parametrize("before", ["x", "-1", "1.5", "9" * 30, "０"])
def test_a_cursor_of_nonsense_starts_at_the_top(stall: Stall, mei: Person, browser: Browser, before: str) -> None:
    order_id = placed(mei, stall)
    assert f"/orders/{order_id}/" in browser.open(f"/orders/?before={before}").html


# --- language, and pages of errors ---


def test_the_language_follows_the_browser(stall: Stall) -> None:
    assert Browser().open("/orders/").lang == "zh-hans"
    assert Browser(language="en-US,en;q=0.8").open("/orders/").lang == "en"


def test_the_language_can_be_switched_and_stays(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    page = browser.submit(shown(browser, order_id), "/i18n/setlang/", {"language": "en"})
    assert (page.path, page.lang) == (f"/orders/{order_id}/", "en")
    assert "Waiting for payment" in page.text
    assert browser.open("/orders/").lang == "en"


def test_a_page_that_does_not_exist_is_a_page(browser: Browser) -> None:
    page = browser.open("/nothing/here/")
    assert page.status == 404
    assert page.links["回到菜单"] == "/"


def test_with_the_shard_down_the_page_says_come_back(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    with down(mei.shard):
        page = shown(browser, order_id)
    assert (page.status, page.response["Retry-After"]) == (503, "2")
    assert "服务暂时不可用" in page.text


def test_with_every_database_down_there_is_still_a_page(browser: Browser) -> None:
    with down("default"):
        page = browser.open("/orders/")
    assert page.status == 503
    assert "服务暂时不可用" in page.text


def test_no_page_needs_inline_scripts_or_styles(stall: Stall, mei: Person, browser: Browser) -> None:
    order_id = placed(mei, stall)
    for path in (f"/shops/{stall.shop_id}/", f"/orders/{order_id}/", "/orders/", "/login/", "/me/", "/addresses/new/"):
        page = browser.open(path)
        assert "default-src 'self'" in page.response["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.html), path


def test_several_providers_are_offered_by_their_names(
    stall: Stall, mei: Person, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(browser, placed(mei, stall))
    assert [button["text"] for button in page.form("/pay/").buttons] == [f"付款 ¥{FISH_TOTAL}"]
    labels = {"sandbox": "模拟支付", "other": "别的"}
    monkeypatch.setattr(payments.services, "provider_labels", lambda: labels)
    page = shown(browser, placed(mei, stall, key="second"))
    assert [button["text"] for button in page.form("/pay/").buttons] == [
        f"模拟支付 ¥{FISH_TOTAL}",
        f"别的 ¥{FISH_TOTAL}",
    ]
