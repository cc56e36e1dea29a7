"""An order's page follows its order: by a stream, or by asking where there is none, and by hand without JavaScript."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client

from orders import services
from tests.factories import Person, Stall, paid, relay
from tests.support.chromium import Visit
from tests.support.processes import wait_until
from tests.support.server import Server
from waimai.infra import live

pytestmark = [pytest.mark.once, pytest.mark.data, pytest.mark.slow]
WITHIN_SECONDS = 10
ASKED_FOR_SECONDS = 7


def session_of(who: Person) -> str:
    """A session of the pages."""
    client = Client()
    client.force_login(who.user)
    return client.cookies["sessionid"].value


def status_of(server: Server, path: str, session: str) -> int:
    """The status of a stream's answer."""
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WITHIN_SECONDS)
    connection.request("GET", path, headers={"Cookie": f"sessionid={session}"})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_stream_of_a_page_is_its_customers_alone(stall: Stall, mei: Person, tao: Person, server: Server) -> None:
    path = f"/orders/{paid(mei, stall)}/events/"
    mine, others = session_of(mei), session_of(tao)
    assert [status_of(server, path, key) for key in (mine, others, "", "nonsense")] == [200, 404, 401, 401]
    mei.user.set_password("a new one")
    mei.user.save()
    assert status_of(server, path, mine) == 401


class Watcher:
    """Somebody who has an order's page open; the requests that it makes meanwhile."""

    def __init__(self, server: Server, who: Person, order_id: int, *, script: bool = True) -> None:
        self.asked: list[str] = []
        self.opened, self.words = False, ""
        self.ends = False
        self.wants: Callable[[Any], None] | None = None
        url = urljoin(server.url, f"/orders/{order_id}/")
        self.visit = Visit(url, self._watch, session=session_of(who), script=script, may_complain=True)
        self.visit.start()
        wait_until(lambda: self.opened, seconds=40, what="the page is open")

    def _watch(self, page: Any) -> None:
        page.on("request", lambda request: self.asked.append(urlsplit(request.url).path.split("/")[-2]))
        page.goto(self.visit.url)
        while not self.ends:
            self.words = page.locator(".state").inner_text()
            self.opened = True
            if self.wants:
                self.wants(page)
                self.wants = None
            page.wait_for_timeout(50)

    def close(self) -> None:
        """Close the page."""
        self.ends = True
        self.visit.finish()


@pytest.mark.services("chromium")
def test_a_page_with_a_stream_shows_what_happens_and_asks_only_then(
    stall: Stall, mei: Person, lan: Person, server: Server
) -> None:
    order_id = paid(mei, stall)
    relay()  # While there is no pick-up number the page asks for it.
    watcher = Watcher(server, mei, order_id)
    wait_until(lambda: "events" in watcher.asked, seconds=WITHIN_SECONDS, what="the stream is asked for")
    time.sleep(2)
    watcher.asked.clear()
    time.sleep(ASKED_FOR_SECONDS)
    assert watcher.asked == []
    services.accept(order_id=order_id, staff_id=lan.id)
    began = time.monotonic()
    wait_until(lambda: "商家正在备餐" in watcher.words, seconds=WITHIN_SECONDS, what="the page shows it")
    assert time.monotonic() - began < 2
    assert watcher.asked == ["status"]
    watcher.close()


@pytest.mark.services("chromium")
def test_a_page_without_a_stream_asks(
    stall: Stall, mei: Person, lan: Person, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    order_id = paid(mei, stall)
    watcher = Watcher(server, mei, order_id)
    services.accept(order_id=order_id, staff_id=lan.id)
    wait_until(lambda: "商家正在备餐" in watcher.words, seconds=WITHIN_SECONDS, what="the page shows it")
    watcher.close()


@pytest.mark.services("chromium")
def test_without_javascript_it_is_reloaded_by_hand(stall: Stall, mei: Person, lan: Person, server: Server) -> None:
    order_id = paid(mei, stall)
    watcher = Watcher(server, mei, order_id, script=False)
    services.accept(order_id=order_id, staff_id=lan.id)
    watcher.wants = lambda page: page.reload()
    wait_until(lambda: "商家正在备餐" in watcher.words, seconds=WITHIN_SECONDS, what="the page shows it")
    watcher.close()
