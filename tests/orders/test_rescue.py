"""What a person does about a saga that is stuck."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

import menu.services
from orders import compensation, saga, services
from orders.errors import InvalidTransition
from orders.models import Saga
from tests import factories
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    at_once,
    audit,
    changes_of,
    crash_before,
    order,
    orders_of,
    paid,
    place,
    placed,
    refunds_of,
    saga_of,
    settle,
    stock,
)
from waimai.infra.errors import NotFound, PermissionRefused

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def ten_fish(stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=10)


def stick(order_id: int) -> int:
    """What its saga does next has failed too often."""
    stuck = {"state": Saga.State.STUCK, "next_at": None, "attempts": 10, "error": "ValueError('no kitchen')"}
    Saga.objects.by_id(order_id).update(**stuck)
    return order_id


def placing(who: Person, at: Stall) -> int:
    with crash_before(saga, "reserve"):
        place(who, at)
    return orders_of(who)[-1]


def paid_without_stock(who: Person, at: Stall) -> int:
    """Paid, and the portions are still only held."""
    order_id = placed(who, at)
    with crash_before(compensation, "go_on"):
        factories.capture(factories.start_payment(order_id))
    return order_id


def undo(order_id: int, by: Person) -> bool:
    return services.undo_stuck_order(order_id=order_id, staff_id=by.id, reason="库存对不上")


def recovered(order_id: int, who: Person) -> tuple[str, str]:
    """Let everything run; where order and saga stand then."""
    saga.recover(who.shard)
    settle()
    return order(order_id).status, saga_of(order_id).state


# --- run again ---


def test_it_runs_again(mei: Person, stall: Stall) -> None:
    order_id = stick(placing(mei, stall))
    assert services.retry_saga(order_id)
    row = saga_of(order_id)
    assert (row.state, row.attempts, row.error) == ("running", 0, "")
    assert recovered(order_id, mei) == ("pending_payment", "running")
    assert stock(stall.fish) == (9, 1, 0)


def test_after_a_cancellation_it_runs_backward(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    with crash_before(compensation, "go_on"):
        services.cancel(order_id=order_id, user_id=mei.id)
    assert services.retry_saga(stick(order_id))
    assert recovered(order_id, mei) == ("cancelled", "compensated")
    assert stock(stall.fish) == (10, 0, 0)


def test_only_what_is_stuck_is_run_again(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    before = saga_of(order_id)
    assert not services.retry_saga(order_id)
    after = saga_of(order_id)
    assert (after.state, after.version) == (before.state, before.version)


def test_two_people_run_it_again_once(mei: Person, stall: Stall) -> None:
    order_id = stick(paid_without_stock(mei, stall))
    answers = at_once(*[partial(services.retry_saga, order_id)] * 2)
    assert sorted(map(bool, answers)) == [False, True]
    assert recovered(order_id, mei) == ("paid", "done")


# --- undo ---


def test_an_order_that_was_never_placed_is_given_up(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = stick(placing(mei, stall))
    assert undo(order_id, lan)
    assert recovered(order_id, mei) == ("cancelled", "compensated")
    assert changes_of(order_id)[-1] == ("give_up", "staff", "库存对不上")
    assert stock(stall.fish) == (10, 0, 0)
    assert audit() == []


def test_an_unpaid_order_is_cancelled(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = stick(placed(mei, stall))
    assert undo(order_id, lan)
    assert recovered(order_id, mei) == ("cancelled", "compensated")
    assert changes_of(order_id)[-1] == ("cancel", "staff", "库存对不上")
    assert (stock(stall.fish), factories.timer("order.expire", order_id)) == ((10, 0, 0), None)
    assert audit() == []


def test_a_paid_order_is_refunded_and_its_portions_come_back(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = stick(paid_without_stock(mei, stall))
    assert undo(order_id, lan)
    assert recovered(order_id, mei) == ("cancelled", "compensated")
    assert changes_of(order_id)[-1] == ("withdraw", "staff", "库存对不上")
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "succeeded")]
    assert stock(stall.fish) == (10, 0, 0)
    assert audit() == []


def test_an_order_that_was_cancelled_before_only_runs_on(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    with crash_before(compensation, "go_on"):
        services.cancel(order_id=order_id, user_id=mei.id)
    changes = changes_of(order_id)
    assert undo(stick(order_id), lan)
    assert recovered(order_id, mei) == ("cancelled", "compensated")
    assert changes_of(order_id) == changes
    assert sum((amount for amount, _, _ in refunds_of(order_id)), Decimal()) == FISH_TOTAL
    assert audit() == []


def test_only_the_order_of_a_stuck_saga_is_undone(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    assert not undo(order_id, lan)
    assert order(order_id).status == "paid"


def test_a_completed_order_is_not_undone(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = stick(factories.completed(mei, stall, lan))
    with pytest.raises(InvalidTransition):
        undo(order_id, lan)
    assert (order(order_id).status, saga_of(order_id).state, refunds_of(order_id)) == ("completed", "stuck", [])


def test_undone_twice_at_once_it_is_refunded_once(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = stick(paid_without_stock(mei, stall))
    answers = at_once(*[partial(undo, order_id, lan)] * 2)
    assert sorted(map(bool, answers)) == [False, True], answers
    assert recovered(order_id, mei) == ("cancelled", "compensated")
    assert len(refunds_of(order_id)) == 1
    assert audit() == []


def test_payments_are_held_before_their_order(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = stick(paid_without_stock(mei, stall))
    with CaptureQueriesContext(connections[mei.shard]) as queries:
        assert undo(order_id, lan)
    held = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    if connections[mei.shard].features.has_select_for_update:
        assert "payments_payment" in held[0]


def test_who_may_not_cancel_may_not_undo(mei: Person, stall: Stall) -> None:
    order_id = stick(paid_without_stock(mei, stall))
    with pytest.raises(PermissionRefused):
        undo(order_id, factories.works_at(stall.shop_id, "courier"))
    with pytest.raises(NotFound):
        undo(order_id, factories.works_at(factories.stall("粤味小馆").shop_id, "manager", "wu"))
    assert (order(order_id).status, saga_of(order_id).state) == ("paid", "stuck")
