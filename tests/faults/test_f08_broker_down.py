"""The broker down while people order: nobody notices, and nothing is lost or done twice when it is back."""

from __future__ import annotations

import time

import pytest

from orders.states import Status
from tests import factories
from tests.faults.conftest import Fleets
from tests.support.fleet import Fleet, Program
from tests.support.instances import Instance
from tests.support.load import Load
from tests.support.processes import wait_until
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import databases

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

DOWN_SECONDS = 3
WITHIN_SECONDS = 60.0


@pytest.mark.parametrize("broker", ["redis", pytest.param("rabbitmq", marks=pytest.mark.services("rabbitmq-server"))])
def test_f08_orders_go_on_and_celery_comes_back(fleets: Fleets, broker: str) -> None:
    fleet = fleets(broker=broker)
    stall, mei = factories.stall(), factories.person()
    celery = [fleet.start("worker"), fleet.start("beat")]
    events, web = fleet.start("events"), fleet.start("web")
    people = [mei, factories.neighbour_of(mei, same_shard=False)]
    with Load(web.url, people, stall, pause_seconds=0.02, pay_every=3) as load:
        wait_until(lambda: load.statuses()[201] >= 10, seconds=WITHIN_SECONDS, what="orders are placed")
        down_at = time.monotonic()
        _broker(fleet).kill()
        time.sleep(DOWN_SECONDS)
        wait_until(lambda: load.statuses(since=down_at)[201] >= 10, seconds=WITHIN_SECONDS, what="201s continue")
        load.stop()
        wait_until(_all_news_is_heard, seconds=WITHIN_SECONDS, what="events drains the outbox meanwhile")
        _broker(fleet).start()
    assert set(load.statuses()) == {201}
    assert events.stop() == 0
    _celery_works_alone(fleet, celery)
    assert (load.lost(), load.differing()) == ([], [])
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def _celery_works_alone(fleet: Fleet, celery: list[Program]) -> None:
    """Nothing else runs: worker and beat have come back by themselves when news is heard and time is up."""
    assert all(program.running for program in celery)
    stall, tao = factories.stall("面馆"), factories.person(factories.TAO)
    factories.paid(tao, stall, key="noodles")
    late = factories.placed(tao, stall, key="late")
    factories.overdue(late)
    wait_until(_all_news_is_heard, seconds=WITHIN_SECONDS, what="the worker drains the outbox")
    wait_until(lambda: factories.order(late).status == Status.CANCELLED, seconds=WITHIN_SECONDS, what="time is up")
    wait_until(_all_news_is_heard, seconds=WITHIN_SECONDS, what="and of that")
    assert all(program.running for program in celery)


def _broker(fleet: Fleet) -> Instance:
    return fleet.rabbitmq or fleet.redis


def _all_news_is_heard() -> bool:
    done = OutboxMessage.State.DONE
    return not any(OutboxMessage.objects.on(alias).exclude(state=done).exists() for alias in databases())
