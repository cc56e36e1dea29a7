"""The tabs of a customer's list of orders."""

from __future__ import annotations

import pytest

from orders import services, views
from tests.factories import Person, Stall, accepted, completed, order, overdue, paid, placed
from tests.support.browsing import Browser, Page

pytestmark = pytest.mark.data


@pytest.fixture
def browser(mei: Person) -> Browser:
    """Mei's."""
    return Browser(mei.user)


def listed(page: Page, *orders: int) -> set[int]:
    return {number for number in orders if f'href="/orders/{number}/"' in page.html}


def test_each_tab_shows_its_orders(stall: Stall, mei: Person, lan: Person, browser: Browser) -> None:
    unpaid, waiting, cooking = (
        placed(mei, stall, key="1"),
        paid(mei, stall, key="2"),
        accepted(mei, stall, lan, key="3"),
    )
    done, gone = completed(mei, stall, lan, key="4"), placed(mei, stall, key="5")
    services.cancel(order_id=gone, user_id=mei.id, reason="")
    every = (unpaid, waiting, cooking, done, gone)
    for tab, expected in {
        "": set(every),
        "unpaid": {unpaid},
        "open": {waiting, cooking},
        "completed": {done},
        "cancelled": {gone},
        "nonsense": set(every),
    }.items():
        page = browser.open(f"/orders/?show={tab}")
        assert listed(page, *every) == expected, tab


def test_what_is_past_its_time_is_under_cancelled(stall: Stall, mei: Person, browser: Browser) -> None:
    late = placed(mei, stall)
    overdue(late)
    assert listed(browser.open("/orders/?show=unpaid"), late) == set()
    assert listed(browser.open("/orders/?show=cancelled"), late) == {late}
    assert order(late).status == "cancelled"


def test_an_empty_tab_says_so(stall: Stall, mei: Person, browser: Browser) -> None:
    placed(mei, stall)
    assert "没有这样的订单。" in browser.open("/orders/?show=completed").text


def test_turning_the_page_keeps_the_tab(
    stall: Stall, mei: Person, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "ORDERS_PER_PAGE", 2)
    unpaid = [placed(mei, stall, key=str(n)) for n in range(3)]
    other = paid(mei, stall, key="paid")
    first = browser.open("/orders/?show=unpaid")
    assert listed(first, *unpaid, other) == set(unpaid[1:])
    second = browser.follow(first, "更早的订单")
    assert listed(second, *unpaid, other) == {unpaid[0]}
    assert listed(browser.follow(second, "最新订单"), *unpaid, other) == set(unpaid[1:])
