"""The admin in a real browser, on a telephone in Chinese and on a desktop in English.

Nothing that the policies forbid, and no page shuts anybody out.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import pytest

from accounts.models import User
from menu.models import Item
from orders.desk.models import DeskOrder
from tests.factories import Person, Stall, order, paid, settle, stock
from tests.support.chromium import DESKTOP, PHONE, Visit, look_over
from tests.support.server import Server

pytestmark = [
    pytest.mark.once,
    pytest.mark.data,
    pytest.mark.services("chromium"),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]
PASSWORD = "four-treasures-8"  # pragma: allowlist secret
WORDS = {
    "zh-CN": {"save": "保存", "glance": "今日营业额", "wait": "待接单", "accept": "接单", "done": "已接单"},
    "en-US": {"save": "Save", "glance": "Turnover today", "wait": "Waiting", "accept": "Accept", "done": "Accepted"},
}


@pytest.mark.parametrize(
    ("size", "locale"), [(PHONE, "zh-CN"), (DESKTOP, "en-US")], ids=["phone in Chinese", "desktop in English"]
)
def test_a_shift_in_the_admin(
    size: dict[str, int], locale: str, server: Server, mei: Person, stall: Stall, lan: Person
) -> None:
    order_id = paid(mei, stall)
    settle()
    User.objects.create_superuser("boss", PASSWORD)
    words, wrong = WORDS[locale], list[str]()

    def go(page: Any) -> None:
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda got: wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None)

        def work_on(path: str) -> None:
            page.goto(urljoin(server.url, path), wait_until="load")
            look_over(page)

        page.fill("[name=username]", "boss")
        page.fill("[name=password]", PASSWORD)
        page.click("#login-form [type=submit]")
        page.wait_for_url("**/admin/")
        page.locator(".tiles").get_by_text(words["glance"]).wait_for()

        work_on("/admin/menu/item/")
        page.locator(f'a[href*="/item/{stall.fish}/change/"]').first.wait_for()
        page.locator(f'input.action-select[value="{stall.rice}"]').first.check()
        page.locator("select[name=action]").select_option("set_stock")
        page.fill("[name=portions]", "7")
        edge = page.locator("button[name=index]").evaluate("it => it.getBoundingClientRect().right")
        assert edge <= size["width"], "the button of the actions stands outside"
        page.locator("button[name=index]").click()
        page.locator("#changelist").get_by_text("7", exact=True).first.wait_for()
        work_on(f"/admin/menu/item/{stall.fish}/change/")
        page.fill("[name=price]", "57.50")
        page.get_by_role("button", name=words["save"], exact=True).click()
        page.wait_for_url("**/admin/menu/item/")

        work_on("/admin/desk/deskorder/")
        page.locator("#changelist").get_by_text("酸菜鱼 × 1").first.wait_for()
        work_on(f"/admin/desk/deskorder/{order_id}/change/")
        page.get_by_role("button", name=words["accept"], exact=True).click()
        page.locator(".panels").get_by_text(words["done"]).first.wait_for()

        for path in (
            "/admin/",
            f"/admin/orders/order/{order_id}/change/",
            "/admin/accounts/user/",
            f"/admin/accounts/user/{lan.id}/change/",
            f"/admin/accounts/user/{lan.id}/password/",
            "/admin/auth/group/add/",
            f"/admin/menu/item/{stall.fish}/delete/",
            f"/admin/menu/item/{stall.fish}/history/",
            "/admin/menu/item/?on_sale__exact=1&q=nothing",
            f"/admin/menu/shop/{stall.shop_id}/change/",
            "/admin/password_change/",
        ):
            work_on(path)

    there = Visit(f"{server.url}/admin/", go, size=size, locale=locale)
    there.start()
    there.finish(150)
    assert wrong == []
    assert str(Item.objects.get(pk=stall.fish).price) == "57.50"
    assert stock(stall.rice)[0] == 7
    assert (order(order_id).status, DeskOrder.objects.get(order_id=order_id).status) == ("accepted", "accepted")
