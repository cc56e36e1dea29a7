"""The fast door answers byte for byte what Django's own door answers: good requests, hostile ones, refusals."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.db import OperationalError

import accounts.services
import menu.services
from accounts.models import LoginSession, User
from orders import fast
from tests import factories
from tests.factories import Person, Stall, wish
from tests.support.processes import wait_until
from tests.support.server import Server
from waimai.infra import gate, group_commit, sharding
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.fast_door import answers
from waimai.infra.http import RequestIdFilter
from waimai.infra.ratelimit import Rate

pytestmark = pytest.mark.data

Ask = Callable[..., requests.Response]
# What differs between two orders: numbers and moments.
DIFFERENT = re.compile(r'"id":\d{10,}|"\d{4}-\d\d-\d\dT[^"]+"')
PLAIN = {"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "test"}


def fast_answers() -> float:
    """How many requests the fast door has answered."""
    return sum(
        sample.value for metric in answers.collect() for sample in metric.samples if sample.name.endswith("_total")
    )


@pytest.fixture
def token(mei: Person) -> str:
    """Mei's."""
    return accounts.services.issue_tokens(mei.user).access


@pytest.fixture
def ask(server: Server, token: str, mei: Person, stall: Stall) -> Ask:
    """POST a body to orders/, after the door has heard Django answer once."""
    keys = iter(range(10_000))

    def post(body: Any, **headers: str | None) -> requests.Response:
        sent: dict[str, str | None] = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"k-{next(keys)}"}
        sent |= PLAIN | {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with requests.Session() as session:
            session.headers.clear()
            wanted = {name: value for name, value in sent.items() if value is not None}
            return session.post(f"{server.url}/api/v1/orders/", data=data, headers=wanted, timeout=30)

    for language in (None, "en"):
        assert post(wish(mei, stall), Accept_Language=language).status_code == 201
    return post


@pytest.fixture
def ask_both(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[requests.Response, requests.Response]]:
    """The same request through the fast door and, with that shut, through Django's."""

    def both(body: Any, **headers: str | None) -> tuple[requests.Response, requests.Response]:
        quick = ask(body, **headers)
        with monkeypatch.context() as patch:
            patch.setattr(fast, "_prepare", lambda *_: None)
            slow = ask(body, **headers)
        return quick, slow

    return both


def same(quick: requests.Response, slow: requests.Response) -> bool:
    """Whether the two can't be told apart."""

    def told(answer: requests.Response) -> Any:
        own = {"x-request-id", "date", "content-length"}
        headers = sorted((k.lower(), v) for k, v in answer.headers.items() if k.lower() not in own)
        return answer.status_code, headers, DIFFERENT.sub("…", answer.text)

    assert told(quick) == told(slow)
    assert ("X-Request-ID" in quick.headers, int(quick.headers["Content-Length"])) == (True, len(quick.content))
    return True


def test_a_plain_order_is_placed_by_the_fast_door(ask_both: Callable[..., Any], mei: Person, stall: Stall) -> None:
    before = fast_answers()
    quick, slow = ask_both(wish(mei, stall))
    assert (quick.status_code, fast_answers() - before) == (201, 1)
    assert same(quick, slow)
    assert len(factories.orders_of(mei)) == 4
    assert factories.audit() == []


@pytest.mark.parametrize("language", [None, "en", "zh-hans,en;q=0.5"])
def test_so_is_one_of_limited_dishes_in_any_language(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, language: str | None
) -> None:
    menu.services.set_stock(item_id=stall.tofu, available=50)
    body = wish(mei, stall, (stall.fish, 1), (stall.tofu, 2), note="  少辣 \u2028<b> ", tableware=0, shown_total=None)
    assert same(*ask_both(body, Accept_Language=language))


@pytest.mark.parametrize(
    "change",
    [
        {"shop": 999_999_999},
        {"address": 999_999_999},
        {"shown_total": "0.01"},
        {"lines": []},
        {"lines": [{"item": 999_999_999, "quantity": 1}]},
        {"lines": None},
    ],
    ids=["shop", "address", "total", "empty", "dish", "cart"],
)
@pytest.mark.parametrize("language", [None, "en"])
def test_refusals_of_the_service_are_told_alike(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, change: dict[str, Any], language: str | None
) -> None:
    before = fast_answers()
    quick, slow = ask_both(wish(mei, stall) | change, Accept_Language=language)
    assert fast_answers() - before == 1
    assert same(quick, slow)


def test_sold_out_is_told_alike(ask_both: Callable[..., Any], mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.tofu, available=1)
    quick, slow = ask_both(wish(mei, stall, (stall.fish, 1), (stall.tofu, 2)))
    assert quick.status_code == 409
    assert same(quick, slow)


HOSTILE: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"[" * 5000,
    b'{"shop": NaN}',
    b"\xff\xfe",
    b'{"note": "\\ud800"}',
    {"quantity": 0},
    {"quantity": -1},
    {"quantity": 1.0},
    {"quantity": "1"},
    {"quantity": True},
    {"quantity": 10**30},
    {"shop": "1"},
    {"shop": 2**53},
    {"address": None},
    {"note": 7},
    {"note": None},
    {"note": "x" * 201},
    {"note": " " + "x" * 200 + " "},
    {"note": "a\x00b"},
    {"tableware": 100},
    {"tableware": 1.5},
    {"deliver_at": "yesterday"},
    {"deliver_at": "2020-01-01T00:00:00Z"},
    {"shown_total": 64},
    {"shown_total": "64"},
    {"shown_total": "1e2"},
    {"shown_total": "-1.00"},
    {"shown_total": "١.00"},
    {"shown_total": "99999999999.00"},
    {"shown_total": []},
    {"lines": "fish"},
    {"lines": [7]},
    {"lines": [{}] * 51},
    {"options": None},
    {"options": ["1"]},
    {"options": [1] * 51},
    {"user_id": 1, "status": "paid", "total": "0.01"},
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: str(change)[:24])
def test_hostile_bodies_are_answered_alike(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, change: Any
) -> None:
    body: Any = change
    if isinstance(change, dict):
        line = {"item": stall.fish, "quantity": 1} | {k: v for k, v in change.items() if k in {"quantity", "options"}}
        body = wish(mei, stall) | {"lines": [line]} | {k: v for k, v in change.items() if k not in line}
    assert same(*ask_both(body))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": None},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Basic bWVpOm1laQ=="},
        {"Authorization": "bearer x"},
        {"Idempotency_Key": None},
        {"Idempotency_Key": "with space"},
        {"Idempotency_Key": "k" * 65},
        {"Content_Type": None},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Accept": "text/html"},
        {"Accept": "application/xml"},
        {"Cookie": "django_language=en"},
        {"X_Request_ID": "sane-1"},
        {"X_Forwarded_For": "203.0.113.7, nonsense"},
        {"X_HTTP_Method_Override": "GET"},
    ],
    ids=str,
)
def test_odd_headers_are_answered_alike(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, headers: dict[str, str | None]
) -> None:
    quick, slow = ask_both(wish(mei, stall), **headers)
    assert same(quick, slow)
    assert quick.headers.get("X-Request-ID") == "sane-1" if "X_Request_ID" in headers else True


def test_a_replay_is_said_to_be_one(ask: Ask, mei: Person, stall: Stall) -> None:
    first, again = (ask(wish(mei, stall), Idempotency_Key="same") for _ in range(2))
    other = ask(wish(mei, stall, note="other"), Idempotency_Key="same")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.content == again.content
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")


def test_who_was_logged_out_or_switched_off_is_refused_at_once(ask: Ask, mei: Person, stall: Stall) -> None:
    assert ask(wish(mei, stall)).status_code == 201
    LoginSession.objects.update(ended_at="2026-01-01T00:00:00Z")
    assert ask(wish(mei, stall)).status_code == 401
    LoginSession.objects.update(ended_at=None)
    assert ask(wish(mei, stall)).status_code == 201
    User.objects.filter(pk=mei.id).update(is_active=False)
    assert ask(wish(mei, stall)).status_code == 401
    User.objects.filter(pk=mei.id).update(is_active=True, password="changed")
    assert ask(wish(mei, stall)).status_code == 401


def test_another_persons_session_lends_nobody_its_life(ask: Ask, mei: Person, tao: Person, stall: Stall) -> None:
    """A token names its user and its session: both must belong together."""
    other = accounts.services.issue_tokens(tao.user).access
    LoginSession.objects.filter(user=tao.user).update(ended_at="2026-01-01T00:00:00Z")
    assert ask(wish(tao, stall), Authorization=f"Bearer {other}").status_code == 401


def test_an_expired_token_is_refused_though_it_was_read_before(
    ask: Ask, mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fast_answers()
    assert ask(wish(mei, stall)).status_code == 201
    assert fast_answers() - before == 1
    later = time.time() + 3600
    monkeypatch.setattr("accounts.tokens.time.time", lambda: later)
    ask(wish(mei, stall))
    assert fast_answers() - before == 1, "its time is over: Django decides"


def test_a_bucket_map_that_is_too_old_is_never_read_on_the_event_loop(ask: Ask, mei: Person, stall: Stall) -> None:
    before = fast_answers()
    sharding._map._checked_at -= 60
    assert ask(wish(mei, stall)).status_code == 201
    wait_until(lambda: time.monotonic() - sharding._map._checked_at < 5, seconds=5, what="the map was read")
    assert fast_answers() - before == 0
    sharding._map._checked_at -= 4
    assert ask(wish(mei, stall)).status_code == 201
    assert fast_answers() - before == 1
    wait_until(lambda: time.monotonic() - sharding._map._checked_at < 3, seconds=5, what="it was read ahead")


def test_a_full_queue_is_told_at_once(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, monkeypatch: Any
) -> None:
    monkeypatch.setattr(group_commit, "LONGEST_QUEUE", 0)
    quick, slow = ask_both(wish(mei, stall))
    assert (quick.status_code, quick.headers["Retry-After"]) == (503, "1")
    assert same(quick, slow)


def test_a_database_that_is_down_is_told_alike(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orders import intake

    def down(*_: object) -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(intake, "_store", down)
    quick, slow = ask_both(wish(mei, stall))
    assert quick.status_code == 503
    assert same(quick, slow)


def test_what_the_fast_door_does_not_understand_is_djangos(
    ask: Ask, mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from orders import fast as door

    def broken(*_: object) -> None:
        raise ValueError("no kitchen")

    monkeypatch.setattr(door, "answer", broken)
    caplog.handler.addFilter(ids := RequestIdFilter())
    answer = ask(wish(mei, stall))
    caplog.handler.removeFilter(ids)
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (201, "true")
    (line,) = [line for line in caplog.records if "doesn't understand" in line.message]
    assert line.__dict__["request_id"] == answer.headers["X-Request-ID"], "what we logged is found by its id"


def test_a_database_that_went_away_is_no_mistake_of_ours(
    ask_both: Callable[..., Any], mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orders import intake

    def gone(*_: object) -> None:
        raise OperationalError(2006, "gone away")

    monkeypatch.setattr(intake, "_store", gone)
    quick, slow = ask_both(wish(mei, stall))
    assert quick.status_code == 503
    assert same(quick, slow)


@pytest.mark.parametrize("path", ["orders/", "auth/login/"], ids=["fast door", "gate"])
def test_a_body_that_never_begins_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.2)
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_the_entry_counts_those_of_the_fast_door(ask: Ask, mei: Person, stall: Stall, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"entry": Rate(0.001, 3)}
    assert [ask(wish(mei, stall)).status_code for _ in range(5)] == [201, 201, 201, 429, 429]
    assert len(factories.orders_of(mei)) == 5


def test_so_do_a_customers_own_orders(ask_both: Callable[..., Any], mei: Person, stall: Stall, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"order": Rate(0.001, 1)}
    quick, _slow = ask_both(wish(mei, stall))
    assert quick.status_code == 201
    quick, slow = ask_both(wish(mei, stall))
    assert (quick.status_code, quick.headers["RateLimit-Remaining"]) == (429, "0")
    quick.headers["RateLimit-Reset"] = slow.headers["RateLimit-Reset"]
    quick.headers["Retry-After"] = slow.headers["Retry-After"]
    assert same(quick, slow)
