"""Poison: messages, timers and broker messages that nobody can digest. They end up parked, and the others flow."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from orders.states import Status
from tests import factories
from tests.support.fleet import Fleet, Program
from tests.support.poison.handlers import DIES, FAILS
from tests.support.processes import wait_until
from waimai.infra import ids, outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer
from waimai.infra.sharding import shard_of_id, shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

HERE = "orders_0"
POISON = "tests.support.poison.settings"
WITHIN_SECONDS = 150.0


# Starting eight times takes a while: seven tries are behind whatever kills or fails.
BEHIND = 7


def a_message(topic: str, *, attempts: int = 0, **payload: object) -> None:
    now, key = db_now(HERE), ids.new_id(0)
    content = {"key": key, "version": 1} | payload
    OutboxMessage.objects.on(HERE).create(
        topic=topic, key=key, version=1, bucket=0, payload=content, next_at=now, created_at=now, attempts=attempts
    )


def hurry() -> None:
    """Every pause is over: nobody here waits minutes for a backoff or a lease."""
    now = db_now(HERE)
    for alias in shards():
        OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).update(next_at=now)
    Timer.objects.on(HERE).filter(due_at__lt=timers.PARKED).update(due_at=now - timedelta(seconds=1))


def run(program: Program, true: Callable[[], object]) -> int:
    """Keep the program going, as a supervisor does, until something is true; how often it had to be started."""
    starts = 0

    def done() -> object:
        nonlocal starts
        if not program.running:
            program.start()
            starts += 1
        hurry()
        time.sleep(0.1)
        return true()

    wait_until(done, seconds=WITHIN_SECONDS, what="it comes to an end")
    return starts


def parked() -> dict[str, str]:
    """Topic and reason of each message that is parked."""
    rows = OutboxMessage.objects.on(HERE).filter(state=OutboxMessage.State.PARKED)
    return dict(rows.values_list("topic", "error"))


def test_f19_poisoned_news_is_parked_and_the_others_flow(fleet: Fleet) -> None:
    order_id = factories.paid(factories.neighbour_of(factories.person(), same_shard=True), factories.stall())
    a_message(DIES, attempts=BEHIND)
    a_message(FAILS, attempts=BEHIND)
    a_message("order.invented", attempts=BEHIND)
    a_message("order.paid", attempts=BEHIND, snapshot="not one")
    events = fleet.start("events", DJANGO_SETTINGS_MODULE=POISON)
    others = OutboxMessage.objects.on(shard_of_id(order_id)).filter(key=order_id)
    unheard = others.exclude(state=OutboxMessage.State.DONE)
    deaths = run(events, lambda: len(parked()) == 4 and not unheard.exists())
    reasons = parked()
    assert "died" in reasons[DIES]
    assert "not to my taste" in reasons[FAILS]
    assert "doesn't understand" in reasons["order.invented"]
    assert "doesn't understand" in reasons["order.paid"]
    assert 1 <= deaths <= outbox.TRIES_BEFORE_PARKING - BEHIND + 1
    assert sorted(line[:2] for line in factories.audit()) == ["I9"] * 4


def test_f19_a_timer_that_kills_is_parked_and_the_others_fire(fleet: Fleet) -> None:
    order_id = factories.placed(factories.person(), factories.stall())
    for kind in (DIES, FAILS):
        timers.schedule(kind, ids.new_id(0), due_at=db_now(HERE), using=HERE)
    Timer.objects.on(HERE).filter(kind=DIES).update(attempts=BEHIND, error=timers.DIED)
    factories.overdue(order_id)
    events = fleet.start("events", DJANGO_SETTINGS_MODULE=POISON)
    deadly = Timer.objects.on(HERE).filter(kind=DIES)
    deaths = run(events, lambda: deadly.get().due_at == timers.PARKED)
    assert 1 <= deaths <= timers.TRIES_BEFORE_PARKING - BEHIND + 1
    assert deadly.get().error == timers.DIED
    failing = Timer.objects.on(HERE).filter(kind=FAILS)
    wait_until(lambda: "not to my taste" in failing.get().error, seconds=60, what="the reason is noted")
    assert events.running
    wait_until(lambda: factories.order(order_id).status == Status.CANCELLED, seconds=60, what="others fire")
    assert {line[:2] for line in factories.audit()} == {"I9"}


def enveloped(task: str, arguments: object) -> bytes:
    """A message as Celery sends them through Redis."""
    body = base64.b64encode(json.dumps([arguments, {}, {}]).encode()).decode()
    properties = {
        "delivery_info": {"exchange": "", "routing_key": "waimai"},
        "delivery_tag": task,
        "delivery_mode": 2,
        "body_encoding": "base64",
        "correlation_id": task,
    }
    headers = {"task": task, "id": task, "lang": "py", "argsrepr": "", "kwargsrepr": ""}
    kind = {"content-encoding": "utf-8", "content-type": "application/json"}
    return json.dumps({"body": body, "headers": headers, "properties": properties} | kind).encode()


STRANGE = [
    enveloped("somebody.elses", []),
    enveloped("waimai.infra.tasks.relay", ["a database we don't have"]),
    enveloped("waimai.infra.tasks.fire_timers", ["orders_0"]),
    enveloped("waimai.infra.tasks.relay", ["orders_0"]).replace(b'body": "', b'body": "!'),
    # Not even an envelope: this one ends the worker (kombu reads it outside any guard), once, as it is gone by then.
    b"{",
]


def test_f19_what_strangers_put_on_the_queue_is_thrown_away(fleet: Fleet) -> None:
    worker = fleet.start("worker")
    with fleet.redis.client() as client:
        client.select(1)
        client.lpush("waimai", *STRANGE)
        wait_until(lambda: not client.llen("waimai"), seconds=WITHIN_SECONDS, what="the worker took them")
    order_id = factories.placed(factories.person(), factories.stall())
    factories.overdue(order_id)
    fleet.start("beat")
    assert run(worker, lambda: factories.order(order_id).status == Status.CANCELLED) <= 1
    assert worker.running
