"""Our machines' clocks are wrong, by a minute or an hour, or step: the database's clock decides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from django.db import connections
from django.test import Client

import accounts.services
from orders import timing
from orders.states import Status
from payments.providers import sandbox_wire
from payments.services.polling import POLL
from tests import factories
from tests.accounts.factories import Api, read
from tests.factories import Person, Stall, audit, capture, order, overdue, placed, settle, start_payment, sweep
from waimai.infra import ids, timers
from waimai.infra.clock import db_now
from waimai.infra.models import Timer
from waimai.infra.sharding import databases, shard_of_id

pytestmark = pytest.mark.data
MINUTE, HOUR = 60, 3600
WRONG = [-HOUR, -MINUTE, MINUTE, HOUR]
WEBHOOK = "/api/v1/payments/webhooks/sandbox/"


@contextmanager
def app_clock(seconds: float) -> Iterator[None]:
    """This process's wall clock is so far ahead, and runs on; the monotonic one doesn't step, nor do databases'."""
    with time_machine.travel(time.time() + seconds):
        yield


@contextmanager
def database_clock(seconds: int) -> Iterator[None]:
    """The databases' clocks, as this thread sees them, stand so far ahead."""
    if connections["default"].vendor != "mysql":
        pytest.skip("SQLite's clock is the machine's")
    for alias in databases():
        with connections[alias].cursor() as cursor:
            cursor.execute("SET SESSION timestamp = UNIX_TIMESTAMP() + %s", [seconds])
    try:
        yield
    finally:
        for alias in databases():
            with connections[alias].cursor() as cursor:
                cursor.execute("SET SESSION timestamp = DEFAULT")


# --- what is due ---


@pytest.mark.parametrize("wrong", WRONG)
def test_f17_nothing_is_cancelled_early(wrong: int, mei: Person, stall: Stall) -> None:
    before = placed(mei, stall, key="before")
    with app_clock(wrong):
        during = placed(mei, stall, key="during")
        payment = start_payment(during)
        sweep()
        timing.expire_now([], using=mei.shard)
        assert read(mei.api.get(f"orders/{before}/"))["status"] == "pending_payment"
    sweep()
    for order_id in (before, during):
        using = shard_of_id(order_id)
        left = order(order_id).expires_at - db_now(using)
        assert order(order_id).status == Status.PENDING_PAYMENT
        assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    with app_clock(wrong):
        capture(payment)
    assert order(during).status == Status.PAID
    settle()
    assert audit() == []


@pytest.mark.parametrize("wrong", [-HOUR, HOUR])
def test_f17_what_is_due_fires_whatever_our_clock_says(wrong: int, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    with app_clock(wrong):
        sweep()
    assert order(order_id).status == Status.CANCELLED


@pytest.mark.parametrize("wrong", [MINUTE, HOUR])
def test_f17_an_eta_task_that_comes_early_finds_nothing_due(wrong: int, mei: Person, stall: Stall) -> None:
    """A worker whose clock is ahead runs its ETA tasks early."""
    order_id = placed(mei, stall)
    soon = db_now(mei.shard) + timedelta(seconds=10)
    Timer.objects.on(mei.shard).filter(ref_id=order_id).update(due_at=soon)
    handed: list[tuple[str, list[int]]] = []
    with app_clock(wrong):
        timers.hand_out(mei.shard, lambda kind, ref_ids, eta: handed.append((kind, ref_ids)))
        assert [timers.fire(mei.shard, kind, ref_ids) for kind, ref_ids in handed] == [0]
    assert (order(order_id).status, handed) == (Status.PENDING_PAYMENT, [("order.expire", [order_id])])


@pytest.mark.parametrize("wrong", [-HOUR, HOUR])
def test_f17_the_databases_clock_decides_even_when_it_is_the_wrong_one(wrong: int, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    with database_clock(wrong):
        sweep()
        expected = Status.CANCELLED if wrong == HOUR else Status.PENDING_PAYMENT
        assert order(order_id).status == expected
    settle()
    assert audit() == []


# --- tokens ---


@pytest.mark.parametrize("ahead", [-MINUTE, MINUTE])
def test_f17_a_token_of_a_machine_that_is_a_minute_off_is_good_here(ahead: int, mei: Person) -> None:
    with app_clock(ahead):
        tokens = accounts.services.issue_tokens(mei.user)
    caller = Api()
    caller.headers = {"Authorization": f"Bearer {tokens.access}"}
    assert caller.get("me/").status_code == 200
    assert accounts.services.rotate(tokens.refresh).access


def test_f17_a_token_ends_with_its_half_hour_and_the_leeway(mei: Person) -> None:
    caller = mei.api
    with app_clock(31 * MINUTE):
        assert caller.get("me/").status_code == 200
    with app_clock(33 * MINUTE):
        assert caller.get("me/").status_code == 401
    with app_clock(-HOUR):
        assert caller.get("me/").status_code == 401


# --- signatures ---


@pytest.mark.parametrize(("wrong", "status"), [(-HOUR, 401), (-MINUTE, 200), (MINUTE, 200), (HOUR, 401)])
def test_f17_a_notice_counts_within_five_minutes_of_our_clock(
    wrong: int, status: int, mei: Person, stall: Stall
) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    headers, body = factories.notice(payment_id)
    with app_clock(wrong):
        answer = Client().post(WEBHOOK, body, content_type="application/json", headers=headers)
        assert answer.status_code == status
        if status != 200:
            assert order(order_id).status == Status.PENDING_PAYMENT
        # What no notice could tell the poller finds.
        Timer.objects.on(mei.shard).filter(kind=POLL, ref_id=payment_id).update(due_at=db_now(mei.shard))
        sweep()
    assert order(order_id).status == Status.PAID
    assert factories.payments_of(order_id) == ["captured"]
    settle()
    assert audit() == []


def test_f17_the_window_is_five_minutes_either_way() -> None:
    body = b"{}"
    for seconds, refused in ((-301, True), (-299, False), (299, False), (301, True)):
        headers = sandbox_wire.sign(body, timestamp=int(time.time()) + seconds)
        with pytest.raises(Exception) as error:  # noqa: PT011 - either refused for its time, or for saying nothing
            sandbox_wire.parse(headers, body)
        assert (error.type.__name__ == "WebhookRefused") == refused


# --- ids ---


@pytest.fixture
def fresh_ids() -> Iterator[None]:
    """A process that has made no id yet, and whose worker number nobody else wants afterwards."""
    ids._current = None
    yield
    ids._current = None


@pytest.mark.usefixtures("fresh_ids")
def test_f17_no_id_is_made_twice_while_our_clock_steps(db_all: object) -> None:
    made = [ids.new_id(1) for _ in range(100)]
    for wrong in WRONG:
        with app_clock(wrong):
            made += [ids.new_id(1) for _ in range(100)]
        made += [ids.new_id(1) for _ in range(100)]
    assert made == sorted(set(made))


@pytest.mark.usefixtures("fresh_ids")
def test_f17_no_id_is_made_twice_while_the_databases_clock_steps(db_all: object) -> None:
    made: list[int] = []
    for wrong in (0, HOUR, MINUTE, -MINUTE, -HOUR):
        with database_clock(wrong):
            for _process in range(2):
                ids._current = None  # A new process leases a number by that clock.
                made += [ids.new_id(1) for _ in range(100)]
    assert len(made) == len(set(made))
