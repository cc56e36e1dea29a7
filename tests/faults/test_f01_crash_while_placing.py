"""The web process dies at each crash point of placing an order; asked again with the same key, there is one order."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

import menu.services
from orders.models import Order, Saga
from tests import factories
from tests.factories import Person, Stall
from tests.support.fleet import Fleet, Program
from tests.support.load import Caller
from tests.support.processes import wait_until
from waimai.infra import crashpoints
from waimai.infra.clock import db_now
from waimai.infra.sharding import shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

POINTS = [name for name in crashpoints.names() if name.startswith(("place.", "stock.hold."))]
STARTED_AT_ONCE = 4
IN_STOCK, TOO_MANY = 60, 90
Wanted = tuple[int, int]


def test_f01_a_crash_while_placing_loses_and_doubles_nothing(fleet: Fleet) -> None:
    mei, stall = factories.person(), factories.stall()
    menu.services.set_stock(item_id=stall.fish, available=IN_STOCK)
    fleet.start("events")
    with ThreadPoolExecutor(STARTED_AT_ONCE) as pool:
        webs = list(pool.map(lambda name: fleet.start("web", CRASH_AT=name), POINTS))
    asked: dict[str, Wanted] = {}
    answered: dict[str, int] = {}
    for name, web in zip(POINTS, webs, strict=True):
        ask_until_it_dies(name, web, mei, stall, asked, answered)
        assert web.wait_until_dead() == -signal.SIGKILL, name

    webs[0].start(CRASH_AT="")
    webs[0].wait_until_ready()
    for alias in shards():
        Saga.objects.on(alias).filter(next_at__isnull=False).update(next_at=db_now(alias))
    caller = Caller(webs[0].url, mei)
    outcomes = {key: outcome(caller, stall, wanted, key) for key, wanted in asked.items()}

    assert all(
        status == (201 if wanted[1] == 1 else 409)
        for (status, _), wanted in zip(outcomes.values(), asked.values(), strict=True)
    )
    assert answered == {key: outcomes[key][1]["id"] for key in answered}
    assert outcomes == {key: outcome(caller, stall, wanted, key) for key, wanted in asked.items()}
    assert len(factories.orders_of(mei)) == len(factories.keys_of(mei)) == len(asked)
    wait_until(lambda: factories.audit() == [], seconds=30, what="the audit is clean")
    bought = Order.objects.for_user(mei.id).filter(status="pending_payment").count()
    assert factories.stock(stall.fish) == (IN_STOCK - bought, bought, 0)


def ask_until_it_dies(
    name: str, web: Program, who: Person, at: Stall, asked: dict[str, Wanted], answered: dict[str, int]
) -> None:
    """One fish; and where that doesn't pass the point, more fish than there is."""
    caller = Caller(web.url, who)
    for count in (1, TOO_MANY):
        key = f"{name}-{count}"
        asked[key] = (at.fish, count)
        try:
            answered[key] = caller.place(at, asked[key], key=key).json()["id"]
        except requests.ConnectionError:
            return
    raise AssertionError(f"{name} was not passed")


def outcome(caller: Caller, at: Stall, wanted: Wanted, key: str) -> tuple[int, dict[str, Any]]:
    """What the system says in the end about a key: status and body."""

    answers: list[requests.Response] = []

    def known() -> bool:
        answers.append(caller.place(at, wanted, key=key))
        return bool(answers[-1].json().get("code") != "request_in_progress")

    wait_until(known, seconds=30, what=f"{key} is known")
    return answers[-1].status_code, answers[-1].json()
