"""A real worker and a real beat behind each broker: time and news go on with nothing else running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from kombu import Connection, Exchange, Queue

from orders.states import Status
from tests import factories
from tests.factories import Person, Stall
from tests.support.databases import Databases
from tests.support.processes import wait_until
from tests.support.source import ROOT
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import shard_of_id

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.once]

# A slow machine takes seconds to start two processes; beat asks for news every second, for timers every two.
WITHIN_SECONDS = 40.0
# A queue of this process alone: the brokers serve other runs too.
QUEUE = f"waimai-test-{os.getpid()}"
BROKERS = {
    "valkey": "",
    "redis": "redis://127.0.0.1:6379/15",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//",
}


@pytest.fixture(
    params=[
        "valkey",
        pytest.param("redis", marks=pytest.mark.services("redis")),
        pytest.param("rabbitmq", marks=pytest.mark.services("rabbitmq")),
    ]
)
def worker_and_beat(request: pytest.FixtureRequest, db_all: Databases) -> Iterator[None]:
    """Celery as `bin/up` and production start it, on one of the brokers."""
    url = BROKERS[request.param] or settings.CELERY_BROKER_URL
    environment = os.environ | {"WAIMAI_BROKER_URL": url, "WAIMAI_QUEUE": QUEUE}
    celery = [sys.executable, "-m", "celery", "-A", "waimai.celery", "--quiet"]
    worker = [*celery, "worker", "--pool=threads", "--concurrency=2", "--without-gossip", "--without-mingle"]
    beat = [*celery, "beat", f"--schedule={settings.DATA_DIR / 'beat'}", "--pidfile="]
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for command in (worker, beat)]
    yield
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)
    _forget_queue(url)


def test_an_order_past_its_time_is_cancelled(worker_and_beat: None, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    factories.overdue(order_id)
    wait_until(lambda: factories.order(order_id).status == Status.CANCELLED, seconds=WITHIN_SECONDS, what="the end")
    assert factories.changes_of(order_id)[-1][1] == "clock"


def test_news_reaches_its_hearers(worker_and_beat: None, mei: Person, stall: Stall) -> None:
    using = shard_of_id(factories.paid(mei, stall))
    waiting = OutboxMessage.objects.on(using).exclude(state=OutboxMessage.State.DONE)
    assert waiting.exists()
    wait_until(lambda: not waiting.exists(), seconds=WITHIN_SECONDS, what="all news is heard")


def _forget_queue(url: str) -> None:
    with Connection(url) as connection:
        queue = Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE, channel=connection.default_channel)
        # Redis deletes only what this connection knows of.
        queue.declare()
        queue.delete()
        queue.exchange.delete()
