"""Beat dies, or there are two of them: orders are cancelled in time, and once."""

from __future__ import annotations

import time

import pytest

from tests.faults.clockwork import Orders
from tests.support.fleet import Fleet
from tests.support.processes import wait_until
from waimai.infra.models import TimerCursor

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]


def handed_out_upto() -> list[object]:
    """How far beat has come with handing out timers."""
    return list(TimerCursor.objects.on("orders_0").values_list("upto", flat=True))


def test_f03_beat_is_killed_and_comes_back(fleet: Fleet) -> None:
    """With nothing but a worker beside it: whatever happens to timers here, beat asked for."""
    fleet.start("worker")
    beat = fleet.start("beat")
    wait_until(handed_out_upto, seconds=120, what="beat and worker are at work")
    orders = Orders(fleet, 60, first_seconds=1, over_seconds=2)
    time.sleep(1)
    beat.kill()
    seen, killed = handed_out_upto(), time.monotonic()
    time.sleep(1)
    beat.start()
    wait_until(lambda: handed_out_upto() != seen, seconds=120, what="beat is back")
    restart = time.monotonic() - killed
    orders.wait_until_all_are_cancelled()
    assert orders.lateness()[-1] <= restart + 2
    fleet.start("events")
    orders.assert_each_cancelled_once()


def test_f03_two_beats_at_once(fleet: Fleet) -> None:
    for kind in ("events", "worker", "beat", "beat"):
        fleet.start(kind)
    orders = Orders(fleet, 60, first_seconds=7, over_seconds=2)
    wait_until(handed_out_upto, seconds=120, what="beats and worker are at work")
    orders.wait_until_all_are_cancelled()
    orders.assert_each_cancelled_once()
