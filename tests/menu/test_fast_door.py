"""The menu's fast door: the bytes and headers of Django's own door, and never a menu that was taken back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

import menu.fast
import menu.services
from menu.models import Item
from menu.versions import menu_changed, prepared_menus
from tests import factories
from tests.factories import Stall
from tests.support.instances import Redis
from tests.support.processes import wait_until
from tests.support.server import Server
from waimai.infra import near_cache
from waimai.infra.fast_door import answers
from waimai.infra.near_cache import NearCache
from waimai.infra.ratelimit import Rate

pytestmark = pytest.mark.data
Get = Callable[..., requests.Response]


def fast_answers(status: int) -> float:
    """How many requests the fast door has answered so."""
    return float(answers.labels("menu", str(status))._value.get())


@pytest.fixture
def stall(db_all: object) -> Stall:
    """A shop."""
    return factories.stall()


@pytest.fixture
def get(server: Server, stall: Stall) -> Get:
    """GET the menu, which the near cache has by now."""

    def read(shop_id: int = stall.shop_id, **headers: str) -> requests.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with requests.Session() as session:
            session.headers.clear()
            return session.get(f"{server.url}/api/v1/shops/{shop_id}/menu/", headers=sent, timeout=20)

    etag = read().headers["ETag"]
    read(If_None_Match=etag)
    wait_until(lambda: bool(read()) and kept(stall.shop_id), seconds=10, what="the near cache hears")
    return read


def kept(shop_id: int) -> bool:
    """Whether the near cache has it."""
    return prepared_menus.get(shop_id) is not None


def told(answer: requests.Response) -> Any:
    """All that a client can see."""
    own = {"x-request-id", "date"}
    headers = sorted((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in own)
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize("asked", ["nothing", "the etag", "a weak etag", "several", "another", "*"])
def test_it_answers_like_djangos_door(get: Get, stall: Stall, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = menu.services.menu_document(stall.shop_id).etag
    wanted = {"the etag": etag, "a weak etag": f"W/{etag}", "several": f'"x", {etag}', "another": '"x"', "*": "*"}
    headers = {"If_None_Match": wanted[asked]} if asked in wanted else {}
    before = fast_answers(200) + fast_answers(304)
    quick = get(**headers)
    was_fast = fast_answers(200) + fast_answers(304) - before
    monkeypatch.setattr(prepared_menus, "get", lambda _: None)
    assert told(quick) == told(get(**headers))
    assert was_fast == (1 if asked in {"nothing", "the etag"} else 0)


def test_a_shop_that_is_not_there_is_djangos_to_refuse(get: Get) -> None:
    assert get(999_999_999).status_code == 404


def test_an_edit_shows_at_once(get: Get, stall: Stall) -> None:
    for price in ("57.00", "58.00", "59.00"):
        assert kept(stall.shop_id)
        Item.objects.filter(pk=stall.fish).update(price=price)
        menu_changed(stall.shop_id)
        assert f'"price":"{price}"' in get().text
        wait_until(lambda: bool(get()) and kept(stall.shop_id), seconds=5, what="it is kept again")


def test_the_entry_counts_its_readers(get: Get, settings: Any) -> None:
    menu.fast._ahead._hands.clear()
    settings.RATELIMIT_ENABLE = True
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"entry": Rate(0.001, 40)}
    statuses = [get().status_code for _ in range(45)]
    assert statuses == [200] * 40 + [429] * 5


# --- the near cache ---


def heard(cache: NearCache[str]) -> bool:
    """Whether it is open: what is put is got."""
    cache.put(1, "one", cache.ticket())
    return cache.get(1) == "one"


OTHER = """
import sys, time, django
django.setup()
from django.conf import settings
from waimai.infra.near_cache import NearCache
settings.WAIMAI_REDIS_URL = sys.argv[1]
cache = NearCache("test", most=10, seconds=60)
while cache.get(7) is None:
    cache.put(7, "seven", cache.ticket())
    time.sleep(0.01)
print("ready", flush=True)
while cache.get(7) is not None:
    time.sleep(0.0005)
print(time.time(), flush=True)
"""


@pytest.mark.services("redis")
@pytest.mark.once
def test_another_process_forgets_within_a_tenth_of_a_second(redis_server: Redis) -> None:
    with subprocess.Popen([sys.executable, "-c", OTHER, redis_server.url], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        began = time.time()
        NearCache[str]("test", most=10).take_back([7])
        assert float(other.stdout.readline()) - began < 0.1


@pytest.mark.services("redis")
@pytest.mark.once
def test_it_is_shut_while_redis_is_away(redis_server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    # A name of its own: other tests' caches listen on.
    cache: NearCache[str] = NearCache("away", most=10, seconds=60)
    wait_until(lambda: heard(cache), seconds=10, what="it hears")
    with caplog.at_level("WARNING", logger="waimai.infra.near_cache"):
        for _time in range(2):
            redis_server.kill()
            wait_until(lambda: cache.get(1) is None, seconds=near_cache.SILENCE_SECONDS + 1, what="it is shut")
            time.sleep(3 * near_cache.ASKED_EVERY_SECONDS)
            redis_server.start()
            wait_until(lambda: heard(cache), seconds=10, what="it hears again")
    # Told once a time, however long it lasts.
    assert [line.getMessage().partition(" is ")[0] for line in caplog.records].count("near cache waimai:near:away") == 2


@pytest.mark.services("redis")
@pytest.mark.once
def test_it_is_shut_while_redis_hangs(redis_server: Redis) -> None:
    cache: NearCache[str] = NearCache("test", most=10, seconds=60)
    wait_until(lambda: heard(cache), seconds=10, what="it hears")
    redis_server.hang()
    try:
        wait_until(lambda: cache.get(1) is None, seconds=near_cache.SILENCE_SECONDS + 1, what="it is shut")
    finally:
        redis_server.go_on()


@pytest.mark.once
def test_what_was_read_before_it_was_taken_back_is_not_kept() -> None:
    cache: NearCache[str] = NearCache("alone", most=2)
    wait_until(lambda: heard(cache), seconds=10, what="it hears")
    ticket = cache.ticket()
    cache.take_back([1])
    cache.put(1, "stale", ticket)
    assert cache.get(1) is None


@pytest.mark.once
def test_it_keeps_so_many_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: NearCache[str] = NearCache("few", most=2, seconds=0.2)
    wait_until(lambda: heard(cache), seconds=10, what="it hears")
    for key in (1, 2, 3):
        cache.put(key, str(key), cache.ticket())
    assert [cache.get(key) for key in (1, 2, 3)] == [None, "2", "3"]
    time.sleep(0.25)
    assert cache.get(3) is None
