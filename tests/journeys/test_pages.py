"""From the menu to the paid order by the pages: without JavaScript, and in a real browser with it."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client

import menu.services
from accounts.models import User
from accounts.sms import MemorySender
from orders import services
from tests.factories import Person, Stall, audit, history, order, orders_of, settle, stock
from tests.support import chromium
from tests.support.browsing import Browser
from tests.support.server import Server

pytestmark = pytest.mark.data
PHONE = "13911119999"
JOURNEY_SECONDS = 50
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def test_a_stranger_orders_pays_and_is_served_without_javascript(
    stall: Stall, lan: Person, server: Server, phones: type[MemorySender]
) -> None:
    menu.services.set_stock(item_id=stall.fish, available=3)
    me = Browser()
    page = me.open("/")
    page.forms = [form for form in page.forms if form.values.get("item") == [str(stall.fish)]]
    page = me.submit(page, "/cart/add/", {"quantity": 2})
    page = me.follow(page, "去购物车")
    page = me.follow(page, "去结算")
    assert page.path.startswith("/login/")

    page = me.submit(page, "/login/", {"phone": PHONE, "code": ""})  # The code is still to come.
    me.client.post("/login/code/", page.form("/login/").values | {"phone": PHONE})
    page = me.submit(page, "/login/", {"phone": PHONE, "code": phones.sent[-1][1]})
    home = {"contact_name": "远", "phone": PHONE, "detail": "建国路 1 号", "latitude": "39.9", "longitude": "116.45"}
    page = me.submit(page, "/checkout/", {"add_address": "1"} | {f"new-{name}": home[name] for name in home})
    assert "地址已保存并选用。" in page.text

    page = me.submit(page, "/checkout/", {"note": "不要香菜"})
    number = orders_of(Person(User.objects.get(phone=PHONE)))[0]
    assert page.path == f"/orders/{number}/"
    page = me.submit(page, "/pay/", {"provider": "sandbox"})
    me.submit(page, page.path, {"outcome": "success"})
    settle()
    assert "已付款，等待商家接单。" in me.open(f"/orders/{number}/").text

    for act in (services.accept, services.deliver, services.complete):
        act(order_id=number, staff_id=lan.id)
    settle()
    page = me.follow(me.open("/orders/"), "川味小馆")
    assert "已送达，请慢用。" in page.text
    assert history(number) == ["placing", "pending_payment", "paid", "accepted", "delivering", "completed"]
    assert (order(number).note, stock(stall.fish)) == ("不要香菜", (1, 0, 2))
    assert audit() == []


class Journey(threading.Thread):
    """A real browser's way, in a thread of its own: its event loop and the ORM don't go together."""

    def __init__(self, url: str, session: str, *, script: bool) -> None:
        super().__init__(name="browser")
        self.url, self.session, self.script = url, session, script
        self.error: BaseException | None = None
        self.complaints: list[str] = []

    def run(self) -> None:
        try:
            with chromium.page(script=self.script, locale="en-US") as page:
                page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
                page.context.add_cookies([{"name": "sessionid", "value": self.session, "url": self.url}])
                self.go(page)
        except BaseException as error:
            self.error = error

    def go(self, page: Any) -> None:
        """Menu, cart, checkout, till, and the order page until it says that the shop knows."""
        page.goto(self.url)
        page.get_by_role("button", name="Add 酸菜鱼 to the cart").click()
        page.get_by_text("1 portion").wait_for()
        page.get_by_role("link", name="Check out").click()
        page.get_by_role("button", name="Place the order ¥63.00").click()
        page.get_by_role("button", name="Pay ¥63.00").click()
        page.get_by_role("button", name="Pay ¥63.00").click()
        page.get_by_text("Paid. Waiting for the shop to accept.").wait_for(timeout=30_000)
        self.look(page)
        if self.script:
            self.refuse_location(page)

    def look(self, page: Any) -> None:
        """No page is wider than the phone."""
        for path in ("/", "/cart/", "/orders/", "/me/", "/addresses/", "/addresses/new/", page.url):
            page.goto(urljoin(self.url, path))
            if self.script and page.evaluate(TOO_WIDE):
                self.complaints.append(f"{path} is too wide")

    def refuse_location(self, page: Any) -> None:
        """A browser that doesn't tell where it is says so beside the button."""
        page.goto(urljoin(self.url, "/addresses/new/"))
        page.locator("[data-locate]").click()
        page.locator("#locate-failed").get_by_text(re.compile(".+")).wait_for(timeout=15_000)


@pytest.mark.services("chromium")
@pytest.mark.parametrize("script", [True, False], ids=["javascript", "no-javascript"])
def test_a_real_browser_follows_the_order(stall: Stall, mei: Person, server: Server, *, script: bool) -> None:
    client = Client()
    client.force_login(mei.user)
    journey = Journey(server.url, client.cookies["sessionid"].value, script=script)
    journey.start()
    for _moment in range(JOURNEY_SECONDS * 10):
        settle()
        journey.join(0.1)
        if not journey.is_alive():
            break
    assert journey.error is None, journey.error
    assert journey.complaints == []
    assert [order(number).status for number in orders_of(mei)] == ["paid"]


@pytest.mark.services("chromium")
def test_the_button_counts_down_after_a_code_was_sent(server: Server, phones: type[MemorySender]) -> None:
    def go(page: Any) -> None:
        page.locator("[name=phone]").fill(PHONE)
        button = page.get_by_role("button", name="获取验证码")
        button.click()
        page.get_by_text(re.compile(r"获取验证码 \((60|5[0-9])\)")).wait_for()
        assert button.is_disabled()
        chromium.look_over(page)

    chromium.visit(urljoin(server.url, "/login/"), go)
    assert len(phones.sent) == 1
