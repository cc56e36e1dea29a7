"""The menu's second level in Redis: loaded once for everybody, never a version that isn't the committed one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.db import transaction
from django.utils import timezone

import menu.services
from menu import catalogue
from menu.errors import NoSuchShop
from menu.models import Item, Shop
from menu.versions import menu_changed, missing_shops
from tests import factories
from tests.factories import Stall, at_once
from tests.menu.factories import make_shop
from tests.support.instances import Redis
from tests.support.processes import wait_until
from tests.support.server import WebProcess
from waimai.infra import shared_cache, short_redis
from waimai.infra.sharding import DEFAULT
from waimai.infra.shared_cache import SharedCache

pytestmark = pytest.mark.data
Start = Callable[..., WebProcess]
AT_ONCE_SECONDS = 0.1


@pytest.fixture
def stall(db_all: object) -> Stall:
    """A shop."""
    return factories.stall()


def as_another_process() -> None:
    """Forget what this process has at hand."""
    catalogue._menus.clear()
    catalogue._documents.clear()


def came_from(source: str, name: str = "menu") -> float:
    """How many values came from there so far."""
    return float(shared_cache._reads.labels(name, source)._value.get())


def fish_of(stall: Stall) -> Any:
    """The price of the fish by the menu."""
    return menu.services.get_menu(stall.shop_id).items[stall.fish].price


def reprice(stall: Stall, price: str) -> None:
    """Let the fish cost something else."""
    Item.objects.filter(pk=stall.fish).update(price=price)
    menu_changed(stall.shop_id)


def test_what_one_process_loaded_the_next_gets_with_one_query(stall: Stall, django_assert_num_queries: Any) -> None:
    loaded = menu.services.get_menu(stall.shop_id)
    as_another_process()
    with django_assert_num_queries(1):
        assert menu.services.get_menu(stall.shop_id) == loaded


def test_fifty_at_once_load_it_once(stall: Stall) -> None:
    as_another_process()
    reprice(stall, "57.00")
    before = came_from("loaded")
    found = at_once(*[lambda: menu.services.get_menu(stall.shop_id)] * 50)
    assert all(each == found[0] for each in found)
    assert came_from("loaded") - before == 1


def test_a_change_that_is_not_committed_is_nobody_elses(stall: Stall) -> None:
    menu.services.get_menu(stall.shop_id)
    with transaction.atomic(using=DEFAULT):
        reprice(stall, "1.00")
        assert fish_of(stall) == 1  # Whoever makes the change sees it.
        transaction.set_rollback(True, using=DEFAULT)
    reprice(stall, "57.00")  # Under the very version that was taken back.
    assert fish_of(stall) == 57
    as_another_process()
    assert fish_of(stall) == 57


def test_garbage_in_redis_is_loaded_over(stall: Stall) -> None:
    menu.services.get_menu(stall.shop_id)
    version = Shop.objects.get(pk=stall.shop_id).menu_version
    short_redis.client().set(catalogue._shared._keys(stall.shop_id, version)[0], b"\x00garbage")
    for _again in range(2):
        as_another_process()
        assert fish_of(stall) == 56


def test_without_redis_the_database_is_asked(stall: Stall, redis_server: Redis) -> None:
    redis_server.kill()
    as_another_process()
    before = came_from("away")
    assert fish_of(stall) == 56
    assert came_from("away") - before == 1


def test_fifty_at_once_load_it_once_without_redis_too(stall: Stall, redis_server: Redis) -> None:
    redis_server.kill()
    as_another_process()
    before = came_from("away")
    found = at_once(*[lambda: menu.services.get_menu(stall.shop_id)] * 50)
    assert all(each == found[0] for each in found)
    assert came_from("away") - before == 1


def test_an_address_is_judged_by_the_menu_at_hand(stall: Stall, django_assert_num_queries: Any) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(
        delivery_area={"type": "Polygon", "coordinates": [[[116, 39], [117, 39], [117, 40], [116, 39]]]}
    )
    menu_changed(stall.shop_id)
    menu.services.get_menu(stall.shop_id)
    lines, now = [menu.services.LineRequest(stall.fish, 1)], timezone.now()
    with django_assert_num_queries(1):  # The version.
        quote = menu.services.quote(shop_id=stall.shop_id, lines=lines)
        with pytest.raises(menu.services.OutOfDeliveryArea):
            menu.services.check_orderable(quote, at=now, latitude=30.0, longitude=120.0)


def test_the_page_asks_for_no_dish(stall: Stall, client: Any, django_assert_num_queries: Any) -> None:
    client.get(f"/shops/{stall.shop_id}/")
    with django_assert_num_queries(2):  # The version for the menu, and for the empty cart's prices.
        assert "酸菜鱼" in client.get(f"/shops/{stall.shop_id}/").content.decode()


# --- numbers that no shop has ---


def test_an_unknown_shop_is_asked_for_once(db_all: object, django_assert_num_queries: Any) -> None:
    def unknown() -> None:
        with pytest.raises(NoSuchShop):
            menu.services.menu_document(4711)

    def kept() -> bool:
        unknown()
        return missing_shops.get(4711) is not None

    wait_until(kept, seconds=10, what="it hears")
    with django_assert_num_queries(0):
        unknown()


def test_a_new_shop_is_there_at_once(db_all: object) -> None:
    next_id = make_shop("first").pk + 1

    def kept() -> bool:
        with pytest.raises(NoSuchShop):
            menu.services.menu_document(next_id)
        return missing_shops.get(next_id) is not None

    wait_until(kept, seconds=10, what="it hears")
    assert make_shop("second").pk == next_id
    assert menu.services.menu_document(next_id).data == {"categories": []}


# --- the cache itself ---


def cache_of(seconds: float = 60.0, kind: type = str) -> SharedCache[Any]:
    """One more process's view of a cache."""
    return SharedCache("test", kind, seconds=seconds)


def never() -> str:
    raise AssertionError("loaded")


@pytest.mark.once
def test_one_process_loads_and_the_other_waits(db_all: object) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        may_end.wait(5)
        return "made"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache_of().get, 1, 1, slow)
        begun.wait(5)
        second = pool.submit(cache_of().get, 1, 1, never)
        time.sleep(0.1)
        assert not second.done()
        may_end.set()
        assert (first.result(5), second.result(5)) == ("made", "made")


@pytest.mark.once
def test_who_waits_for_a_dead_loader_loads(db_all: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_cache, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(ZeroDivisionError):
        cache_of().get(2, 1, lambda: str(1 / 0))
    began = time.monotonic()
    assert cache_of().get(2, 1, lambda: "made") == "made"
    assert time.monotonic() - began < 1
    assert cache_of().get(2, 1, never) == "made"


@pytest.mark.once
def test_versions_and_kinds_share_nothing(db_all: object) -> None:
    assert cache_of().get(3, 1, lambda: "one") == "one"
    assert cache_of().get(3, 2, lambda: "two") == "two"
    assert cache_of(kind=int).get(3, 1, lambda: 3) == 3
    release = SharedCache("test", str, seconds=60, edition=lambda: "other pictures")
    assert release.get(3, 1, lambda: "new") == "new"
    assert cache_of().get(3, 1, never) == "one"


@pytest.mark.once
def test_copies_made_together_do_not_end_together(db_all: object) -> None:
    cache = cache_of(seconds=100)
    for key in range(50):
        cache.get(key, 9, lambda: "x")
    lives = [short_redis.client().pttl(cache._keys(key, 9)[0]) for key in range(50)]
    assert all(79_000 < each <= 120_000 for each in lives)
    assert max(lives) - min(lives) > 10_000


# --- two processes ---


@pytest.mark.slow
@pytest.mark.services("redis")
@pytest.mark.timeout(120)
def test_an_edit_shows_in_another_process_at_once(web_processes: Start, stall: Stall, redis_server: Redis) -> None:
    web = web_processes(WAIMAI_REDIS_URL=redis_server.url)
    menu_url, page_url = f"{web.url}/api/v1/shops/{stall.shop_id}/menu/", f"{web.url}/shops/{stall.shop_id}/"

    def seen(price: str) -> bool:
        return all(price in requests.get(url, timeout=20).text for url in (menu_url, page_url))

    def shows(price: str) -> None:
        for _warm in range(3):
            seen(price)
        reprice(stall, price)
        edited = time.monotonic()
        while not seen(price):
            assert time.monotonic() - edited < AT_ONCE_SECONDS

    time.sleep(1.5)  # The near cache of the other process hears by now.
    shows("57.00")
    redis_server.kill()
    short_redis.ask_again()
    shows("58.00")
    redis_server.start()
    short_redis.ask_again()
    shows("59.00")
    time.sleep(1.5)
    shows("60.00")
