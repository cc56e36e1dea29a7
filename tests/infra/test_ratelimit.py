"""Token buckets: the curve they let through, in Redis by everybody together and in a process when Redis is away."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from tests.support.instances import seconds_of
from waimai.infra import entry, ratelimit, short_redis
from waimai.infra.errors import RateLimited
from waimai.infra.ratelimit import OwnBuckets, Rate

pytestmark = pytest.mark.data
HUNDRED = Rate(100, 200)
OFFERED_PER_SECOND, OFFERED_SECONDS = 1000, 4.3
SECOND_US = 1_000_000
Take = Callable[[float], bool]


@pytest.fixture
def rates(settings: Settings) -> dict[str, Rate]:
    """The rates in force; change them at will."""
    settings.WAIMAI_RATES = dict(settings.WAIMAI_RATES)
    found: dict[str, Rate] = settings.WAIMAI_RATES
    return found


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers where Redis should be."""
    monkeypatch.setattr(short_redis, "_asked_again_at", time.monotonic() + 3600)


def in_redis(at_us: float, rate: Rate = HUNDRED, wanted: int = 1, key: str = "waimai:limit:test") -> tuple[bool, int]:
    given, wait, _left = ratelimit._GCRA([key], [repr(rate.interval_us), rate.burst, wanted, f"{at_us:.0f}"])
    return bool(given), int(wait)


def by_redis() -> Take:
    return lambda at_us: in_redis(at_us)[0]


def by_process() -> Take:
    mine = OwnBuckets()
    return lambda at_us: mine.take("a", HUNDRED, 1, at_us)[0]


@pytest.mark.parametrize("kind", [by_redis, by_process])
def test_a_thousand_a_second_for_four_seconds_are_let_through_smoothly(kind: Callable[[], Take]) -> None:
    take, start_us = kind(), 1_800_000_000 * SECOND_US
    count = int(OFFERED_PER_SECOND * OFFERED_SECONDS)
    moments = [start_us + n * SECOND_US / OFFERED_PER_SECOND for n in range(count)]
    given = [at for at in moments if take(at)]
    assert abs(len(given) - 630) <= 5
    # The burst at once, then ten in every tenth of a second: not a hundred at the edge of each second.
    tenths = Counter(int((at - start_us) // (SECOND_US / 10)) for at in given)
    assert (tenths[0], tenths[1]) == (100, 100)
    assert {tenths[n] for n in range(3, 43)} <= {9, 10, 11}


def test_redis_and_a_process_count_alike() -> None:
    mine, draw = OwnBuckets(), random.Random(7)
    now_us, rate = 1_800_000_000 * SECOND_US, Rate(3, 7)
    for _step in range(400):
        now_us += draw.choice((0, 1, 1000, 333_333, 333_334, SECOND_US, 5 * SECOND_US))
        wanted = draw.randint(1, 8)
        given, wait, _left = mine.take("a", rate, wanted, now_us)
        in_there, wait_there = in_redis(now_us, rate, wanted)
        assert (in_there, abs(wait_there - wait) < 2) == (given, True)


def test_by_the_clock_of_redis_many_threads_get_what_flows_in(rates: dict[str, Rate]) -> None:
    rates["entry"] = Rate(50, 100)
    began, over, given = time.monotonic(), threading.Event(), Counter[bool]()
    lock = threading.Lock()

    def ask() -> None:
        while not over.is_set():
            decision = ratelimit.take("entry")
            assert decision is not None
            with lock:
                given[decision.given] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert given[False] > 0
    assert 100 <= given[True] <= 101 + 50 * seconds


def test_a_bucket_that_is_full_again_is_forgotten(rates: dict[str, Rate]) -> None:
    rates["order"] = Rate(100, 2)
    ratelimit.spend("order", 7)
    (key,) = short_redis.client().keys("waimai:limit:order:*")
    assert 0 < short_redis.client().pttl(key) <= 12


def test_each_has_a_bucket_of_his_own(rates: dict[str, Rate]) -> None:
    rates["order"] = Rate(0.01, 1)
    ratelimit.spend("order", 1)
    ratelimit.spend("order", 2)
    with pytest.raises(RateLimited) as refusal:
        ratelimit.spend("order", 1)
    assert (refusal.value.limit, refusal.value.retry_after) == (1, 100)


def test_what_is_refused_is_not_owed(rates: dict[str, Rate]) -> None:
    rates["order"] = Rate(1, 5)
    with pytest.raises(RateLimited):
        ratelimit.spend("order", 1, tokens=6)
    ratelimit.spend("order", 1, tokens=5)


def test_nothing_is_limited_where_limits_are_off(rates: dict[str, Rate], settings: Settings) -> None:
    rates["order"] = Rate(0, 0)
    assert ratelimit.take("order", 1) is None
    rates["order"], settings.RATELIMIT_ENABLE = Rate(1, 1), False
    assert ratelimit.take("order", 1) is None


def test_a_process_takes_over_when_redis_is_away(rates: dict[str, Rate], away: None) -> None:
    rates["order"] = Rate(0.01, 3)
    for _time in range(3):
        ratelimit.spend("order", 1)
    with pytest.raises(RateLimited):
        ratelimit.spend("order", 1)
    ratelimit.spend("order", 2)


def test_a_server_that_hangs_is_waited_for_once_and_then_left_alone(
    rates: dict[str, Rate], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_redis, "LEFT_ALONE_SECONDS", 3600)
    rates["order"] = Rate(0.01, 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.WAIMAI_REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        settings.WAIMAI_CACHE_SECONDS = 0.1
        short_redis.ask_again()
        waited = seconds_of(lambda: ratelimit.spend("order", 1))
        ratelimit.spend("order", 1, tokens=2)
        with pytest.raises(RateLimited):
            ratelimit.spend("order", 1)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    # A hung server was asked once, by a client that has a tenth of a second; a library that tries again takes longer.
    assert waited < 2


def test_a_process_remembers_so_many_and_forgets_the_fullest() -> None:
    mine, rate = OwnBuckets(most=3), Rate(1, 10)
    for key, wanted in (("a", 9), ("b", 1), ("c", 5), ("d", 2)):
        assert mine.take(key, rate, wanted, 0.0)[0]
    assert sorted(mine._full_at) == ["a", "c", "d"]
    assert mine.take("e", rate, 1, 7.0 * SECOND_US)[0]
    assert sorted(mine._full_at) == ["a", "e"]


@pytest.mark.parametrize("text", ["", "fast", "-1/5", "5/0", "5", "nan/5", "inf/5", "1/x"])
def test_what_is_no_rate_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        Rate.read(text)


def test_rates_are_read() -> None:
    assert (Rate.read("0.5/3"), Rate.read("0").per_second) == (Rate(0.5, 3), 0)


# --- the entry ---


def test_the_entry_refuses_with_a_problem_and_says_when_to_come_again(rates: dict[str, Rate]) -> None:
    rates["entry"] = Rate(0.1, 2)
    answers = [Client().get("/api/v1/shops/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert (refused["Content-Type"], refused.json()["code"]) == ("application/problem+json", "rate_limited")
    assert (refused["Retry-After"], refused["RateLimit-Limit"]) == ("10", "2")
    assert (refused["RateLimit-Remaining"], refused["RateLimit-Reset"]) == ("0", "10")
    assert refused["X-Request-ID"]


def test_a_page_is_refused_with_a_page(rates: dict[str, Rate]) -> None:
    rates["entry"] = Rate(0.1, 1)
    assert Client().get("/").status_code != 429
    refused = Client().get("/")
    assert (refused.status_code, refused["Content-Type"].split(";")[0]) == (429, "text/html")


def test_the_entry_asks_nothing_of_a_database_to_refuse(
    rates: dict[str, Rate], django_assert_num_queries: Callable[[int], object]
) -> None:
    rates["entry"] = Rate(0.1, 1)
    ratelimit.spend("entry")
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        assert Client().get("/api/v1/orders/", headers={"Authorization": "Bearer x"}).status_code == 429


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/static/css/site.css", "/api/v1/payments/webhooks/sandbox/", "/media/x.webp"]
)
def test_what_must_always_come_in_does(rates: dict[str, Rate], path: str) -> None:
    rates["entry"] = rates["address"] = rates["staff"] = Rate(0.001, 1)
    for _time in range(3):
        entry.admit(path, "203.0.113.7")


def test_a_crowd_of_customers_shuts_no_staff_out(rates: dict[str, Rate]) -> None:
    rates["entry"], rates["staff"] = Rate(0.001, 1), Rate(0.001, 2)
    entry.admit("/", "203.0.113.7")
    with pytest.raises(RateLimited):
        entry.admit("/", "203.0.113.8")
    entry.admit("/admin/", "203.0.113.9")
    entry.admit("/api/v1/staff/orders/", "203.0.113.9")
    # Nor is the staff's side a way round: a stranger there has a bucket as well.
    with pytest.raises(RateLimited):
        entry.admit("/admin/", "203.0.113.9")


def test_one_address_leaves_room_for_others(rates: dict[str, Rate]) -> None:
    rates["entry"], rates["address"] = Rate(0.001, 4), Rate(0.001, 2)
    for _time in range(2):
        entry.admit("/", "203.0.113.7")
    for _time in range(5):
        with pytest.raises(RateLimited):
            entry.admit("/", "203.0.113.7")
    for other in ("203.0.113.8", "127.0.0.1"):
        entry.admit("/", other)


def test_the_middleware_goes_by_the_path_that_routes_go_by(rates: dict[str, Rate]) -> None:
    rates["entry"] = Rate(0.001, 1)
    ratelimit.spend("entry")
    request = RequestFactory().get("/%73tatic/x")
    answer = entry.EntryMiddleware(lambda _request: pytest.fail("let in"))(RequestFactory().get("/shops/1/"))
    assert answer.status_code == 429
    assert request.path_info == "/static/x"
