"""The menu in a real browser: found by eye, by search and by keyboard, filled into a cart, and quick."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import menu.services
from menu.models import Item, Shop
from tests.factories import Stall
from tests.menu.factories import make_category, make_dish, make_group
from tests.support.chromium import DESKTOP, PHONE, look_over, visit
from tests.support.server import Server

pytestmark = [pytest.mark.once, pytest.mark.data, pytest.mark.services("chromium")]
SCREENS = pytest.mark.parametrize(
    ("size", "locale"), [(PHONE, "zh-CN"), (DESKTOP, "en-US")], ids=["phone in Chinese", "desktop in English"]
)
LARGEST_PAINT_MS = 1000
LARGEST_SHIFT = 0.02
ONE_LINE_PX = 45
LARGEST_OWN_BYTES = 100_000
MEASURED = """() => new Promise((resolve) => {
  let paint = 0, shift = 0;
  new PerformanceObserver((list) => { for (const each of list.getEntries()) paint = each.startTime; })
    .observe({ type: "largest-contentful-paint", buffered: true });
  new PerformanceObserver((list) => { for (const each of list.getEntries()) shift += each.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve([paint, shift]), 500);
})"""
OWN_BYTES = """async () => {
  const own = [...document.querySelectorAll("script[src], link[rel=stylesheet]")].map((each) => each.src || each.href);
  const texts = await Promise.all(own.map(async (url) => (await fetch(url)).text()));
  return texts.reduce((sum, text) => sum + text.length, 0);
}"""


@pytest.fixture
def spicy(stall: Stall) -> Stall:
    """A stall whose fish comes in several ways, and that has a second, long heading."""
    fish = Item.objects.get(pk=stall.fish)
    make_group(fish, "辣度", {"微辣": "0", "特辣": "2"}, least=1, most=1)
    make_group(fish, "加料", {"豆皮": "3", "粉条": "4", "木耳": "5"}, least=0, most=2)
    shop = Shop.objects.get(pk=stall.shop_id)
    sides = make_category(shop, "小菜")
    for n in range(30):
        make_dish(shop, f"小菜 {n}", "9.00", category=sides)
    return stall


@SCREENS
def test_a_dish_with_options_is_chosen_over_the_menu(
    spicy: Stall, server: Server, size: dict[str, int], locale: str
) -> None:
    def go(page: Any) -> None:
        look_over(page)
        page.locator(f"#control-{spicy.fish} a").click()
        sheet = page.locator("#sheet")
        sheet.get_by_text("特辣").click()
        sheet.get_by_text("豆皮").click()
        sheet.get_by_text("木耳").click()
        assert sheet.get_by_role("checkbox", name="粉条").is_disabled()  # Two are enough.
        sheet.locator("[data-step='1']").click()
        # Twice 56 + 2 + 3 + 5.
        sheet.locator("[data-sum]").get_by_text("¥132.00").wait_for()
        look_over(page)
        sheet.locator(".order-item button.wide").click()
        page.locator("#cart-bar .price").get_by_text("¥132.00").wait_for()
        assert not sheet.is_visible()
        page.locator(f"#control-{spicy.fish} .badge").get_by_text("2").wait_for()

    visit(server.url, go, size=size, locale=locale)


@SCREENS
def test_steps_sheet_and_undo(stall: Stall, server: Server, size: dict[str, int], locale: str) -> None:
    def go(page: Any) -> None:
        bar, control = page.locator("#cart-bar"), page.locator(f"#control-{stall.rice}")
        control.locator("button").click()
        bar.locator("progress").wait_for()
        for portions in ("2", "3"):
            control.locator("button").last.click()
            control.locator("output").get_by_text(portions).wait_for()
        bar.locator("a").first.click()
        sheet = page.locator("#sheet")
        sheet.get_by_text("米饭").wait_for()
        look_over(page)
        sheet.locator(".plain.danger").click()
        sheet.locator(".undo button").click()
        sheet.get_by_text("¥6.00").first.wait_for()
        page.keyboard.press("Escape")
        control.locator("output").get_by_text("3").wait_for()
        control.locator("button").first.click()
        control.locator("output").get_by_text("2").wait_for()

    visit(server.url, go, size=size, locale=locale)


def slowly(page: Any, url: str, *, status: int = 0, milliseconds: int = 400) -> None:
    """A network that takes its time, or loses what is sent."""

    def late(route: Any) -> None:
        page.wait_for_timeout(milliseconds)
        if status:
            route.fulfill(status=status)
        else:
            route.continue_()

    page.route(url, late)


def test_each_of_many_quick_presses_counts(stall: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        slowly(page, "**/cart/**")
        rice, tofu = page.locator(f"#control-{stall.rice}"), page.locator(f"#control-{stall.tofu}")
        for _press in range(4):
            rice.locator("button").last.click()
        tofu.locator("button").last.click()
        # Seen at once, also before the first answer.
        assert rice.locator("output").inner_text() == "4"
        assert tofu.locator("output").inner_text() == "1"
        # 4 × 2 + 18.
        page.locator("#cart-bar .price").get_by_text("¥26.00").wait_for()
        assert page.evaluate("document.activeElement.id") == f"more-{stall.tofu}"
        for _press in range(2):
            rice.locator("[data-by='-1']").click()
        rice.locator("[data-by='1']").click()
        assert rice.locator("output").inner_text() == "3"
        page.locator("#cart-bar .price").get_by_text("¥24.00").wait_for()
        page.reload()
        assert rice.locator("output").inner_text() == "3"
        page.locator("#cart-bar a").first.click()
        row = page.locator("#sheet .line").filter(has_text="米饭")
        for _press in range(3):
            row.locator("[data-by='1']").click()
        assert row.locator("output").inner_text() == "6"
        page.locator("#cart-bar .price").get_by_text("¥30.00").wait_for(state="attached")

    visit(server.url, go)


def test_what_was_not_taken_is_not_shown(stall: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        rice = page.locator(f"#control-{stall.rice}")
        rice.locator("button").last.click()
        rice.locator("output").get_by_text("1").wait_for()
        page.locator("#cart-bar .price").wait_for()
        slowly(page, "**/cart/lines/**", status=503, milliseconds=2000)
        for _press in range(3):
            rice.locator("[data-by='1']").click()
        assert rice.locator("output").inner_text() == "4"
        page.locator("#request-failed").wait_for()
        assert rice.locator("output").inner_text() == "1"
        page.unroute("**/cart/lines/**")
        rice.locator("[data-by='1']").click()
        page.locator("#cart-bar .price").get_by_text("¥4.00").wait_for()

    visit(server.url, go, may_complain=True)


def test_presses_on_two_lines_of_the_sheet_reach_the_menu(stall: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        rice, tofu = page.locator(f"#control-{stall.rice}"), page.locator(f"#control-{stall.tofu}")
        for control in (rice, tofu):
            control.locator("button").last.click()
            control.locator("[data-by='-1']").wait_for()
        slowly(page, "**/cart/lines/**")
        page.locator("#cart-bar a").first.click()
        rows = [page.locator("#sheet .line").filter(has_text=name) for name in ("米饭", "麻婆豆腐")]
        for _press in range(2):
            rows[0].locator("[data-by='1']").click()
        rows[1].locator("[data-by='1']").click()
        # 3 × 2 + 2 × 18.
        page.locator("#cart-bar .price").get_by_text("¥42.00").wait_for(state="attached")
        page.keyboard.press("Escape")
        assert (rice.locator("output").inner_text(), tofu.locator("output").inner_text()) == ("3", "2")
        rice.locator("[data-by='1']").click()
        page.locator("#cart-bar .price").get_by_text("¥44.00").wait_for()

    visit(server.url, go)


def test_what_was_taken_before_a_failure_is_shown(stall: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        answers = [0, 503]

        def late(route: Any) -> None:
            page.wait_for_timeout(2000)
            if answers and (status := answers.pop(0)):
                route.fulfill(status=status)
            else:
                route.continue_()

        page.route("**/cart/add/", late)
        rice = page.locator(f"#control-{stall.rice}")
        for _press in range(3):
            rice.locator("button").last.click()
        assert rice.locator("output").inner_text() == "3"
        page.locator("#request-failed").wait_for()
        assert rice.locator("output").inner_text() == "1"
        page.reload()
        assert rice.locator("output").inner_text() == "1"

    visit(server.url, go, may_complain=True)


def test_what_is_still_to_be_sent_goes_before_the_checkout(stall: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        tofu = page.locator(f"#control-{stall.tofu}")
        for _portion in range(2):
            tofu.locator("button").last.click()
        page.locator("#cart-bar a.primary").wait_for()
        slowly(page, "**/cart/**")
        for _press in range(3):
            tofu.locator("[data-by='1']").click()
        page.locator("#cart-bar a.primary").click()
        page.wait_for_url(lambda url: "/menu" not in url and "login" in url)
        page.go_back()
        page.locator("#cart-bar .price").get_by_text("¥90.00").wait_for()

    visit(server.url, go)


def test_a_line_that_is_gone_is_taken_out_of_the_sheet(stall: Stall, server: Server) -> None:
    def off_sale() -> None:
        Item.objects.filter(pk=stall.rice).update(on_sale=False)
        menu.services.menu_changed(stall.shop_id)

    def go(page: Any) -> None:
        for dish in (stall.rice, stall.tofu):
            page.locator(f"#control-{dish} button").last.click()
            page.locator(f"#control-{dish} [data-by='-1']").wait_for()
        kitchen = threading.Thread(target=off_sale)
        kitchen.start()
        kitchen.join()
        here = page.url
        page.locator("#cart-bar a").first.click()
        page.locator("#sheet .line.gone button").click()
        page.locator("#sheet .line.gone").wait_for(state="detached")
        assert (page.url, page.locator("#sheet").is_visible()) == (here, True)

    visit(server.url, go)


def test_the_same_press_twice_is_one_dish(spicy: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        slowly(page, "**/cart/add/")
        page.locator(f"#control-{spicy.fish} a").click()
        page.locator("#sheet").get_by_text("特辣").click()
        page.locator("#sheet .order-item button.wide").dblclick()
        page.locator("#cart-bar .price").get_by_text("¥58.00").wait_for()
        page.wait_for_timeout(600)
        assert "¥58.00" in page.locator("#cart-bar").inner_text()

    visit(server.url, go)


def test_the_search_needs_no_round_trip(spicy: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.fill("#search", "小菜 29")
        assert page.locator(".item:visible h3").all_inner_texts() == ["小菜 29"]
        assert page.locator(".categories a:visible").all_inner_texts() == ["小菜"]
        page.fill("#search", "pizza")
        page.locator("#nothing-found").wait_for()
        page.keyboard.press("Enter")
        page.fill("#search", "")
        assert page.locator(".item:visible").count() == 33
        assert [url for url in asked if not url.endswith((".svg", ".png"))] == []

    visit(server.url, go)


def test_a_search_in_the_address_goes_on_as_one_types(spicy: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        page.goto(f"{page.url}?q=小菜 29")
        shown = page.locator(".item:visible h3")
        assert shown.all_inner_texts() == ["小菜 29"]
        page.fill("#search", "小菜 3")
        assert shown.all_inner_texts() == ["小菜 3"]
        page.fill("#search", "")
        assert (shown.count(), page.locator(".categories a:visible").count()) == (33, 2)

    visit(server.url, go)


def test_without_javascript_the_search_button_keeps_to_one_line(spicy: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        assert page.locator(".search button").bounding_box()["height"] <= ONE_LINE_PX

    visit(server.url, go, script=False)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_rail_follows_the_scroll(spicy: Stall, server: Server, size: dict[str, int]) -> None:
    def go(page: Any) -> None:
        current = page.locator(".categories [aria-current]")
        page.mouse.wheel(0, 300)
        current.get_by_text("热菜").wait_for()
        page.mouse.wheel(0, 3000)
        current.get_by_text("小菜").wait_for()
        assert current.count() == 1

    visit(server.url, go, size=size)


def test_the_keyboard_alone_fills_a_cart(spicy: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        page.locator(f"#item-{spicy.fish} .dish").focus()
        page.keyboard.press("Enter")
        # Before htmx has seen the form, Enter would send it the way it goes without JavaScript.
        while not page.evaluate("Boolean(document.querySelector('#sheet .order-item')?.['htmx-internal-data'])"):
            page.wait_for_timeout(20)
        page.locator("#sheet .order-item button.wide").focus()
        page.keyboard.press("Enter")
        page.locator("#cart-bar .price").get_by_text("¥56.00").wait_for()
        # Where it came from is where it goes on.
        assert page.evaluate("document.activeElement.closest('.item')?.id") == f"item-{spicy.fish}"

    visit(server.url, go)


def test_the_menu_is_there_within_a_second_and_stands_still(spicy: Stall, server: Server) -> None:
    def go(page: Any) -> None:
        page.reload()
        paint, shift = page.evaluate(MEASURED)
        assert paint < LARGEST_PAINT_MS
        assert shift < LARGEST_SHIFT
        assert 10_000 < page.evaluate(OWN_BYTES) < LARGEST_OWN_BYTES

    visit(server.url, go)
