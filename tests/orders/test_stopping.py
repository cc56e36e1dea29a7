"""A web process is told to stop in the middle of a rush: whoever was told of an order has it, all others may ask again.

`tests/up/test_under_fire.py` stops the whole system, and `tests/faults/test_f25_rolling_deploy.py` one of several.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
from django.db import transaction

from tests import factories
from tests.factories import Person, Stall, neighbour_of
from tests.support.load import CREATED, NO_ANSWER, Caller, Load
from tests.support.processes import wait_until
from tests.support.server import WebProcess
from waimai.infra import idempotency
from waimai.supervisor_children import Program

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(120)]

CALLERS, CUSTOMERS = 24, 12
SERVICE_UNAVAILABLE = 503
# The supervisor kills what hasn't ended by then.
GRACE_SECONDS = Program.grace_seconds
Start = Callable[[], WebProcess]
Answers = list[Future[requests.Response]]


@contextmanager
def many_in_the_queue(web: WebProcess, mei: Person, stall: Stall) -> Iterator[Answers]:
    """One batch waits for a transaction of ours, which is rolled back at the end, and in the queue all others wait."""
    callers, tao = [Caller(web.url, mei) for _ in range(CALLERS - 1)], neighbour_of(mei, same_shard=True)
    # After the first order the fast door takes them, which has more room than Django has threads.
    assert callers[0].place(stall, key="warm").status_code == CREATED
    with ThreadPoolExecutor(CALLERS) as pool, transaction.atomic(using=mei.shard):
        # On MariaDB it is this key that the first waits for, on SQLite the whole database.
        idempotency.claim_many([idempotency.Claim(tao.id, "first", "", "", 1)], using=mei.shard)
        answers = [pool.submit(Caller(web.url, tao).place, stall, key="first")]
        wait_until(lambda: web.metric("batch_count", mei.shard) == 2, seconds=10, what="a first batch")
        answers += [pool.submit(each.place, stall, key=f"k-{n}") for n, each in enumerate(callers)]
        wait_until(lambda: web.metric("queued", mei.shard) == len(callers), seconds=10, what="a queue of the others")
        yield answers
        transaction.set_rollback(True, using=mei.shard)


def test_what_waits_for_its_batch_is_written_and_answered(web_processes: Start, mei: Person, stall: Stall) -> None:
    web = web_processes()
    with many_in_the_queue(web, mei, stall) as answers:
        told_at = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not web.answers(), seconds=3, what="nobody else is let in")
        time.sleep(0.5)  # A process that doesn't wait for its callers would be gone by now.
    assert web.process.wait(GRACE_SECONDS) == -signal.SIGTERM
    assert time.monotonic() - told_at < GRACE_SECONDS
    assert [each.result().status_code for each in answers] == [CREATED] * CALLERS
    first, *others = (each.result().json()["id"] for each in answers)
    assert set(factories.orders_of(mei)[1:]) == set(others)
    assert factories.order(first).status == "pending_payment"
    assert factories.audit() == []


def test_what_cannot_be_written_in_time_nobody_is_told_of(web_processes: Start, mei: Person, stall: Stall) -> None:
    web = web_processes()
    with many_in_the_queue(web, mei, stall) as answers:
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(GRACE_SECONDS) == -signal.SIGTERM
    assert [type(each.exception()) for each in answers] == [requests.ConnectionError] * CALLERS
    caller = Caller(web_processes().url, mei)
    again = [caller.place(stall, key=f"k-{n}") for n in range(CALLERS - 1)]
    assert [each.status_code for each in again] == [CREATED] * (CALLERS - 1)
    assert set(factories.orders_of(mei)[1:]) == {each.json()["id"] for each in again}
    assert factories.audit() == []


def test_in_a_rush(web_processes: Start, stall: Stall) -> None:
    people = [factories.person(f"1361111{n:04}") for n in range(CUSTOMERS)]
    web = web_processes()
    with Load(web.url, people, stall) as load:
        wait_until(lambda: len(load.acknowledged) > 5 * CUSTOMERS, seconds=20, what="a rush")
        told_at = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(GRACE_SECONDS) == -signal.SIGTERM
    assert set(load.statuses(since=told_at)) <= {CREATED, SERVICE_UNAVAILABLE, NO_ANSWER}
    assert load.lost() == []
    load.url = web_processes().url
    assert load.differing() == []
    for who in people:
        # What was stored and nobody was told of: asked again, its key says so.
        told = {order_id for (person_id, _), order_id in load.acknowledged.items() if person_id == who.id}
        unknown = {key for key in factories.keys_of(who) if (who.id, key) not in load.acknowledged}
        heard = {load.caller(who).place(stall, key=key).json()["id"] for key in unknown}
        assert told | heard == set(factories.orders_of(who))
    assert factories.audit() == []
