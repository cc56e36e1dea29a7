"""One database down: only those whose orders live there notice, and at once; what it owes is done when it is back."""

from __future__ import annotations

import time

import pytest
import requests
from django.db import connections

from menu.services import set_stock
from orders import saga
from orders.desk.models import DeskOrder
from orders.states import Status
from tests import factories
from tests.factories import Stall
from tests.faults.conftest import Fleets
from tests.support.fleet import Fleet
from tests.support.instances import seconds_of
from tests.support.load import Caller, Load
from tests.support.processes import wait_until

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

HUNG_SECONDS = 8
# Knocked at every half second, and given one to answer; then whoever waits is released.
NOTICED_WITHIN_SECONDS = 2.0
FAST_SECONDS = 1.0
WITHIN_SECONDS = 60.0
UNAVAILABLE = 503


@pytest.fixture
def fleet(fleets: Fleets) -> Fleet:
    """A MariaDB for each database."""
    return fleets(separate=True)


def test_f09_a_shard_that_hangs_takes_nobody_with_it(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    lan, near = factories.works_at(stall.shop_id, "manager", "lan"), factories.neighbour_of(mei, same_shard=False)
    url = fleet.start("web").url
    # More who ask the hung shard than the web process has threads.
    with Load(url, [near, near], stall, pause_seconds=0.05) as well, Load(url, [mei] * 20, stall) as ill:
        wait_until(lambda: well.statuses()[201] >= 10, seconds=WITHIN_SECONDS, what="orders are placed")
        hung_at = time.monotonic()
        fleet.databases[mei.shard].hang()
        time.sleep(NOTICED_WITHIN_SECONDS)
        noticed_at = time.monotonic()
        parts = requests.get(f"{url}/readyz", timeout=10)
        assert (parts.status_code, parts.json()["parts"][mei.shard]) == (200, "down: OperationalError")
        assert {parts.json()["parts"][alias] for alias in ("default", near.shard)} == {"ok"}
        assert requests.get(f"{url}/shops/{stall.shop_id}/", timeout=10).ok
        assert Caller(url, lan).get("staff/orders/").ok
        time.sleep(max(0.0, hung_at + HUNG_SECONDS - time.monotonic()))
        back_at = time.monotonic()
        fleet.databases[mei.shard].go_on()
        wait_until(lambda: ill.statuses(since=back_at)[201] > 0, seconds=WITHIN_SECONDS, what="it is served again")
    busy = 3 * well.slowest(1, until=hung_at)  # The machine's fault, not the shard's.
    assert set(well.statuses()) == {201}
    assert well.slowest(1, since=hung_at) < max(2 * NOTICED_WITHIN_SECONDS, busy)
    assert well.slowest(since=noticed_at, until=back_at) < max(FAST_SECONDS, busy)
    assert set(ill.statuses(since=noticed_at, until=back_at)) == {UNAVAILABLE}
    assert ill.slowest(since=noticed_at, until=back_at) < max(FAST_SECONDS, busy)
    assert (ill.lost(), ill.differing(), well.lost()) == ([], [], [])
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def test_f09_a_shard_and_then_default_killed(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    near = factories.neighbour_of(mei, same_shard=False)
    set_stock(item_id=stall.tofu, available=5)
    web = fleet.start("web")
    with factories.crash_before(saga, "_open_for_payment"):
        factories.placed(mei, stall, (stall.tofu, 2), key="half")
    (half,) = factories.orders_of(mei)
    mine, theirs = factories.paid(mei, stall, key="paid"), factories.paid(near, stall, key="paid")
    late = factories.placed(near, stall, key="late")
    _kill(fleet, mei.shard)
    fleet.start("events")
    factories.overdue(late)
    wait_until(lambda: factories.order(late).status == Status.CANCELLED, seconds=WITHIN_SECONDS, what="time is up")
    wait_until(lambda: _desk_knows(theirs), seconds=WITHIN_SECONDS, what="news of the others is heard")
    assert Caller(web.url, near).place(stall, key="near").status_code == 201
    _refused_at_once(Caller(web.url, mei), stall)
    fleet.databases[mei.shard].start()
    wait_until(lambda: _desk_knows(mine), seconds=WITHIN_SECONDS, what="what it owed is heard")
    factories.saga_due(half)
    wait_until(
        lambda: factories.order(half).status == Status.PENDING_PAYMENT, seconds=WITHIN_SECONDS, what="the saga goes on"
    )
    assert factories.stock(stall.tofu) == (3, 2, 0)
    _without_default(fleet, Caller(web.url, mei), stall)
    answer = Caller(web.url, mei).place(stall, key="mei")
    assert answer.status_code == 201, answer.text
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def _kill(fleet: Fleet, alias: str) -> None:
    connections.close_all()  # The test's own would be lost.
    fleet.databases[alias].kill()


def _desk_knows(order_id: int) -> bool:
    return DeskOrder.objects.filter(order_id=order_id).exists()


def _refused_at_once(caller: Caller, stall: Stall) -> None:
    def place() -> None:
        answer = caller.place(stall, key="refused")
        assert (answer.status_code, answer.json()["code"]) == (UNAVAILABLE, "service_unavailable")
        assert answer.headers["Retry-After"] == "2"

    assert min(seconds_of(place) for _ in range(3)) < FAST_SECONDS


def _without_default(fleet: Fleet, caller: Caller, stall: Stall) -> None:
    """Nobody can be known without it: everything that asks says so at once, and the process lives."""
    _kill(fleet, "default")
    _refused_at_once(caller, stall)
    site = caller.base.removesuffix("/api/v1/")
    answers = {path: requests.get(site + path, timeout=10) for path in ("/", "/healthz", "/readyz")}
    assert [answer.status_code for answer in answers.values()] == [UNAVAILABLE, 200, UNAVAILABLE]
    assert "服务暂时不可用" in answers["/"].text
    assert answers["/readyz"].json()["parts"]["default"] == "down: OperationalError"
    fleet.database.start()
    wait_until(lambda: requests.get(f"{site}/readyz", timeout=10).ok, seconds=WITHIN_SECONDS, what="it is back")
