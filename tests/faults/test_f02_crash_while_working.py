"""What works behind the scenes dies at each of its crash points; what was done is done again, and has no effect."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
from django.db import OperationalError
from kombu import Connection

import menu.services
from orders import saga, services
from orders.compensation import EXPIRE
from orders.models import Saga
from payments.models import Refund, SandboxRefund
from payments.providers.sandbox import tell
from payments.services.polling import POLL
from payments.services.refunding import SEND
from tests import factories
from tests.factories import Person, Stall
from tests.faults.evening import broken, due, left_over
from tests.support.fleet import Fleet, Program
from tests.support.processes import wait_until
from waimai.celery import app
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer, TimerCursor
from waimai.infra.sharding import databases, shards

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.services("mariadbd", "redis-server"),
]

# Requests pass these: test_f01 kills the web process at those of placing, test_crash_points at all of them.
OF_REQUESTS = ("place.", "stock.hold.", "pay.", "webhook.", "order.", "amend.", "account.", "ticket.")
# Once an hour.
OF_THE_HOUSE = ("erase.",)
# The desk's commits lie between the relay's own points.
OF_THE_DESK = ("desk.",)
# Passed only when work fails, isn't done at once, or was done before: test_crash_points sees to that.
SELDOM = (".retry.", ".wait.", ".end.")
OF_CELERY = ("timer.window.", "timer.send.")
OF_EVENTS = [
    name
    for name in crashpoints.names()
    if not name.startswith((*OF_REQUESTS, *OF_CELERY, *OF_THE_DESK, *OF_THE_HOUSE))
    and not any(part in name for part in SELDOM)
]
AT_ONCE, READY = 4, "CRASH_AT: this process kills itself"
DEAD_WITHIN_SECONDS, DONE_WITHIN_SECONDS, PAUSE_SECONDS = 120, 60, 0.5


@pytest.fixture
def mei(fleet: Fleet) -> Person:
    """A customer."""
    return factories.person()


@pytest.fixture
def stall(fleet: Fleet) -> Stall:
    """A shop whose fish are counted."""
    stall = factories.stall()
    menu.services.set_stock(item_id=stall.fish, available=10_000)
    return stall


def test_f02_a_crash_of_events_has_no_effect_but_repetition(fleet: Fleet, mei: Person, stall: Stall) -> None:
    numbers = count()
    for start in range(0, len(OF_EVENTS), AT_ONCE):
        doomed = [fleet.start("events", CRASH_AT=name) for name in OF_EVENTS[start : start + AT_ONCE]]
        until_dead(doomed, lambda: an_evening(mei, stall, numbers))

    fleet.start("events")
    release_leases()
    with suppress(AssertionError):
        wait_until(lambda: left_over() == [], seconds=DONE_WITHIN_SECONDS, what="everything is done")
    assert left_over() == []
    assert factories.audit() == []
    for alias in shards():
        ours = Refund.objects.on(alias).order_by("id").values_list("id", "amount")
        assert list(ours) == list(
            SandboxRefund.objects.on(alias).order_by("refund_id").values_list("refund_id", "amount")
        )


def test_f02_a_crash_of_a_worker_leaves_its_timers_to_the_next(fleet: Fleet, mei: Person, stall: Stall) -> None:
    points = [name for name in crashpoints.names() if name.startswith(OF_CELERY)]
    order_id = factories.placed(mei, stall)
    with Connection(fleet.environment()["WAIMAI_BROKER_URL"]) as broker:

        def hand_out() -> None:
            moment = db_now(mei.shard) + timedelta(seconds=10)
            timers.schedule(EXPIRE, order_id, due_at=moment, using=mei.shard)
            TimerCursor.objects.on(mei.shard).all().delete()
            app.send_task("waimai.infra.tasks.hand_out_timers", connection=broker)

        until_dead([fleet.start("worker", CRASH_AT=name) for name in points], hand_out)
        assert factories.order(order_id).status == "pending_payment"

        fleet.start("worker")
        factories.overdue(order_id)
        app.send_task("waimai.infra.tasks.sweep_timers", connection=broker)
    wait_until(lambda: factories.order(order_id).status == "cancelled", seconds=60, what="the order has expired")
    assert factories.history(order_id) == ["placing", "pending_payment", "cancelled"]
    wait_until(lambda: factories.stock(stall.fish)[1:] == (0, 0), seconds=30, what="the portion is back")
    assert factories.audit() == []


def until_dead(doomed: list[Program], work: Callable[[], None]) -> None:
    """Give them work until each has died where it had to; what one held when it died is given to the others."""

    wait_until(lambda: all(READY in each.said() for each in doomed), seconds=DEAD_WITHIN_SECONDS, what="all are up")
    given_up_at = time.monotonic() + DEAD_WITHIN_SECONDS
    while alive := [program for program in doomed if program.running]:
        assert time.monotonic() < given_up_at, [(program.environment, program.said()[-2000:]) for program in alive]
        release_leases()
        work()
        time.sleep(PAUSE_SECONDS)
    for program in doomed:
        assert program.wait_until_dead() == -signal.SIGKILL, program.said()[-2000:]


def an_evening(who: Person, at: Stall, numbers: count[int]) -> None:
    """Something of everything that is done behind the scenes."""
    with broken(menu.services, "confirm_stock", OperationalError("gone away")):
        factories.paid(who, at, key=f"kept {next(numbers)}")
        cancelled = factories.paid(who, at, key=f"cancelled {next(numbers)}")
    with broken(menu.services, "release_stock", OperationalError("gone away")):
        services.cancel(order_id=cancelled, user_id=who.id)
    factories.overdue(factories.placed(who, at, key=f"unpaid {next(numbers)}"))
    tell(factories.start_payment(factories.placed(who, at, key=f"polled {next(numbers)}")), "success", times=0)


def release_leases() -> None:
    """What a dead process held comes back now and not in half a minute; what lives and holds on is only doubled."""
    for alias in databases():
        waiting = OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING)
        waiting.update(next_at=db_now(alias))
    for alias in shards():
        Saga.objects.on(alias).filter(state__in=saga.LIVE, next_at__isnull=False).update(next_at=db_now(alias))
        # A timer with which process after process died counts as poison; here it was not the timer's doing.
        Timer.objects.on(alias).filter(error=timers.DIED).update(attempts=0, error="")
        due(POLL, alias)
        due(SEND, alias)
