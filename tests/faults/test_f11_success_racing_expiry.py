"""The customer pays in the moment in which the order expires: it is paid, or cancelled and its money back, once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import menu.services
import payments.services
import payments.services.webhooks as webhooks
from payments.models import Payment
from payments.providers import sandbox_delivery
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    at_once,
    audit,
    changes_of,
    just_before,
    notice,
    order,
    overdue,
    payments_of,
    placed,
    receive,
    refunds_of,
    settle,
    start_payment,
    stock,
)
from waimai.infra import timers
from waimai.infra.clock import db_now
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data

# The three of a race start within so many seconds of each other: long enough for each to come first.
APART_SECONDS = 0.006
FEW_ROUNDS = 3
# How an order may end, and what then is of its money.
ENDS = {"paid": ("paid", []), "cancelled": ("refunded", [(FISH_TOTAL, "late", "succeeded")])}


@pytest.fixture(autouse=True)
def plenty_of_fish(stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5000)


@pytest.fixture(autouse=True)
def no_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens where the sandbox tells of its refunds: it needn't try ten times."""
    monkeypatch.setattr(sandbox_delivery, "PAUSES_SECONDS", ())


def at_the_till(who: Person, at: Stall, number: int) -> tuple[int, int]:
    """An order and its payment, both past their time, and nobody has noticed yet."""
    order_id = placed(who, at, key=f"k-{number}")
    payment_id = start_payment(order_id)
    overdue(order_id)
    Payment.objects.by_id(payment_id).update(expires_at=db_now(shard_of_id(order_id)))
    return order_id, payment_id


def end_of(order_id: int) -> str:
    """How an order ended; it is paid and keeps its money, or cancelled and gave it back exactly once."""
    row, refunds = order(order_id), refunds_of(order_id)
    end = str(row.status)
    assert (row.payment_status, refunds) == ENDS[end]
    assert payments_of(order_id) == ["captured"]
    changes = [transition for transition, _actor, _reason in changes_of(order_id)]
    assert changes.count("pay") + changes.count("expire") == 1, changes
    return end


def all_end_well(order_ids: list[int], at: Stall) -> Counter[str]:
    settle()
    ends = Counter(end_of(order_id) for order_id in order_ids)
    _available, held, sold = stock(at.fish)
    assert (held, sold) == (0, ends["paid"])
    assert audit() == []
    return ends


def test_f11_the_money_first(mei: Person, stall: Stall) -> None:
    orders = []
    for number in range(FEW_ROUNDS):
        order_id, payment_id = at_the_till(mei, stall, number)
        arrived = notice(payment_id)
        with just_before(timers, "_fire_inside", partial(receive, arrived)):
            timers.sweep(mei.shard)
        orders.append(order_id)
    assert all_end_well(orders, stall) == {"paid": FEW_ROUNDS}


def test_f11_the_clock_first(mei: Person, stall: Stall) -> None:
    orders = []
    for number in range(FEW_ROUNDS):
        order_id, payment_id = at_the_till(mei, stall, number)
        arrived = notice(payment_id)
        with just_before(webhooks, "run_atomic", partial(timers.sweep, mei.shard)):
            receive(arrived)
        orders.append(order_id)
    assert all_end_well(orders, stall) == {"cancelled": FEW_ROUNDS}


def test_f11_the_poller_closes_the_till_and_the_money_comes_all_the_same(mei: Person, stall: Stall) -> None:
    order_id, payment_id = at_the_till(mei, stall, 1)
    timers.sweep(mei.shard)
    payments.services.poll_payment(payment_id=payment_id, using=mei.shard)
    assert payments_of(order_id) == ["closed"]
    receive(notice(payment_id))
    assert all_end_well([order_id], stall) == {"cancelled": 1}


@pytest.mark.timeout(3600)  # A thousand rounds take minutes.
def test_f11_money_clock_and_poller_at_once(mei: Person, stall: Stall, rounds: int) -> None:
    orders, began = [], time.monotonic()
    for number in range(rounds):
        order_id, payment_id = at_the_till(mei, stall, number)
        answers = at_once(
            _soon(partial(_pay, payment_id)),
            _soon(partial(timers.sweep, mei.shard)),
            _soon(partial(payments.services.poll_payment, payment_id=payment_id, using=mei.shard)),
        )
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers
        orders.append(order_id)
    ends = all_end_well(orders, stall)
    print(f"\n{rounds} rounds in {time.monotonic() - began:.1f} s: {dict(ends)}")
    if rounds >= 200:
        assert min(ends["paid"], ends["cancelled"]) > rounds / 50, ends


def _pay(payment_id: int) -> None:
    receive(notice(payment_id))


def _soon(body: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        time.sleep(random.uniform(0, APART_SECONDS))
        return body()

    return run
