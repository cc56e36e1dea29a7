"""Payment, expiry, cancellation and the shop meet on one order: whoever comes first wins, and no money is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import menu.services
from orders import services
from orders.errors import InvalidTransition
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    at_once,
    audit,
    history,
    just_before,
    notice,
    order,
    overdue,
    paid,
    placed,
    receive,
    refunds_of,
    settle,
    start_payment,
    stock,
    sweep,
)
from waimai.infra import timers

pytestmark = pytest.mark.data
ROUNDS = 8


@pytest.fixture(autouse=True)
def ninety_nine_fish(stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=99)


def ends_well(order_id: int, at: Stall) -> None:
    """The order is paid and keeps its money and portions, or cancelled and gave both back, once."""
    settle()
    row = order(order_id)
    refunds = [(amount, status) for amount, _, status in refunds_of(order_id)]
    if row.status == "paid":
        assert (row.payment_status, refunds) == ("paid", [])
        assert stock(at.fish)[1] == 0
    else:
        assert (row.status, row.payment_status, refunds) == ("cancelled", "refunded", [(FISH_TOTAL, "succeeded")])
    assert len(history(order_id)) == len(set(history(order_id)))
    assert audit() == []


def went(order_id: int) -> list[str]:
    """The states of an order since it could be paid."""
    return [state for state in history(order_id) if state != "placing"]


def refused_properly(answers: list[Any]) -> bool:
    return all(isinstance(one, InvalidTransition) for one in answers if isinstance(one, Exception))


def test_the_money_comes_just_before_the_clock(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    arrived = notice(start_payment(order_id))
    overdue(order_id)
    with just_before(timers, "_fire_inside", lambda: receive(arrived)):
        sweep()
    assert went(order_id) == ["pending_payment", "paid"]
    ends_well(order_id, stall)


def test_the_clock_comes_just_before_the_money(mei: Person, stall: Stall) -> None:
    import payments.services.webhooks as webhooks

    order_id = placed(mei, stall)
    arrived = notice(start_payment(order_id))
    overdue(order_id)
    with just_before(webhooks, "run_atomic", lambda: timers.sweep(mei.shard)):
        receive(arrived)
    assert went(order_id) == ["pending_payment", "cancelled"]
    ends_well(order_id, stall)


def test_the_cancellation_comes_just_before_the_money(mei: Person, stall: Stall) -> None:
    import payments.services.webhooks as webhooks

    order_id = placed(mei, stall)
    arrived = notice(start_payment(order_id))
    cancel = partial(services.cancel, order_id=order_id, user_id=mei.id)
    with just_before(webhooks, "run_atomic", cancel):
        receive(arrived)
    assert went(order_id) == ["pending_payment", "cancelled"]
    ends_well(order_id, stall)


def test_the_money_comes_just_before_the_cancellation(mei: Person, stall: Stall) -> None:
    from orders import lifecycle

    order_id = placed(mei, stall)
    arrived = notice(start_payment(order_id))
    with just_before(lifecycle, "_move", lambda: receive(arrived)):
        services.cancel(order_id=order_id, user_id=mei.id)
    assert went(order_id) == ["pending_payment", "paid", "cancelled"]
    ends_well(order_id, stall)


def race(who: Person, at: Stall, rivals: Callable[[int], list[Callable[[], Any]]]) -> set[str]:
    """Run the rivals on a fresh order at once, some rounds; returns how the orders ended."""
    ends = set()
    for number in range(ROUNDS):
        order_id = placed(who, at, key=f"k-{number}")
        answers = at_once(*rivals(order_id))
        assert refused_properly(answers), answers
        ends_well(order_id, at)
        ends.add(order(order_id).status)
    return ends


def test_money_against_the_clock(mei: Person, stall: Stall) -> None:
    def rivals(order_id: int) -> list[Callable[[], Any]]:
        arrived = notice(start_payment(order_id))
        overdue(order_id)
        return [partial(receive, arrived), partial(timers.sweep, mei.shard)]

    assert race(mei, stall, rivals) <= {"paid", "cancelled"}


def test_money_against_the_customer(mei: Person, stall: Stall) -> None:
    def rivals(order_id: int) -> list[Callable[[], Any]]:
        arrived = notice(start_payment(order_id))
        return [partial(receive, arrived), partial(services.cancel, order_id=order_id, user_id=mei.id)]

    assert race(mei, stall, rivals) == {"cancelled"}


def test_money_the_clock_the_customer_and_a_reader(mei: Person, stall: Stall) -> None:
    def rivals(order_id: int) -> list[Callable[[], Any]]:
        arrived = notice(start_payment(order_id))
        overdue(order_id)
        return [
            partial(receive, arrived),
            partial(receive, arrived),
            partial(timers.sweep, mei.shard),
            partial(services.cancel, order_id=order_id, user_id=mei.id),
            partial(services.get_order, order_id=order_id, user_id=mei.id),
        ]

    assert race(mei, stall, rivals) <= {"paid", "cancelled"}


def test_ten_notices_at_once_pay_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    arrived = notice(start_payment(order_id))
    answers = at_once(*[partial(receive, arrived)] * 10)
    assert answers == [None] * 10
    assert went(order_id) == ["pending_payment", "paid"]
    ends_well(order_id, stall)


def test_two_payments_at_once_one_pays_and_one_goes_back(mei: Person, stall: Stall) -> None:
    for number in range(4):
        order_id = placed(mei, stall, key=f"k-{number}")
        arrived = [notice(start_payment(order_id, key=f"p-{number}-{n}")) for n in (1, 2)]
        assert at_once(*[partial(receive, one) for one in arrived]) == [None, None]
        settle()
        assert (order(order_id).status, order(order_id).payment_status) == ("paid", "paid")
        assert refunds_of(order_id) == [(FISH_TOTAL, "duplicate", "succeeded")]
    assert audit() == []


def test_the_shop_accepts_while_the_customer_cancels(mei: Person, stall: Stall, lan: Person) -> None:
    ends = set()
    for number in range(ROUNDS):
        order_id = paid(mei, stall, key=f"k-{number}")
        answers = at_once(
            partial(services.accept, order_id=order_id, staff_id=lan.id),
            partial(services.cancel, order_id=order_id, user_id=mei.id),
        )
        assert [isinstance(one, InvalidTransition) for one in answers].count(True) == 1, answers
        settle()
        ends.add(order(order_id).status)
        assert len(refunds_of(order_id)) == (order(order_id).status == "cancelled")
    assert ends <= {"accepted", "cancelled"}
    assert audit() == []


def test_the_customer_presses_cancel_eight_times(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    answers = at_once(*[partial(services.cancel, order_id=order_id, user_id=mei.id)] * 8)
    assert [isinstance(one, InvalidTransition) for one in answers].count(True) == 7
    ends_well(order_id, stall)


def test_everybody_in_the_kitchen_presses_accept(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    answers = at_once(*[partial(services.accept, order_id=order_id, staff_id=lan.id)] * 6)
    assert [isinstance(one, InvalidTransition) for one in answers].count(True) == 5
    assert went(order_id) == ["pending_payment", "paid", "accepted"]


def test_the_key_of_a_payment_used_eight_times_at_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    answers = at_once(*[partial(start_payment, order_id, key="p-1")] * 8)
    assert len(set(map(str, answers))) == 1, answers
    assert isinstance(answers[0], int)
