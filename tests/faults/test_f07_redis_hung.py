"""Redis hung (SIGSTOP): it accepts connections and says nothing. Nothing that people do may wait for it."""

from __future__ import annotations

import time

import pytest
import requests
from django.conf import settings

from orders.desk.models import DeskOrder
from orders.states import Status
from tests import factories
from tests.factories import Person, Stall
from tests.support.fleet import Fleet
from tests.support.instances import seconds_of
from tests.support.load import Caller, Load
from tests.support.processes import wait_until
from tests.support.source import ROOT

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

HUNG_SECONDS = 5
ORDER_WITHIN_SECONDS = 1.0
# Six counters of 0.1 s each would be a login's share, were a cache that hangs not left alone.
LOGIN_MAY_WAIT_SECONDS = 0.45
WITHIN_SECONDS = 40.0


def test_f07_nothing_that_people_do_waits_for_redis(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    lan, near = factories.works_at(stall.shop_id, "manager", "lan"), factories.neighbour_of(mei, same_shard=False)
    fleet.start("events")
    # The limiter asks Redis about every request; its buckets are too large to be emptied.
    large = {f"WAIMAI_RATE_{name.upper()}": "100000/100000" for name in settings.WAIMAI_RATES}
    url = fleet.start("web", root=ROOT, WAIMAI_RATELIMIT="1", **large).url
    late = factories.placed(mei, stall, key="late")
    login_as_ever = min(seconds_of(lambda: _log_in(url, "wrong_credentials")) for _ in range(3))
    with Load(url, [mei, near], stall, pause_seconds=0.05, pay_every=4) as load:
        wait_until(lambda: load.statuses()[201] >= 10, seconds=WITHIN_SECONDS, what="orders are placed")
        known_to_the_desk = DeskOrder.objects.count()
        hung_at = time.monotonic()
        fleet.redis.hang()
        factories.overdue(late)
        # Nobody could count guesses: logins are refused, and don't wait for it either.
        refused = min(seconds_of(lambda: _log_in(url, "service_unavailable")) for _ in range(3))
        assert refused < login_as_ever * 2 + LOGIN_MAY_WAIT_SECONDS
        _every_door_is_open(url, mei, lan, stall)
        wait_until(lambda: DeskOrder.objects.count() > known_to_the_desk, seconds=WITHIN_SECONDS, what="news is heard")
        wait_until(lambda: factories.order(late).status == Status.CANCELLED, seconds=WITHIN_SECONDS, what="time is up")
        time.sleep(max(0.0, hung_at + HUNG_SECONDS - time.monotonic()))
        back_at = time.monotonic()
        fleet.redis.go_on()
    assert set(load.statuses()) == {201}
    # A busy machine is no fault of Redis.
    bound = max(ORDER_WITHIN_SECONDS, 3 * load.slowest(1, until=hung_at))
    assert load.slowest(since=hung_at, until=back_at) < bound
    assert (load.lost(), load.differing()) == ([], [])
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def _every_door_is_open(url: str, mei: Person, lan: Person, stall: Stall) -> None:
    customer, manager = Caller(url, mei), Caller(url, lan)
    for page in ("/", f"/shops/{stall.shop_id}/", "/login/", "/healthz"):
        assert requests.get(url + page, timeout=10).status_code == 200, page
    assert customer.get(f"shops/{stall.shop_id}/menu/").status_code == 200
    lines = f"shops/{stall.shop_id}/cart/lines/"
    assert customer.post(lines, {"item": stall.fish, "quantity": 1}, key="into-the-cart").ok
    order_id = customer.place(stall, key="hungry").json()["id"]
    assert customer.pay(order_id).ok
    wait_until(lambda: factories.order(order_id).status == Status.PAID, seconds=WITHIN_SECONDS, what="it is paid")
    for step in ("accept", "deliver", "complete"):
        assert manager.post(f"staff/orders/{order_id}/{step}/").ok, step
    parts = requests.get(f"{url}/readyz", timeout=10).json()["parts"]
    assert (parts["default"], parts["cache"], parts["broker"]) == ("ok", "down: TimeoutError", "down: OperationalError")


def _log_in(url: str, code: str) -> None:
    body = {"username": "nobody-of-this-name", "password": "a-guess"}
    answer = requests.post(f"{url}/api/v1/auth/staff/login/", json=body, timeout=10)
    assert answer.json()["code"] == code
