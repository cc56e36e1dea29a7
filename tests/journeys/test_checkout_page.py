"""The checkout in a real browser: an address added on the page, and one order however it is sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client

from accounts.models import Address
from menu.services import LineRequest
from orders import services
from tests.factories import Person, Stall, order, orders_of
from tests.orders.test_pages_checkout import change_shop
from tests.orders.test_pages_inline_address import AROUND
from tests.support.chromium import DESKTOP, PHONE, look_over, visit
from tests.support.server import Server

pytestmark = [pytest.mark.data, pytest.mark.services("chromium")]
SUBMIT = "form.columns button.primary"
SLOWLY_MS = 300
IN_SIGHT = """() => {
  const { top, bottom } = document.activeElement.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}"""


@pytest.fixture
def path(stall: Stall, mei: Person) -> str:
    """Mei's checkout; a fish is in her cart."""
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=LineRequest(stall.fish, 1))
    return f"/shops/{stall.shop_id}/checkout/"


def session_of(who: Person) -> str:
    client = Client()
    client.force_login(who.user)
    return client.cookies["sessionid"].value


@pytest.mark.parametrize(
    ("size", "locale"), [(PHONE, "zh-CN"), (DESKTOP, "en-US")], ids=["phone in Chinese", "desktop in English"]
)
def test_an_address_is_added_without_leaving(
    path: str, stall: Stall, mei: Person, server: Server, size: dict[str, int], locale: str
) -> None:
    change_shop(stall, delivery_area=AROUND)

    def go(page: Any) -> None:
        page.goto(urljoin(server.url, path))
        page.locator("[name=note]").fill("少辣")
        page.locator("#where summary").click()
        for name, value in {"contact_name": "梅", "phone": "139", "detail": "望京街 10 号"}.items():
            page.locator(f"[name=new-{name}]").fill(value)
        page.locator("[name=new-latitude]").fill("31")
        page.locator("[name=new-longitude]").fill("121")
        page.locator("#new-area .error").wait_for()
        page.locator("[name=new-latitude]").fill("39.9")
        page.locator("[name=new-longitude]").fill("116.45")
        page.locator("#new-area:not(:has(.error))").wait_for()
        look_over(page)
        page.locator("[name=add_address]").click()
        page.locator("#id_new-phone_error").wait_for()
        page.locator("[data-locate]").wait_for()  # Offered again in what came anew.
        look_over(page)
        page.locator("[name=new-phone]").fill("13800000009")
        page.locator("[name=add_address]").click()
        page.locator("#where .choice", has_text="望京街").locator(":checked").wait_for()
        look_over(page)
        page.locator(SUBMIT).click()
        page.wait_for_url("**/orders/*/")

    visit(server.url, go, size=size, locale=locale, session=session_of(mei), may_complain=True)
    (placed,) = map(order, orders_of(mei))
    assert (placed.address_text, placed.note) == ("望京街 10 号", "少辣")


def test_a_field_that_is_wrong_comes_into_sight(path: str, mei: Person, server: Server) -> None:
    def go(page: Any) -> None:
        page.goto(urljoin(server.url, path))
        page.locator("#where summary").click()
        for name, value in {"contact_name": "梅", "phone": "139", "detail": "望京街 10 号"}.items():
            page.locator(f"[name=new-{name}]").fill(value)
        page.locator("[name=add_address]").click()
        page.locator("#id_new-phone_error").wait_for()
        assert page.evaluate("document.activeElement.name") == "new-phone"
        page.wait_for_function(IN_SIGHT)  # It scrolls smoothly.

    visit(server.url, go, session=session_of(mei), may_complain=True)


def test_tapped_twice_gone_back_reloaded_it_is_one_order(path: str, mei: Person, server: Server) -> None:
    def go(page: Any) -> None:
        def slowly(route: Any) -> None:
            page.wait_for_timeout(SLOWLY_MS)
            route.continue_()

        page.goto(urljoin(server.url, path))
        page.route("**/checkout/", slowly)
        page.locator(SUBMIT).dblclick(no_wait_after=True)
        page.wait_for_url("**/orders/*/")
        page.go_back()
        page.reload()
        page.go_forward()

    visit(server.url, go, session=session_of(mei))
    assert len(orders_of(mei)) == 1


def test_two_tabs_make_one_order(path: str, mei: Person, server: Server) -> None:
    def go(page: Any) -> None:
        other = page.context.new_page()
        for tab in (page, other):
            tab.goto(urljoin(server.url, path))
        for tab in (page, other):
            tab.locator(SUBMIT).click()
            tab.wait_for_url("**/orders/*/")
        assert page.url == other.url

    visit(server.url, go, session=session_of(mei))
    assert len(orders_of(mei)) == 1


def test_with_the_network_gone_nothing_is_lost(path: str, mei: Person, server: Server) -> None:
    def go(page: Any) -> None:
        page.goto(urljoin(server.url, path))
        page.route("**/checkout/", lambda route: (route.fetch(), route.abort())[0])  # It arrives; the answer doesn't.
        page.locator(SUBMIT).click(no_wait_after=True)
        page.wait_for_timeout(SLOWLY_MS)
        page.unroute("**/checkout/")
        page.goto(urljoin(server.url, "/orders/"))
        assert page.locator(".card.order").count() == 1

    visit(server.url, go, session=session_of(mei), may_complain=True)
    assert len(orders_of(mei)) == 1
    assert Address.objects.filter(user_id=mei.id).count() == 1
