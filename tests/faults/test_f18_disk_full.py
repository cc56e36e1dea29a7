"""A disk full under MariaDB, then one under Redis: refused cleanly, nothing acknowledged is lost, no repair by hand."""

from __future__ import annotations

import pytest
import redis
import requests
from django.db import connections

from tests import factories
from tests.faults.conftest import Fleets
from tests.support.disk import small_disk
from tests.support.fleet import Fleet
from tests.support.load import Caller, Load
from tests.support.processes import wait_until
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import databases

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

WITHIN_SECONDS = 60.0
UNAVAILABLE = 503


def test_f18_under_mariadb(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    near = factories.neighbour_of(mei, same_shard=False)
    connections.close_all()
    fleet.database.stop()
    with small_disk(fleet.database.folder / "data") as disk:
        fleet.database.start()
        fleet.start("events")
        web = fleet.start("web")
        with Load(web.url, [mei, near] * 3, stall, pay_every=3) as load:
            wait_until(lambda: load.statuses()[201] >= 10, seconds=WITHIN_SECONDS, what="orders are placed")
            connections.close_all()
            disk.fill()
            wait_until(lambda: load.statuses()[UNAVAILABLE] >= 10, seconds=WITHIN_SECONDS, what="it is full")
            assert requests.get(f"{web.url}/healthz", timeout=10).ok
            disk.make_room()
            _as_a_service_manager_would(fleet)
            seen = load.statuses()[201]
            wait_until(lambda: load.statuses()[201] >= seen + 10, seconds=WITHIN_SECONDS, what="orders come again")
        assert set(load.statuses()) == {201, UNAVAILABLE}
        assert (load.lost(), load.differing()) == ([], [])
        wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")
        _end(fleet)


def test_f18_under_redis(fleets: Fleets) -> None:
    fleet = fleets(aof=True)
    stall, mei = factories.stall(), factories.person()
    fleet.redis.stop()
    with small_disk(fleet.redis.folder) as disk:
        fleet.redis.start()
        worker, beat = fleet.start("worker"), fleet.start("beat")
        web = fleet.start("web")
        caller = Caller(web.url, mei)
        factories.paid(mei, stall, key="before")
        wait_until(_all_news_is_heard, seconds=WITHIN_SECONDS, what="Celery works")
        disk.fill()
        wait_until(lambda: _refuses(fleet), seconds=WITHIN_SECONDS, what="Redis refuses to write")
        order_id = caller.place(stall, key="while").json()["id"]
        factories.capture(factories.start_payment(order_id))
        disk.make_room()
        wait_until(lambda: not _refuses(fleet), seconds=WITHIN_SECONDS, what="Redis writes again")
        wait_until(_all_news_is_heard, seconds=WITHIN_SECONDS, what="worker and beat are back")
        assert worker.running
        assert beat.running
        wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")
        _end(fleet)


def _as_a_service_manager_would(fleet: Fleet) -> None:
    """MariaDB asserts that a page it must split can be had, and ends itself when not: systemd starts it again."""
    process = fleet.database.process
    if process is not None and process.poll() is not None:
        fleet.database.start()


def _refuses(fleet: Fleet) -> bool:
    with fleet.redis.client() as client:
        try:
            client.set("full", "x" * 5000)
        except redis.RedisError:
            return True
    return False


def _all_news_is_heard() -> bool:
    done = OutboxMessage.State.DONE
    return not any(OutboxMessage.objects.on(alias).exclude(state=done).exists() for alias in databases())


def _end(fleet: Fleet) -> None:
    """Nobody may stand on the disk when it goes."""
    connections.close_all()
    for program in fleet.programs:
        program.kill()
    for server in fleet.servers:
        server.kill()
