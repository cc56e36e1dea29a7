"""Every process that serves the clock is killed while orders fall due: all are cancelled soon after the boot."""

from __future__ import annotations

import time

import pytest

from tests.faults.clockwork import Orders
from tests.support.fleet import Fleet
from tests.support.processes import wait_until
from waimai.infra.models import TimerCursor

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

EACH_ROUND = 15
WITHIN_SECONDS = 5


def test_f04_all_workers_are_killed(fleet: Fleet, rounds: int) -> None:
    """300 timers within 5 seconds; `--rounds 100` makes it 1500."""
    programs = [fleet.start("events"), fleet.start("worker"), fleet.start("beat")]
    wait_until(lambda: TimerCursor.objects.on("orders_0").exists(), seconds=120, what="they are there")
    orders = Orders(fleet, rounds * EACH_ROUND, first_seconds=1, over_seconds=WITHIN_SECONDS)
    wait_until(lambda: orders.waiting() < orders.count * 0.8, seconds=120, what="they are at work")
    for program in programs:
        program.kill()
    killed, left, before = time.monotonic(), orders.waiting(), orders.lateness()[-1]
    assert left > 0
    for program in programs:
        program.start()
    wait_until(lambda: orders.waiting() < left, seconds=120, what="they are at work again")
    boot = time.monotonic() - killed
    orders.wait_until_all_are_cancelled()
    # On a machine that is late by itself, the boot comes on top of it.
    assert orders.lateness()[-1] <= before + boot + 3
    orders.assert_each_cancelled_once()
