"""MariaDB killed (-9) in the middle of transactions: whole ones stand, half ones are gone, and we go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
import requests
from django.db import OperationalError, connections, transaction

from menu.models import Stock
from menu.services import set_stock
from orders.models import Cart
from orders.states import Status
from tests import factories
from tests.factories import Person, Stall
from tests.support.fleet import Fleet
from tests.support.load import Caller, Load
from tests.support.processes import wait_until

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

WITHIN_SECONDS = 60.0
# A killed server resets its connections at once.
ANSWERED_WITHIN_SECONDS = 5.0
THREADS = 16
UNAVAILABLE = 503


def test_f10_under_load(fleet: Fleet) -> None:
    stall, mei = factories.stall(), factories.person()
    near = factories.neighbour_of(mei, same_shard=False)
    fleet.start("events")
    web = fleet.start("web")
    with Load(web.url, [mei, near] * 3, stall, pay_every=3) as load:
        for _kill in range(2):
            seen = load.statuses()[201]
            wait_until(partial(_more_than, seen + 15, load), seconds=WITHIN_SECONDS, what="orders come")
            fleet.database.kill()
            _start_again(fleet)
    assert set(load.statuses()) <= {201, UNAVAILABLE}
    assert web.running
    wait_until(lambda: _ready(web.url), seconds=5, what="the pulse is felt")
    # Every thread has connections of before the crash: none of them shows it to a customer.
    answers = factories.at_once(*[_order(web.url, mei, stall, f"after-{n}") for n in range(2 * THREADS)])
    assert answers == [201] * 2 * THREADS
    assert (load.lost(), load.differing()) == ([], [])
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def test_f10_between_two_statements_of_a_transaction(fleet: Fleet) -> None:
    """Mei's whole order waits at its last statement (her cart), Tao's portion at its last (the stock)."""
    stall, mei = factories.stall(), factories.person()
    # On one shard Tao would wait for Mei's batch.
    tao = factories.neighbour_of(mei, same_shard=False)
    set_stock(item_id=stall.tofu, available=5)
    web = fleet.start("web")
    assert (
        Caller(web.url, mei)
        .post(f"shops/{stall.shop_id}/cart/lines/", {"item": stall.fish, "quantity": 1}, key="cart")
        .ok
    )
    wishes = [
        (mei, factories.wish(mei, stall, lines=...), "k-mei"),
        (tao, factories.wish(tao, stall, (stall.tofu, 2)), "k-tao"),
    ]
    with suppress(OperationalError), transaction.atomic(using=mei.shard), transaction.atomic(using="default"):
        Cart.objects.for_user(mei.id).select_for_update().get()
        Stock.objects.select_for_update().get(item_id=stall.tofu)
        asking = Asking(*[partial(_ask_for, web.url, *wish) for wish in wishes])
        wait_until(lambda: _waiting_for_locks(fleet) == 2, seconds=WITHIN_SECONDS, what="both stand half done")
        fleet.database.kill()
    assert asking.answers() == [UNAVAILABLE, UNAVAILABLE]
    _start_again(fleet)
    assert (factories.orders_of(mei), factories.keys_of(mei)) == ([], ["cart"])
    (placing,) = factories.orders_of(tao)
    assert (factories.history(placing), factories.stock(stall.tofu)) == ([Status.PLACING], (5, 0, 0))
    fleet.start("events")
    wait_until(lambda: _ready(web.url), seconds=WITHIN_SECONDS, what="the pulse is felt")
    wait_until(
        lambda: [_ask_for(web.url, *wish) for wish in wishes] == [201, 201], seconds=WITHIN_SECONDS, what="both have it"
    )
    assert (len(factories.orders_of(mei)), factories.orders_of(tao)) == (1, [placing])
    assert factories.stock(stall.tofu) == (3, 2, 0)
    wait_until(lambda: not factories.audit(), seconds=WITHIN_SECONDS, what="the audit is clean")


def _more_than(count: int, load: Load) -> bool:
    return load.statuses()[201] > count


def _start_again(fleet: Fleet) -> None:
    connections.close_all()  # The test's own, which are lost.
    fleet.database.start()


class Asking:
    """Requests under way, each in a thread of its own."""

    def __init__(self, *asks: Callable[[], int]) -> None:
        self._pool = ThreadPoolExecutor(len(asks))
        self._under_way = [self._pool.submit(ask) for ask in asks]

    def answers(self) -> list[int]:
        """What came, soon."""
        with self._pool:
            return [each.result(timeout=ANSWERED_WITHIN_SECONDS) for each in self._under_way]


def _waiting_for_locks(fleet: Fleet) -> int:
    time.sleep(0.2)  # MariaDB shows what it showed last to those who ask again within 0.1 s.
    sql = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return int(fleet.ask("default", sql)[0][0])


def _ask_for(url: str, person: Person, wish: dict[str, object], key: str) -> int:
    return Caller(url, person).post("orders/", wish, key=key).status_code


def _order(url: str, person: Person, stall: Stall, key: str) -> Callable[[], int]:
    return lambda: _ask_for(url, person, factories.wish(person, stall), key)


def _ready(url: str) -> bool:
    parts = requests.get(f"{url}/readyz", timeout=10).json()["parts"]
    return bool(parts["orders_1"] == "ok")
