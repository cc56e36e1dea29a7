"""A crowd buys the last portions, over several real web processes on MariaDB."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles

import pytest
import requests
from django.db import connections

import menu.services
from orders.models import Order
from tests import factories
from tests.accounts.factories import customer, home_of
from tests.factories import Person, Stall, audit, stock
from tests.support.fleet import Fleet
from tests.support.load import Caller
from waimai.infra.sharding import shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]
SUITS_TWO_CORES, UNAVAILABLE = 200, 503
Answer = tuple[int, str, float]


def crowd_of(buyers: int, fleet: Fleet) -> list[Caller]:
    """So many customers at their telephones, dealt over the web processes."""
    people = [customer(f"137{number:08}", password=None) for number in range(buyers)]
    return [
        Caller(fleet.programs[number % 2].url, Person(user, home_of(user).id), timeout=120)
        for number, user in enumerate(people)
    ]


def rush(crowd: Sequence[Caller], stall: Stall, wanted: Sequence[Sequence[tuple[int, int]]], key: str) -> list[Answer]:
    """Everybody orders at the same moment, one after the other of what is wanted; (status, code, seconds) of each."""

    def buy(number: int) -> Answer:
        started = time.monotonic()
        try:
            answer = crowd[number].place(stall, *wanted[number % len(wanted)], key=key)
        except requests.ConnectionError:  # The kernel had no room for one more; the key makes it harmless to ask again.
            answer = crowd[number].place(stall, *wanted[number % len(wanted)], key=key)
        while answer.status_code == UNAVAILABLE:  # The line is full: come again, with the same key.
            time.sleep(float(answer.headers["Retry-After"]))
            answer = crowd[number].place(stall, *wanted[number % len(wanted)], key=key)
        body = answer.json()
        return answer.status_code, str(body.get("code") or body["status"]), time.monotonic() - started

    with ThreadPoolExecutor(len(crowd)) as pool:
        return list(pool.map(buy, range(len(crowd))))


def told(answers: Sequence[Answer]) -> Counter[tuple[int, str]]:
    return Counter((status, code) for status, code, _seconds in answers)


def deadlocks() -> int:
    """How many deadlocks this server has broken since its start."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        return int(cursor.fetchone()[1])


@pytest.mark.timeout(900)
def test_f24_a_crowd_buys_what_there_is_and_no_more(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    """With `--rounds=1000`: a thousand buyers of a hundred portions, twice."""
    buyers = request.config.getoption("rounds") or SUITS_TWO_CORES
    portions = buyers // 10 if buyers >= 1000 else buyers // 4
    stall = factories.stall()
    for dish in (stall.fish, stall.tofu, stall.rice):
        menu.services.set_stock(item_id=dish, available=portions)
    for _each in range(2):
        fleet.start("web")
    crowd = crowd_of(buyers, fleet)
    sold_out, sold = (409, "sold_out"), (201, "pending_payment")

    one_dish = rush(crowd, stall, [[(stall.fish, 1)]], "one-dish")
    assert told(one_dish) == {sold: portions, sold_out: buyers - portions}
    assert stock(stall.fish) == (0, portions, 0)

    tofu, rice = (stall.tofu, 1), (stall.rice, 1)
    opposite = rush(crowd, stall, [[tofu, rice], [rice, tofu]], "two-dishes")
    assert told(opposite) == {sold: portions, sold_out: buyers - portions}
    assert (stock(stall.tofu), stock(stall.rice)) == ((0, portions, 0), (0, portions, 0))

    standing = [Order.objects.on(alias).filter(status="pending_payment").count() for alias in shards()]
    assert sum(standing) == 2 * portions
    factories.settle()  # No events process runs here.
    assert audit() == []
    seconds = quantiles([answer[2] for answer in (*one_dish, *opposite)], n=100)
    print(
        f"{buyers} buyers of {portions}: median {seconds[49]:.2f} s, p99 {seconds[98]:.2f} s, {deadlocks()} deadlocks"
    )
