"""Two hundred sagas at once, their steps repeated, undone twice, undone before they ran, and out of order."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from django.db import connections

import menu.services
from menu.models import StockHold
from orders import compensation, saga, services, timing
from orders.errors import InvalidTransition
from orders.models import Order, Saga
from orders.states import Reason, Status
from tests.factories import Person, Stall, audit, crash_before, order, orders_of, place, saga_due, settle
from waimai.infra import ids
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.sharding import shard_of_id

pytestmark = [pytest.mark.data, pytest.mark.slow]

THREADS = 8
SAGAS = 200
ORDERS = 48
SEED = 17
HOLD, SELL, UNDO = "hold", "sell", "undo"
# What arrives of one saga: each inner list comes from one sender, in its order; the lists cross each other.
MIXED_UP = {
    "repeated": [[HOLD], [HOLD], [HOLD]],
    "undone twice": [[HOLD, UNDO], [UNDO]],
    "undone and never done": [[UNDO], [UNDO]],
    "done after it was undone": [[UNDO, HOLD]],
    "in any order": [[HOLD], [SELL], [UNDO], [HOLD]],
}


class Senders:
    """Many senders at once, who send again what a busy database refused."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def send(self, scripts: list[list[Callable[[], object]]]) -> None:
        """Send each script's calls in their order, all scripts across each other."""
        random.Random(SEED).shuffle(scripts)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._one, scripts))
            list(pool.map(lambda _number: connections.close_all(), range(THREADS * 4)))

    def _one(self, calls: list[Callable[[], object]]) -> None:
        for call in calls:
            try:
                self._until_it_goes_through(call)
            except Exception as error:
                self.errors.append(error)

    def _until_it_goes_through(self, call: Callable[[], object]) -> None:
        for _again in range(5):
            with suppress(ServiceUnavailable):
                call()
                return
        call()


def step(name: str, order_id: int, demands: dict[int, int]) -> Callable[[], object]:
    if name == HOLD:
        return partial(menu.services.hold_stock, order_id=order_id, demands=demands)
    sell_or_undo = menu.services.confirm_stock if name == SELL else menu.services.release_stock
    return partial(sell_or_undo, order_ids=[order_id])


def run_mixed_up(stall: Stall) -> tuple[list[int], list[str]]:
    """Run all sagas; those whose portions are wrong afterwards, and what is wrong with the counters."""
    dishes = [stall.fish, stall.tofu, stall.rice]
    for dish in dishes:
        menu.services.set_stock(item_id=dish, available=1000)
    kinds = {ids.new_id(number): kind for number, kind in zip(range(SAGAS), list(MIXED_UP) * SAGAS, strict=False)}
    scripts = [
        [step(name, order_id, dict.fromkeys(random.Random(order_id).sample(dishes, 2), 1)) for name in script]
        for order_id, kind in kinds.items()
        for script in MIXED_UP[kind]
    ]
    senders = Senders()
    senders.send(scripts)
    held = menu.services.holds_of(kinds)
    wrong = [
        order_id
        for order_id, kind in kinds.items()
        if [hold.state for hold in held.get(order_id, []) if hold.state != StockHold.State.RELEASED]
        != (["live", "live"] if kind == "repeated" else [])
    ]
    return wrong, [*menu.services.stock_problems(), *map(repr, senders.errors)]


def test_two_hundred_sagas_in_any_order_come_out_right(stall: Stall) -> None:
    assert run_mixed_up(stall) == ([], [])


def test_without_the_barrier_many_come_out_wrong(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above can see: at least every step that came after its undo holds portions for ever."""
    monkeypatch.setattr("menu.stock.with_barrier", lambda *, body, **_names: body())
    monkeypatch.setattr("menu.stock.undo_many", lambda **_names: None)
    wrong, _problems = run_mixed_up(stall)
    assert len(wrong) >= SAGAS // len(MIXED_UP)


def unfinished(who: Person, at: Stall, number: int) -> int:
    """An order whose request died after writing it down."""
    with crash_before(saga, "reserve"):
        place(who, at, (at.fish, 1), (at.tofu, 1), key=f"k-{number}")
    return orders_of(who)[-1]


def rivals(order_id: int, owner: Person, demands: dict[int, int]) -> list[list[Callable[[], object]]]:
    """Everybody who may work on one order at the same moment."""
    using = shard_of_id(order_id)
    reserve = partial(saga.reserve, order_id, demands)
    give_up = partial(saga._give_up, order_id, saga.FIRST_VERSION, Reason.NOT_FINISHED, sold_out=[])
    stock = partial(compensation.go_on, [order_id], using=using)
    recover: list[Callable[[], object]] = [partial(saga_due, order_id), partial(saga.recover, using)]
    return [
        [reserve, stock],
        [give_up],
        recover,
        [partial(cancel, order_id, owner)],
        [partial(expire, order_id), stock],
    ]


def cancel(order_id: int, owner: Person) -> None:
    if order_id % 3 == 0:
        with suppress(InvalidTransition):
            services.cancel(order_id=order_id, user_id=owner.id)


def expire(order_id: int) -> None:
    if order_id % 3 == 1:
        timing.expire_now([order_id], using=shard_of_id(order_id))


def test_orders_that_everybody_works_on_at_once_come_out_right(mei: Person, tao: Person, stall: Stall) -> None:
    for dish in (stall.fish, stall.tofu):
        menu.services.set_stock(item_id=dish, available=ORDERS // 2)
    made = {unfinished(who, stall, number): who for number in range(ORDERS // 2) for who in (mei, tao)}
    senders = Senders()
    demands = {stall.fish: 1, stall.tofu: 1}
    senders.send([script for order_id, who in made.items() for script in rivals(order_id, who, demands)])
    assert senders.errors == []
    for order_id in made:
        Saga.objects.by_id(order_id).filter(next_at__isnull=False).update(
            next_at=Order.objects.by_id(order_id).get().placed_at
        )
    for who in (mei, tao):
        saga.recover(who.shard)
    settle()
    assert {order(order_id).status for order_id in made} <= {Status.PENDING_PAYMENT, Status.CANCELLED}
    open_orders = sum(order(order_id).status == Status.PENDING_PAYMENT for order_id in made)
    assert menu.services.stock_of([stall.fish])[stall.fish].held == open_orders
    assert audit() == []
