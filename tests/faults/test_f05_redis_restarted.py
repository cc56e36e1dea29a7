"""Redis is killed while a worker holds ETA tasks that it hasn't acknowledged.

There are releases of Celery whose worker ends here: docs/adr/0013-celery-version-and-settings.md.
"""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from tests.faults.clockwork import Orders, held
from tests.faults.conftest import Fleets
from tests.support import bulk
from tests.support.fleet import Fleet, Program
from tests.support.processes import wait_until

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]


@pytest.fixture
def fleet(fleets: Fleets) -> Fleet:
    """A Redis that keeps its data."""
    return fleets(aof=True)


def kill_redis_while_tasks_are_held(fleet: Fleet, worker: Program) -> None:
    wait_until(lambda: held(fleet) > 3, seconds=120, what="the worker holds ETA tasks")
    fleet.redis.kill()
    time.sleep(1)
    fleet.redis.start()
    assert worker.running


def test_f05_a_worker_survives_and_goes_on(fleet: Fleet) -> None:
    """Worker and beat are alone: what is cancelled after the restart came to them through Redis."""
    worker = fleet.start("worker")
    fleet.start("beat")
    orders = Orders(fleet, 60, first_seconds=14, over_seconds=3)
    kill_redis_while_tasks_are_held(fleet, worker)
    # Now, and not when the tasks that were held would have come.
    bulk.put_off(-timedelta(seconds=14))
    orders.wait_until_all_are_cancelled()
    assert worker.running
    fleet.start("events")
    orders.assert_each_cancelled_once()
