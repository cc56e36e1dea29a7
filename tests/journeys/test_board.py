"""The board in a real browser: it rings until somebody accepts, shows what was missed, is the same for everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest

import menu.services
from orders import services
from orders.desk import services as desk
from tests.factories import Person, Stall, accepted, audit, delivering, order, paid, relay, settle, works_at
from tests.journeys.test_live_page import session_of
from tests.support.chromium import DESKTOP, PHONE, Visit, look_over, visit
from tests.support.processes import wait_until
from tests.support.server import Server

pytestmark = [pytest.mark.once, pytest.mark.data, pytest.mark.slow, pytest.mark.services("chromium")]

NO_STORAGE = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden') }})"
FOCUS = "() => document.activeElement.outerHTML.slice(0, 200)"
HEARD = "() => document.body.dataset.reminded"


# Longer than buttons rest after things have moved.
SEEN_MS = 800


class Screen:
    """Somebody's board, open in a browser; `do` runs something on its page."""

    def __init__(self, server: Server, who: Person, path: str = "/board/", **browser: Any) -> None:
        self._wants: list[Callable[[Any], Any]] = []
        self._got: list[Any] = []
        self._ends = False
        url = urljoin(server.url, path)
        self.visit = Visit(url, self._show, session=session_of(who), may_complain=True, size=DESKTOP, **browser)
        self.visit.start()

    def _show(self, page: Any) -> None:
        while not self._ends:
            while self._wants:
                self._got.append(self._wants.pop(0)(page))
            page.wait_for_timeout(50)

    def do(self, body: Callable[[Any], Any]) -> Any:
        """What `body(page)` gives."""
        before = len(self._got)
        self._wants.append(body)
        wait_until(lambda: len(self._got) > before or self.visit.error, seconds=40, what="the browser has done it")
        assert self.visit.error is None, self.visit.error
        return self._got[-1]

    def until(self, what: str, body: Callable[[Any], Any], *, seconds: float = 15) -> None:
        """Wait until `body(page)` is true."""
        try:
            wait_until(lambda: self.do(body), seconds=seconds, what=what)
        except AssertionError as late:
            raise AssertionError(f"{late}; on the screen: {self.do(seen)}") from None

    def press(self, selector: str) -> None:
        """Press the first of these, as a person does who has seen it."""
        self.do(lambda page: page.wait_for_timeout(SEEN_MS))
        self.do(lambda page: page.locator(selector).first.click())

    def close(self) -> None:
        """Close it."""
        self._ends = True
        self.visit.finish()


def seen(page: Any) -> str:
    return f"{page.url}\n{page.locator('body').inner_text()}\nfocus: {page.evaluate(FOCUS)}"


def rings(page: Any) -> bool:
    return bool(page.evaluate("() => document.body.dataset.ringing") == "new")


def cards(status: str) -> Callable[[Any], int]:
    return lambda page: int(page.locator(f"#column-{status} [data-order]").count())


def test_two_browsers_ring_until_one_accepts(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    one, two = Screen(server, lan), Screen(server, works_at(stall.shop_id, "front_desk", "fei"))
    try:
        one.do(lambda page: page.locator("#sound").click())
        assert one.do(lambda page: page.locator("#sound").get_attribute("aria-pressed")) == "true"
        assert not one.do(rings)
        order_id = paid(mei, stall)
        relay()
        for screen in (one, two):
            screen.until("it rings", rings)
        one.press("[data-key=a]")
        wait_until(lambda: order(order_id).status == "accepted", seconds=10, what="it is accepted")
        relay()
        for screen in (one, two):
            screen.until("it is silent", lambda page: not rings(page))
            screen.until("the card has moved", lambda page: cards("accepted")(page) == 1)
    finally:
        one.close()
        two.close()
    settle()
    assert audit() == []


def test_what_happened_while_the_network_was_gone_is_shown(
    stall: Stall, mei: Person, tao: Person, lan: Person, server: Server
) -> None:
    reminded, gone = paid(mei, stall, key="1"), paid(tao, stall, key="2")
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("both are there", lambda page: cards("paid")(page) == 2)
        screen.do(lambda page: page.context.set_offline(True))
        services.remind(order_id=reminded, user_id=mei.id)
        services.cancel(order_id=gone, user_id=tao.id, reason="点错了")
        relay()
        screen.until("it says that it is cut off", lambda page: page.locator("#connection").is_visible(), seconds=20)
        screen.do(lambda page: page.context.set_offline(False))
        screen.until("the cancellation is told", lambda page: page.locator("#cancelled").is_visible(), seconds=20)
        assert "点错了" in screen.do(lambda page: page.locator("#cancelled").inner_text())
        screen.until(
            "the reminder is heard", lambda page: page.evaluate("() => document.body.dataset.reminded") == str(reminded)
        )
        screen.do(lambda page: page.locator("#cancelled button").click())
        screen.do(lambda page: page.reload())
        screen.until("it is back", lambda page: cards("paid")(page) == 1)
        assert not screen.do(lambda page: page.locator("#cancelled").is_visible())
    finally:
        screen.close()


def test_without_a_stream_it_asks(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    screen = Screen(server, lan)
    try:
        screen.do(lambda page: page.route("**/board/events/", lambda route: route.abort()))
        screen.do(lambda page: page.reload())
        paid(mei, stall)
        relay()
        screen.until("the card came by asking", lambda page: cards("paid")(page) == 1)
    finally:
        screen.close()


def test_the_keys_do_what_they_say(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    order_id = paid(mei, stall)
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it is there", lambda page: cards("paid")(page) == 1)
        screen.do(lambda page: page.keyboard.press("?"))
        assert screen.do(lambda page: page.locator("#keys").is_visible())
        screen.do(lambda page: page.keyboard.press("Escape"))
        screen.do(lambda page: page.keyboard.press("j"))
        screen.do(lambda page: page.keyboard.press("a"))
        screen.until("accepted", lambda page: cards("accepted")(page) == 1)
        screen.do(lambda page: page.keyboard.press("d"))
        screen.until("on its way", lambda page: cards("delivering")(page) == 1)
        screen.do(lambda page: page.keyboard.press("c"))
        screen.until("done", lambda page: page.locator("[data-order]").count() == 0)
    finally:
        screen.close()
    assert order(order_id).status == "completed"


LOOK_AGAIN = "() => document.dispatchEvent(new Event('visibilitychange'))"


def held(screen: Screen, url: str, method: str) -> list[Any]:
    """Routes of the calls that get no answer until somebody gives one."""
    routes: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.method == method and not routes:
            routes.append(route)
        else:
            route.continue_()

    screen.do(lambda page: page.route(url, hold))
    return routes


def test_a_look_from_before_does_not_undo_what_was_pressed(
    stall: Stall, mei: Person, lan: Person, server: Server
) -> None:
    paid(mei, stall)
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it is there", lambda page: cards("paid")(page) == 1)
        screen.do(lambda page: page.wait_for_timeout(1000))
        looks = held(screen, "**/board/", "GET")
        screen.do(lambda page: page.evaluate(LOOK_AGAIN))
        screen.until("it looks", lambda page: looks)
        before = screen.do(lambda page: looks[0].fetch())
        screen.do(lambda page: page.keyboard.press("a"))
        screen.until("accepted", lambda page: cards("accepted")(page) == 1)
        screen.do(lambda page: looks[0].fulfill(response=before))
        for _ in range(5):
            screen.do(lambda page: page.wait_for_timeout(50))
            assert screen.do(cards("accepted")) == 1
    finally:
        screen.close()


def test_a_look_meanwhile_does_not_lose_the_answer(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    order_id = paid(mei, stall)
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it is there", lambda page: cards("paid")(page) == 1)
        screen.do(lambda page: page.wait_for_timeout(1000))
        presses = held(screen, "**/accept/", "POST")
        screen.do(lambda page: page.keyboard.press("a"))
        screen.until("it is pressed", lambda page: presses)
        # Somebody else is faster, and the news of it comes before the answer.
        desk.accept(order_id=order_id, staff_id=lan.id)
        relay()
        screen.do(lambda page: page.wait_for_timeout(2500))
        screen.do(lambda page: presses[0].continue_())
        screen.until("who was faster is told", lambda page: "没有执行" in page.locator("#notices").inner_text())
        screen.until("it is accepted", lambda page: cards("accepted")(page) == 1)
    finally:
        screen.close()


def test_nobodys_words_are_swept_away(stall: Stall, mei: Person, tao: Person, lan: Person, server: Server) -> None:
    first = paid(mei, stall, key="1")
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it is there", lambda page: cards("paid")(page) == 1)
        screen.press("summary")
        screen.do(lambda page: page.locator("[name=own_reason]").fill("今天没有鱼"))
        paid(tao, stall, key="2")
        relay()
        screen.do(lambda page: page.wait_for_timeout(2500))
        assert screen.do(lambda page: page.locator("[name=own_reason]").first.input_value()) == "今天没有鱼"
        screen.press("details[open] form:last-of-type .button")
        screen.until("only the other is left", lambda page: cards("paid")(page) == 1)
    finally:
        screen.close()
    assert services.last_change(first).reason == "今天没有鱼"


def test_a_refusal_stays_to_be_read(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    accepted(mei, stall, lan)
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it is there", lambda page: cards("accepted")(page) == 1)
        screen.press("[data-key=s]")
        screen.do(lambda page: page.locator("[name=quantity]").fill("5"))
        screen.do(lambda page: page.locator("details[open] .button").click())
        screen.until("it is refused", lambda page: page.locator("#notices .message").is_visible())
        screen.do(lambda page: page.wait_for_timeout(2000))
        assert screen.do(lambda page: page.locator("#notices .message").count()) == 1
    finally:
        screen.close()


def twice_at_the_same_place(selector: str) -> Callable[[Any], None]:
    def press(page: Any) -> None:
        box = page.locator(selector).first.bounding_box()
        for _press in range(2):
            page.mouse.click(box["x"] + 10, box["y"] + 10)
            page.wait_for_timeout(350)

    return press


def test_a_double_tap_accepts_one_order(stall: Stall, mei: Person, tao: Person, lan: Person, server: Server) -> None:
    paid(mei, stall, key="1")
    paid(tao, stall, key="2")
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("both are there", lambda page: cards("paid")(page) == 2)
        screen.do(lambda page: page.wait_for_timeout(SEEN_MS))
        screen.do(twice_at_the_same_place("[data-key=a]"))
        screen.do(lambda page: page.wait_for_timeout(SEEN_MS))
        assert (screen.do(cards("accepted")), screen.do(cards("paid"))) == (1, 1)
        # Whoever means the next one presses then.
        screen.press("[data-key=a]")
        screen.until("both are accepted", lambda page: cards("accepted")(page) == 2)
    finally:
        screen.close()


def test_a_double_tap_closes_the_shop_and_leaves_it_closed(stall: Stall, lan: Person, server: Server) -> None:
    screen = Screen(server, lan, "/board/dishes/")
    try:
        screen.do(lambda page: page.wait_for_timeout(SEEN_MS))
        screen.do(twice_at_the_same_place("button[name=open]"))
        screen.until("it is closed", lambda page: page.locator("button[name=open][value='1']").count() == 1)
    finally:
        screen.close()
    assert not menu.services.get_shop(stall.shop_id).is_open


def test_that_the_customer_declined_is_heard_and_seen(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    order_id = accepted(mei, stall, lan, (stall.fish, 1), (stall.rice, 1))
    services.propose_amendment(order_id=order_id, staff_id=lan.id, line=1, quantity=1, replacement=None, reason="")
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it waits", lambda page: page.get_by_text("等顾客答复").is_visible())
        services.answer_amendment(order_id=order_id, user_id=mei.id, n=1, accept=False)
        relay()
        screen.until("it is told", lambda page: page.get_by_text("顾客不同意更换酸菜鱼").is_visible())
        assert screen.do(lambda page: page.evaluate(HEARD)) == str(order_id)
        assert screen.do(lambda page: page.locator("[data-key=s]").count()) == 1
    finally:
        screen.close()


def test_a_browser_that_may_keep_nothing_has_a_board_too(
    stall: Stall, mei: Person, tao: Person, lan: Person, server: Server
) -> None:
    paid(mei, stall, key="1")
    gone = paid(tao, stall, key="2")
    services.cancel(order_id=gone, user_id=tao.id, reason="点错了")
    relay()
    screen = Screen(server, lan)
    try:
        screen.do(lambda page: page.add_init_script(NO_STORAGE))
        screen.do(lambda page: page.reload())
        screen.until("the cancellation is told", lambda page: page.locator("#cancelled").is_visible())
        screen.do(lambda page: page.locator("#cancelled button").click())
        screen.do(lambda page: page.keyboard.press("a"))
        screen.until("the keys work", lambda page: cards("accepted")(page) == 1)
        assert not screen.do(lambda page: page.locator("#cancelled").is_visible())
    finally:
        screen.close()


def test_what_was_just_read_is_not_told_again(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    services.cancel(order_id=paid(mei, stall), user_id=mei.id, reason="点错了")
    relay()
    screen = Screen(server, lan)
    try:
        screen.until("it is told", lambda page: page.locator("#cancelled").is_visible())
        screen.do(lambda page: page.evaluate("() => { popup.close(); hear(live()); }"))
        screen.do(lambda page: page.wait_for_timeout(200))
        assert not screen.do(lambda page: page.locator("#cancelled").is_visible())
    finally:
        screen.close()


def test_an_answer_that_never_comes_does_not_stop_the_screen(
    stall: Stall, mei: Person, lan: Person, server: Server
) -> None:
    screen = Screen(server, lan)
    try:
        screen.do(lambda page: page.route("**/board/", lambda route: None))
        order_id = paid(mei, stall)
        relay()
        screen.until("it says so", lambda page: page.locator("#connection").is_visible(), seconds=25)
        screen.do(lambda page: page.unroute("**/board/"))
        screen.until("it has asked again", lambda page: cards("paid")(page) == 1, seconds=25)
        screen.until("all is well", lambda page: not page.locator("#connection").is_visible())
    finally:
        screen.close()
    assert order(order_id).status == "paid"


def test_a_field_that_somebody_left_does_not_stop_the_screen(
    stall: Stall, mei: Person, tao: Person, lan: Person, server: Server
) -> None:
    paid(mei, stall, key="1")
    relay()
    screen = Screen(server, lan)
    try:
        screen.do(lambda page: page.clock.install())
        screen.do(lambda page: page.reload())
        screen.press("summary")
        screen.do(lambda page: page.locator("[name=own_reason]").fill("只打了一半"))
        paid(tao, stall, key="2")
        relay()
        screen.do(lambda page: page.wait_for_timeout(2500))
        assert screen.do(cards("paid")) == 1
        screen.do(lambda page: page.clock.fast_forward(61_000))
        screen.until("the other order is there", lambda page: cards("paid")(page) == 2)
    finally:
        screen.close()


@pytest.mark.parametrize(("size", "locale"), [(PHONE, "zh-CN"), (DESKTOP, "en-US")], ids=["phone", "desktop"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_screen_can_be_used_by_everybody(
    stall: Stall,
    mei: Person,
    tao: Person,
    lan: Person,
    server: Server,
    size: dict[str, int],
    locale: str,
    colours: str,
) -> None:
    paid(mei, stall, key="1", note="不要香菜")
    accepted(tao, stall, lan, key="2")
    away = delivering(mei, stall, lan, key="3")
    services.remind(order_id=away, user_id=mei.id)
    desk.sell_out(item_id=stall.rice, staff_id=lan.id, hours=1)
    settle()

    def go(page: Any) -> None:
        page.emulate_media(color_scheme=colours)
        for path in (
            "/board/",
            "/board/kitchen/",
            "/board/courier/",
            "/board/today/",
            "/board/dishes/",
            "/board/?big=1",
        ):
            page.goto(urljoin(server.url, path))
            page.locator("#live").wait_for()
            look_over(page)

    visit(urljoin(server.url, "/board/"), go, session=session_of(lan), size=size, locale=locale)
