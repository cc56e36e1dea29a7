"""No connection to be had: whoever asks hears "not now" at once, and nothing is kept back when there is room again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import MySQLdb
import pytest
import requests
from django.db import connections

from orders.states import Status
from tests import factories
from tests.support.fleet import Fleet
from tests.support.instances import seconds_of
from tests.support.load import Caller, Load
from tests.support.processes import wait_until
from waimai.infra.models import Timer
from waimai.infra.sharding import shard_of_id

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

FEW, USUAL = 20, 151
WITHIN_SECONDS = 60.0
# A refusal takes a connection attempt; the rest is for a busy machine.
REFUSED_WITHIN_SECONDS = 1.0
WEB_THREADS, DATABASES, CUSTOMERS = 16, 3, 24
# Each loop of `events` asks its own database, and default or a shard besides.
LOOPS = 22
UNAVAILABLE = 503
CONNECTIONS = "SELECT id FROM information_schema.processlist WHERE user = 'root'"
WEBHOOK = "payments/webhooks/sandbox/"


def test_f20_refused_at_once_and_nothing_is_lost(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    web = fleet.start("web")
    caller = Caller(web.url, mei)
    order_id = caller.place(stall, key="before").json()["id"]
    payment_id = factories.start_payment(order_id)
    headers, body = factories.notice(payment_id)
    connections.close_all()
    with _every_connection_taken(fleet):
        seconds = [seconds_of(lambda: _refused(caller.place(stall, key="while"))) for _ in range(5)]
        assert min(seconds) < REFUSED_WITHIN_SECONDS
        _refused(requests.post(caller.base + WEBHOOK, body, headers=headers, timeout=10))
        assert requests.get(f"{web.url}/healthz", timeout=10).ok
        page = requests.get(f"{web.url}/", timeout=10)
        assert (page.status_code, "服务暂时不可用" in page.text) == (UNAVAILABLE, True)
    assert caller.place(stall, key="while").status_code == 201
    # Whether or not the notice ever comes again: the poller asks.
    Timer.objects.on(shard_of_id(payment_id)).filter(ref_id=payment_id).update(due_at="2024-01-01T00:00Z")
    fleet.start("events")
    wait_until(lambda: factories.order(order_id).status == Status.PAID, seconds=WITHIN_SECONDS, what="it is found")
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def test_f20_many_threads_and_few_connections(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    near = factories.neighbour_of(mei, same_shard=False)
    fleet.start("events")
    web = fleet.start("web")
    with _administrator(fleet) as say, Load(web.url, [mei, near] * (CUSTOMERS // 2), stall) as load:
        say(f"SET GLOBAL max_connections = {FEW}")
        wait_until(lambda: load.statuses()[UNAVAILABLE] > 20, seconds=WITHIN_SECONDS, what="some are refused")
        say(f"SET GLOBAL max_connections = {USUAL}")
        wait_until(lambda: load.answers[-1].status == 201, seconds=WITHIN_SECONDS, what="there is room")
        seen = load.statuses()[201]
        wait_until(lambda: load.statuses()[201] > seen + 50, seconds=WITHIN_SECONDS, what="orders go on")
    assert set(load.statuses()) <= {201, UNAVAILABLE}
    assert [answer.status for answer in load.answers[-50:]] == [201] * 50
    connections.close_all()
    # Those of customers' threads are the test's own: their tokens were made there.
    assert _connected(fleet) <= WEB_THREADS * DATABASES + LOOPS * DATABASES + CUSTOMERS
    assert load.lost() == []
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def _refused(answer: requests.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (UNAVAILABLE, "service_unavailable")
    assert answer.headers["Retry-After"] == "2"


@contextmanager
def _administrator(fleet: Fleet) -> Iterator[Callable[[str], list[int]]]:
    """A connection that stands whatever comes; it answers with the first column."""
    with closing(_connect(fleet)) as connection:

        def say(sql: str) -> list[int]:
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql)
                return [row[0] for row in cursor.fetchall()]

        yield say


@contextmanager
def _every_connection_taken(fleet: Fleet) -> Iterator[None]:
    """Somebody else has them all, and those that we had are ended."""
    with _administrator(fleet) as say, ExitStack() as stack:
        say(f"SET GLOBAL max_connections = {FEW}")
        taken = set(say("SELECT CONNECTION_ID()"))

        def take() -> bool:
            for other in set(say(CONNECTIONS)) - taken:
                with suppress(MySQLdb.Error):
                    say(f"KILL {other}")
            with suppress(MySQLdb.OperationalError):
                while True:
                    taken.add(stack.enter_context(closing(_connect(fleet))).thread_id())
            return len(taken) > FEW  # One more is kept for administrators, and we are one.

        wait_until(take, seconds=WITHIN_SECONDS, what="all are taken")
        yield
        say(f"SET GLOBAL max_connections = {USUAL}")


def _connect(fleet: Fleet) -> Any:
    return MySQLdb.connect(host="127.0.0.1", port=fleet.database.port, user="root", connect_timeout=2)


def _connected(fleet: Fleet) -> int:
    """Connections, but for the one that asks."""
    return len(fleet.ask("default", CONNECTIONS)) - 1
