"""What the customer sees of a proposal to amend an order, and answers with buttons that need no JavaScript."""

from __future__ import annotations

import json
import re

import pytest

from orders import services
from tests.factories import Person, Stall, accepted, audit, down, order, refunds_of, settle
from tests.orders.test_amending import answer, propose, states, swap, too_late
from tests.support.browsing import Browser, Page

pytestmark = pytest.mark.data


@pytest.fixture
def dinner(mei: Person, stall: Stall, lan: Person) -> int:
    """An accepted order: two fish and three rice, 129.00."""
    return accepted(mei, stall, lan, (stall.fish, 2), (stall.rice, 3))


@pytest.fixture
def browser(mei: Person) -> Browser:
    return Browser(mei.user)


def shown(browser: Browser, order_id: int) -> Page:
    return browser.open(f"/orders/{order_id}/")


def polled(page: Page) -> str:
    """Where the page asks for news."""
    found = re.search(r'hx-get="([^"]*)"', page.html)
    return found[1].replace("&amp;", "&") if found else ""


def test_a_proposal_is_shown_and_agreed_to(dinner: int, stall: Stall, lan: Person, browser: Browser) -> None:
    assert not shown(browser, dinner).has_form("/amendments/1/")
    propose(dinner, lan, replacement=stall.tofu, reason="鱼卖完了")
    page = shown(browser, dinner)
    until = services.open_proposal(dinner)
    assert until is not None
    assert "商家建议把“酸菜鱼” × 1 换成“麻婆豆腐” × 1。 退款 ¥38.00。 鱼卖完了" in page.text
    assert re.search(r"请在 \d\d:\d\d 前答复，否则按原订单制作。", page.text)
    assert [button["text"] for button in page.form("/amendments/1/").buttons] == ["同意", "不同意"]
    page = browser.submit(page, "/amendments/1/", {"accept": "yes"})
    assert page.path == f"/orders/{dinner}/"
    assert "已同意，商家会按新的内容制作" in page.text
    assert "“酸菜鱼” × 1 已换成“麻婆豆腐” × 1 鱼卖完了 −¥38.00" in page.text
    assert "原总额 ¥129.00 已退差价 −¥38.00 合计 ¥91.00" in page.text
    assert not page.has_form("/amendments/1/")
    settle()
    assert (len(refunds_of(dinner)), audit()) == (1, [])


def test_the_list_names_what_is_brought(dinner: int, stall: Stall, lan: Person, browser: Browser) -> None:
    propose(dinner, lan, quantity=2, replacement=stall.tofu)
    assert "酸菜鱼 × 2、米饭 × 3" in browser.open("/orders/").text
    browser.submit(shown(browser, dinner), "/amendments/1/", {"accept": "yes"})
    assert "米饭 × 3、麻婆豆腐 × 2 " in browser.open("/orders/").text


def test_a_proposal_to_drop_something_is_declined(dinner: int, lan: Person, browser: Browser) -> None:
    propose(dinner, lan, line=2, quantity=2, reason="")
    page = shown(browser, dinner)
    assert "商家建议去掉“米饭” × 2。 退款 ¥4.00。 请在" in page.text
    page = browser.submit(page, "/amendments/1/", {"accept": "no"})
    assert "已拒绝，商家会按原订单制作" in page.text
    assert "已退差价" not in page.text
    assert states(dinner) == ["declined"]


def test_what_was_dropped_and_what_costs_the_same_is_said(
    dinner: int, stall: Stall, lan: Person, browser: Browser
) -> None:
    swap(dinner, lan, line=2, quantity=1)
    propose(dinner, lan, line=2, quantity=1, replacement=stall.tofu)
    assert "价格不变。" in shown(browser, dinner).text
    answer(dinner, 2)
    text = shown(browser, dinner).text
    assert "已去掉“米饭” × 1 鱼卖完了 −¥2.00" in text
    assert "“米饭” × 1 已换成“麻婆豆腐” × 1 鱼卖完了 ¥0.00" in text


def test_a_poll_brings_the_proposal_and_its_end(dinner: int, lan: Person, browser: Browser) -> None:
    page = shown(browser, dinner)
    propose(dinner, lan)
    news = browser.open(polled(page))
    assert news.has_form("/amendments/1/")
    assert browser.open(polled(news)).status == 204
    too_late(dinner)
    settle()
    assert not browser.open(polled(news)).has_form("/amendments/1/")


def test_a_button_pressed_too_late_says_so(dinner: int, lan: Person, browser: Browser) -> None:
    propose(dinner, lan)
    page = shown(browser, dinner)
    services.deliver(order_id=dinner, staff_id=lan.id)
    page = browser.submit(page, "/amendments/1/", {"accept": "yes"})
    assert "这个换菜建议已经结束" in page.text
    assert (order(dinner).refunded_part, states(dinner)) == (0, ["expired"])


@pytest.mark.parametrize("nonsense", ["", "maybe", "1"])
def test_an_answer_of_nonsense_is_none(nonsense: str, dinner: int, lan: Person, browser: Browser) -> None:
    propose(dinner, lan)
    page = browser.submit(shown(browser, dinner), "/amendments/1/", {"accept": nonsense})
    assert "请选择同意或不同意" in page.text
    assert states(dinner) == ["proposed"]


def test_somebody_elses_proposal_is_not_found(
    dinner: int, tao: Person, stall: Stall, lan: Person, browser: Browser
) -> None:
    propose(dinner, lan)
    form = shown(browser, dinner).form("/amendments/1/")
    taos = Browser(tao.user)
    token = taos.open("/me/").form("/i18n/setlang/").values["csrfmiddlewaretoken"]
    for accept in ("yes", "maybe"):
        answered = taos.client.post(form.action, {"csrfmiddlewaretoken": token, "accept": accept})
        assert answered.status_code == 404
    assert states(dinner) == ["proposed"]


def test_a_button_pressed_after_the_session_ended_leads_back_to_the_order(
    dinner: int, lan: Person, browser: Browser
) -> None:
    propose(dinner, lan)
    page = shown(browser, dinner)
    del browser.client.cookies["sessionid"]
    answered = browser.submit(page, "/amendments/1/", {"accept": "yes"})
    assert answered.path == f"/login/?next=/orders/{dinner}/"


def test_the_page_speaks_english(dinner: int, mei: Person, stall: Stall, lan: Person) -> None:
    propose(dinner, lan, replacement=stall.tofu)
    page = shown(Browser(mei.user, language="en-US,en;q=0.8"), dinner)
    assert "instead of" in page.text
    assert [button["text"] for button in page.form("/amendments/1/").buttons] == ["Agree", "Decline"]


def test_with_the_shard_down_nothing_is_answered(dinner: int, mei: Person, lan: Person, browser: Browser) -> None:
    propose(dinner, lan)
    page = shown(browser, dinner)
    with down(mei.shard):
        assert browser.submit(page, "/amendments/1/", {"accept": "yes"}).status == 503
    assert states(dinner) == ["proposed"]


def test_a_refund_after_a_swap_names_what_is_still_coming(dinner: int, lan: Person, browser: Browser) -> None:
    swap(dinner, lan)
    services.withdraw(order_id=dinner, staff_id=lan.id, reason="打翻了")
    assert "¥73.00 正在退款。" in shown(browser, dinner).text
    settle()
    assert "¥129.00 已退款。" in shown(browser, dinner).text


def test_list_and_shared_link_count_what_is_left(dinner: int, stall: Stall, lan: Person, browser: Browser) -> None:
    swap(dinner, lan, replacement=stall.tofu)
    swap(dinner, lan, n=2, line=2, quantity=2)
    text = browser.open("/orders/").text
    assert "3 份 ¥87.00" in text
    assert services.shared_order(services.share_token(dinner))["portions"] == 3


def test_ones_own_data_have_it(dinner: int, mei: Person, lan: Person) -> None:
    swap(dinner, lan)
    (mine,) = json.loads("".join(services.my_data(user_id=mei.id)))["orders"]
    assert [(each["n"], each["state"], each["refund"]) for each in mine["amendments"]] == [(1, "accepted", "56.00")]
    assert [refund["amount"] for refund in mine["refunds"]] == ["56.00"]
    assert (mine["refunded_part"], mine["net_total"]) == ("56.00", "73.00")
