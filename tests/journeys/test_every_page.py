"""Every page of the customer's shuts nobody out (axe-core, WCAG 2.2 AA) and fits the screen: a phone's, a desktop's."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client

import orders.services
from menu.models import Item
from menu.services import LineRequest
from tests.factories import Person, Stall, accepted, completed, paid, placed, start_payment
from tests.menu.factories import make_group
from tests.support.chromium import DESKTOP, PHONE, look_over, visit
from tests.support.server import Server

pytestmark = [
    pytest.mark.once,
    pytest.mark.data,
    pytest.mark.services("chromium"),
    pytest.mark.slow,
    pytest.mark.timeout(120),
]


@pytest.fixture
def paths(stall: Stall, mei: Person, lan: Person) -> list[str]:
    """Where Mei can go, with something to see everywhere."""
    make_group(Item.objects.get(pk=stall.tofu), "辣度", {"微辣": "0", "特辣": "2"}, least=1, most=1)
    unpaid, till = placed(mei, stall, key="unpaid"), start_payment(placed(mei, stall, key="till"))
    waiting, cooking = paid(mei, stall, key="paid"), accepted(mei, stall, lan, key="accepted")
    done = completed(mei, stall, lan, key="done")
    asked = accepted(mei, stall, lan, (stall.fish, 2), key="asked")
    for accept, instead in ((True, stall.rice), (None, None)):
        orders.services.propose_amendment(
            order_id=asked, staff_id=lan.id, line=1, quantity=1, replacement=instead, reason="鱼卖完了"
        )
        if accept:
            orders.services.answer_amendment(order_id=asked, user_id=mei.id, n=1, accept=True)
    cancelled = paid(mei, stall, key="cancelled", note="不要香菜")
    orders.services.cancel(order_id=cancelled, user_id=mei.id, reason="点错了")
    orders.services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=LineRequest(stall.fish, 2))
    shop = f"/shops/{stall.shop_id}/"
    return [
        shop,
        f"{shop}?q=鱼",
        f"{shop}items/{stall.tofu}/",
        f"{shop}cart/",
        f"{shop}checkout/",
        "/orders/",
        *(f"/orders/{number}/" for number in (unpaid, waiting, cooking, asked, done, cancelled)),
        f"/orders/{unpaid}/cancel/",
        f"/payments/sandbox/{till}/",
        "/me/",
        "/me/password/",
        "/me/close/",
        "/addresses/",
        "/addresses/new/",
        f"/addresses/{mei.address_id}/",
        f"/addresses/{mei.address_id}/delete/",
        "/nowhere/",
    ]


@pytest.mark.parametrize(
    ("size", "locale"), [(PHONE, "zh-CN"), (DESKTOP, "en-US")], ids=["phone in Chinese", "desktop in English"]
)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(
    paths: list[str], mei: Person, server: Server, size: dict[str, int], locale: str, colours: str
) -> None:
    client, wrong = Client(), list[str]()
    client.force_login(mei.user)

    def go(page: Any) -> None:
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        for path in paths:
            page.goto(urljoin(server.url, path))
            try:
                look_over(page)
            except AssertionError as found:
                wrong.append(f"{path}: {found}")
        page.context.clear_cookies()
        for path in ("/login/", "/login/?way=password"):
            page.goto(urljoin(server.url, path))
            look_over(page)

    visit(server.url, go, size=size, locale=locale, session=client.cookies["sessionid"].value, may_complain=True)
    assert wrong == []


def test_what_shuts_somebody_out_is_found(stall: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        page.evaluate("document.querySelector('main').append(document.createElement('img'))")
        with pytest.raises(AssertionError, match="image-alt"):
            look_over(page)
        page.evaluate("document.querySelector('main img').remove()")
        page.evaluate("document.querySelector('main').style.width = '5000px'")
        with pytest.raises(AssertionError, match="too wide"):
            look_over(page)

    visit(server.url, go)
