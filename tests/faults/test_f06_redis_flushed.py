"""FLUSHALL: what Redis knew is made anew, and nothing that counts was in it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import factories
from tests.faults.clockwork import PORTIONS, Orders, held
from tests.support import bulk
from tests.support.fleet import Fleet
from tests.support.load import Caller
from tests.support.processes import wait_until
from waimai.infra.models import TimerCursor

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]
OK, CREATED = 200, 201


def flush(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.flushall()


def test_f06_no_timer_is_lost_and_the_cache_fills_again(fleet: Fleet) -> None:
    """Without the sweep: what is cancelled after the flush came to the worker through Redis again."""
    fleet.start("worker")
    fleet.start("beat")
    web = fleet.start("web")
    wait_until(lambda: TimerCursor.objects.on("orders_0").exists(), seconds=120, what="they are at work")
    orders = Orders(fleet, 60, first_seconds=14, over_seconds=3)
    stall, caller = orders.stall, Caller(web.url, factories.person("13911110009"))
    before = caller.get(f"shops/{stall.shop_id}/menu/")
    wait_until(lambda: held(fleet) > 3, seconds=120, what="the worker holds ETA tasks")
    bulk.put_off(timedelta(hours=1))
    flush(fleet)
    assert factories.stock(stall.tofu) == (PORTIONS - orders.count, orders.count, 0)
    bulk.put_off(-timedelta(hours=1, seconds=14))
    after = caller.get(f"shops/{stall.shop_id}/menu/")
    assert (after.status_code, after.content) == (OK, before.content)
    assert caller.place(stall, key="after").status_code == CREATED
    factories.overdue(factories.orders_of(caller.person)[0])
    orders.count += 1
    orders.wait_until_all_are_cancelled()
    fleet.start("events")
    orders.assert_each_cancelled_once()
