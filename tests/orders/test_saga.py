from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

import menu.services
from menu.services import SoldOut
from orders import changes, compensation, placing, saga, services
from orders.errors import PlacingFailed
from orders.models import Saga
from orders.states import Reason
from tests import factories
from tests.factories import (
    Person,
    Stall,
    at_once,
    audit,
    capture,
    changes_of,
    crash_before,
    history,
    just_before,
    nothing_stored,
    order,
    orders_of,
    paid,
    place,
    placed,
    saga_due,
    saga_of,
    settle,
    start_payment,
    stock,
)
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import RequestInProgress
from waimai.infra.models import Barrier

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def ten_fish(stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=10)


def crashed_after_t0(who: Person, at: Stall) -> int:
    """The process died between writing the order down and holding its portions."""
    with crash_before(saga, "reserve"):
        place(who, at)
    return orders_of(who)[-1]


def crashed_after_t1(who: Person, at: Stall) -> int:
    """The process died between holding the portions and opening the order for payment."""
    with crash_before(saga, "_open_for_payment"):
        place(who, at)
    return orders_of(who)[-1]


def recover(order_id: int, who: Person) -> int:
    saga_due(order_id)
    return saga.recover(who.shard)


def fails(error: Exception) -> Callable[..., None]:
    """A step that never works."""

    def body(**kwargs: Any) -> None:
        raise error

    return body


# --- crashes ---


def test_a_crash_in_the_first_transaction_leaves_nothing(mei: Person, stall: Stall) -> None:
    with crash_before(changes, "record"):
        place(mei, stall)
    assert nothing_stored(mei)
    assert stock(stall.fish) == (10, 0, 0)


def test_a_crash_after_the_first_transaction_leaves_an_order_being_placed(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    row = saga_of(order_id)
    assert (order(order_id).status, row.state, row.step) == ("placing", "running", "reserve")
    assert timedelta(seconds=3) < (row.next_at or db_now(mei.shard)) - db_now(mei.shard) <= timedelta(seconds=5)
    assert stock(stall.fish) == (10, 0, 0)


def test_recovery_finishes_it(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    assert recover(order_id, mei) == 1
    assert history(order_id) == ["placing", "pending_payment"]
    assert stock(stall.fish) == (9, 1, 0)
    assert (saga_of(order_id).step, saga_of(order_id).next_at, saga_of(order_id).attempts) == ("charge", None, 0)
    assert audit() == []


def test_recovery_leaves_alone_what_is_not_due(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    assert saga.recover(mei.shard) == 0
    assert order(order_id).status == "placing"


def test_a_crash_after_the_hold_is_finished_without_holding_twice(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t1(mei, stall)
    assert (order(order_id).status, stock(stall.fish)) == ("placing", (9, 1, 0))
    recover(order_id, mei)
    assert (order(order_id).status, stock(stall.fish)) == ("pending_payment", (9, 1, 0))
    assert audit() == []


def test_a_crash_before_the_answer_is_answered_to_the_next_try(mei: Person, stall: Stall) -> None:
    with crash_before(placing, "_answer"):
        place(mei, stall)
    again = place(mei, stall)
    assert again.replayed
    assert orders_of(mei) == [again.order_id]
    assert stock(stall.fish) == (9, 1, 0)


def test_while_it_hangs_the_same_key_is_told_to_wait(mei: Person, stall: Stall) -> None:
    crashed_after_t0(mei, stall)
    with pytest.raises(RequestInProgress):
        place(mei, stall)


def test_recovery_finds_the_portions_gone(mei: Person, tao: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    placed(tao, stall, (stall.fish, 10))
    recover(order_id, mei)
    assert changes_of(order_id)[-1] == ("give_up", "system", "sold_out")
    assert order(order_id).sold_out == [{"id": stall.fish, "name": "酸菜鱼", "available": 0}]
    assert stock(stall.fish) == (0, 10, 0)
    with pytest.raises(SoldOut) as refusal:
        place(mei, stall)
    assert refusal.value.replayed
    assert audit() == []


def test_recovery_holds_the_dishes_of_a_set_meal(mei: Person, stall: Stall) -> None:
    from menu.models import Item, Shop
    from tests.menu.factories import make_set_meal

    dishes = [(Item.objects.get(pk=stall.fish), 2), (Item.objects.get(pk=stall.rice), 1)]
    meal = make_set_meal(Shop.objects.get(pk=stall.shop_id), dishes)
    with crash_before(saga, "reserve"):
        place(mei, stall, (meal.pk, 3))
    (order_id,) = orders_of(mei)
    recover(order_id, mei)
    assert stock(stall.fish) == (4, 6, 0)


def test_a_crash_after_the_payment_is_finished(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    with crash_before(compensation, "go_on"):
        capture(payment_id)
    assert (order(order_id).status, stock(stall.fish)) == ("paid", (9, 1, 0))
    recover(order_id, mei)
    assert (saga_of(order_id).state, stock(stall.fish)) == ("done", (9, 0, 1))
    settle()
    assert audit() == []


def test_a_crash_after_the_cancellation_is_finished(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    with crash_before(compensation, "go_on"):
        services.cancel(order_id=order_id, user_id=mei.id)
    assert (order(order_id).status, stock(stall.fish)) == ("cancelled", (9, 1, 0))
    recover(order_id, mei)
    assert (saga_of(order_id).state, stock(stall.fish)) == ("compensated", (10, 0, 0))


def test_a_crash_between_the_release_and_its_note_releases_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    with crash_before(compensation, "_finish"):
        services.cancel(order_id=order_id, user_id=mei.id)
    assert stock(stall.fish) == (10, 0, 0)
    recover(order_id, mei)
    assert (saga_of(order_id).state, stock(stall.fish)) == ("compensated", (10, 0, 0))


# --- two at once ---


def test_recovery_overtakes_the_request(mei: Person, stall: Stall) -> None:
    def overtake() -> None:
        recover(orders_of(mei)[0], mei)

    with just_before(saga, "_open_for_payment", overtake):
        order_id = placed(mei, stall)
    assert history(order_id) == ["placing", "pending_payment"]
    assert stock(stall.fish) == (9, 1, 0)


def test_recovery_finds_portions_after_the_request_found_none(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=0)

    def more_fish() -> None:
        menu.services.set_stock(item_id=stall.fish, available=3)
        recover(orders_of(mei)[0], mei)

    with just_before(saga, "_give_up", more_fish):
        order_id = placed(mei, stall)
    assert (order(order_id).status, stock(stall.fish)) == ("pending_payment", (2, 1, 0))
    assert order(order_id).sold_out is None
    assert audit() == []


def test_a_hold_that_crosses_its_cancellation_goes_back(mei: Person, stall: Stall) -> None:
    """Another process gave the order up while ours was holding its portions."""

    def give_up() -> None:
        missing = [{"id": stall.fish, "name": "酸菜鱼", "available": 0}]
        saga._give_up(orders_of(mei)[0], saga.FIRST_VERSION, Reason.SOLD_OUT, sold_out=missing)

    with just_before(saga, "_open_for_payment", give_up), pytest.raises(SoldOut):
        place(mei, stall)
    (order_id,) = orders_of(mei)
    assert (order(order_id).status, stock(stall.fish)) == ("cancelled", (10, 0, 0))
    assert audit() == []


def test_a_hold_that_comes_after_its_release_finds_the_door_shut(mei: Person, stall: Stall) -> None:
    def give_up() -> None:
        saga._give_up(orders_of(mei)[0], saga.FIRST_VERSION, Reason.NOT_FINISHED, sold_out=[])

    with just_before(menu.services, "hold_stock", give_up), pytest.raises(PlacingFailed):
        place(mei, stall)
    (order_id,) = orders_of(mei)
    assert (order(order_id).status, stock(stall.fish)) == ("cancelled", (10, 0, 0))
    rows = Barrier.objects.on("default").filter(saga_id=order_id).values_list("op", "reason")
    assert sorted(rows) == [("do", "undo"), ("undo", "undo")]


def test_four_recoveries_at_once_take_up_each_saga_once(mei: Person, stall: Stall) -> None:
    for number in range(6):
        with crash_before(saga, "reserve"):
            place(mei, stall, key=f"k-{number}")
    hanging = orders_of(mei)
    for order_id in hanging:
        saga_due(order_id)
    taken = at_once(*[partial(saga.recover, mei.shard)] * 4)
    assert sum(count for count in taken if isinstance(count, int)) == 6
    assert [order(order_id).status for order_id in hanging] == ["pending_payment"] * 6
    assert stock(stall.fish) == (4, 6, 0)


def test_who_lost_the_lease_notes_nothing(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    row = saga_of(order_id)
    Saga.objects.by_id(order_id).update(version=row.version + 1)
    saga._note_failure(row, ValueError("late"), mei.shard)
    assert saga_of(order_id).error == ""


def test_a_request_that_lost_its_saga_gives_up_nothing(mei: Person, stall: Stall) -> None:
    """It found too few, and stood still; recovery has claimed the saga since and holds portions that came back."""
    menu.services.set_stock(item_id=stall.fish, available=0)

    def recovery_holds() -> None:
        menu.services.set_stock(item_id=stall.fish, available=3)
        saga_due(orders_of(mei)[0])
        with crash_before(saga, "_open_for_payment"):
            saga.recover(mei.shard)

    with just_before(saga, "_give_up", recovery_holds), pytest.raises(RequestInProgress):
        place(mei, stall)
    (order_id,) = orders_of(mei)
    assert (order(order_id).status, stock(stall.fish)) == ("placing", (2, 1, 0))
    recover(order_id, mei)
    assert (order(order_id).status, stock(stall.fish)) == ("pending_payment", (2, 1, 0))
    assert audit() == []


def test_who_lost_the_lease_gives_up_nothing_after_its_tenth_failure(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    Saga.objects.by_id(order_id).update(attempts=10)
    stale = saga_of(order_id)
    Saga.objects.by_id(order_id).update(version=stale.version + 1)
    saga._note_failure(stale, ValueError("late"), mei.shard)
    assert (order(order_id).status, saga_of(order_id).error) == ("placing", "")
    recover(order_id, mei)
    assert (order(order_id).status, stock(stall.fish)) == ("pending_payment", (9, 1, 0))


def test_a_failure_that_is_noted_late_does_not_undo_progress(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    saga_due(order_id)
    (stale,) = run_atomic(mei.shard, lambda: saga._claim(mei.shard))
    recover(order_id, mei)
    done = saga_of(order_id)
    saga._note_failure(stale, ValueError("late"), mei.shard)
    after = saga_of(order_id)
    assert (after.step, after.next_at, after.error, after.version) == ("charge", None, "", done.version)


def test_rows_whose_lease_ended_while_they_waited_are_left_alone(mei: Person, stall: Stall) -> None:
    for key in ("k-1", "k-2"):
        with crash_before(saga, "reserve"):
            place(mei, stall, key=key)
    first, second = orders_of(mei)
    for order_id in (first, second):
        saga_due(order_id)
    begun: list[int] = []
    go_on = saga._go_on

    def slow(row: Saga, using: str) -> None:
        begun.append(row.order_id)
        if len(begun) == 1:  # It takes longer than the lease: another takes both up.
            for order_id in (first, second):
                recover(order_id, mei)
        go_on(row, using)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saga, "_go_on", slow)
        saga.recover(mei.shard)
    assert sorted(begun) == sorted([first, first, second])
    assert stock(stall.fish) == (8, 2, 0)
    assert audit() == []


def test_a_claim_is_a_lease(mei: Person, stall: Stall) -> None:
    order_id = crashed_after_t0(mei, stall)
    seen: list[int] = []
    saga_due(order_id)
    with just_before(saga, "_go_on", lambda: seen.append(saga.recover(mei.shard))):
        saga.recover(mei.shard)
    assert seen == [0]


# --- failures ---


def test_a_step_that_fails_is_tried_again_later(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = crashed_after_t0(mei, stall)
    monkeypatch.setattr(menu.services, "hold_stock", fails(ValueError("no kitchen")))
    recover(order_id, mei)
    row = saga_of(order_id)
    assert (row.state, row.attempts, row.error) == ("running", 1, "ValueError('no kitchen')")
    assert row.next_at is not None
    assert timedelta(seconds=0) < row.next_at - db_now(mei.shard) <= timedelta(seconds=2)


def test_an_order_that_can_not_be_placed_is_given_up_after_ten_tries(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = crashed_after_t0(mei, stall)
    monkeypatch.setattr(menu.services, "hold_stock", fails(ValueError("no kitchen")))
    for _ in range(10):
        recover(order_id, mei)
    assert factories.changes_of(order_id)[-1] == ("give_up", "system", "not_finished")
    assert (saga_of(order_id).state, stock(stall.fish)) == ("compensated", (10, 0, 0))
    with pytest.raises(PlacingFailed) as replay:
        place(mei, stall)
    assert replay.value.replayed
    assert audit() == []


def test_after_ten_tries_behind_the_charge_it_waits_for_a_person(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(menu.services, "confirm_stock", fails(ValueError("no kitchen")))
    order_id = factories.paid(mei, stall)
    for _ in range(10):
        recover(order_id, mei)
    assert (saga_of(order_id).state, saga_of(order_id).next_at) == ("stuck", None)
    assert recover(order_id, mei) == 0
    assert any(f"I9 saga of order {order_id}: stuck at confirm" in line for line in audit())
    alarm = f"saga of order {order_id} is stuck at confirm after 10 tries: ValueError('no kitchen')"
    assert [(line.levelname, line.message) for line in caplog.records if "stuck" in line.message] == [("ERROR", alarm)]


def test_a_database_that_is_down_never_gets_a_saga_stuck(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = crashed_after_t0(mei, stall)
    with monkeypatch.context() as patch:
        patch.setattr(menu.services, "hold_stock", fails(OperationalError("gone away")))
        for _ in range(15):
            recover(order_id, mei)
    assert saga_of(order_id).state == "running"
    recover(order_id, mei)
    assert order(order_id).status == "pending_payment"


def test_a_database_that_was_down_for_long_counts_no_try_and_makes_nobody_wait(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = crashed_after_t0(mei, stall)
    with monkeypatch.context() as patch:
        patch.setattr(menu.services, "hold_stock", fails(OperationalError("gone away")))
        for _ in range(12):
            recover(order_id, mei)
        row = saga_of(order_id)
        assert row.next_at is not None
        assert row.next_at - db_now(mei.shard) <= timedelta(seconds=2)
        patch.setattr(menu.services, "hold_stock", fails(ValueError("no kitchen")))
        recover(order_id, mei)
    assert (order(order_id).status, saga_of(order_id).attempts) == ("placing", 1)
    recover(order_id, mei)
    assert order(order_id).status == "pending_payment"


def test_one_bad_saga_holds_up_no_other(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = crashed_after_t0(mei, stall)
    with crash_before(saga, "reserve"):
        place(mei, stall, key="k-2")
    good = orders_of(mei)[-1]
    hold = menu.services.hold_stock

    def picky(*, order_id: int, demands: dict[int, int]) -> None:
        if order_id == bad:
            raise ValueError("no kitchen")
        hold(order_id=order_id, demands=demands)

    monkeypatch.setattr(menu.services, "hold_stock", picky)
    saga_due(bad)
    recover(good, mei)
    assert (order(bad).status, order(good).status) == ("placing", "pending_payment")


def test_an_order_of_nothing_limited_has_no_stock_to_see_to(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall, (stall.tofu, 2))
    assert (saga_of(order_id).state, saga_of(order_id).next_at) == ("done", None)


def test_portions_of_a_paid_order_are_sold(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall, (stall.fish, 2))
    assert stock(stall.fish) == (8, 0, 2)
    assert saga_of(order_id).state == "done"
