from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from orders import changes
from orders.changes import By
from orders.errors import InvalidTransition
from orders.models import Order, OrderChange
from orders.states import Actor, Status, move_of
from tests.factories import Person, Stall, history, order, paid, place, placed, rolled_back
from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data
METHODS: list[Callable[[Any], None]] = [
    Order.confirm,
    Order.give_up,
    Order.pay,
    Order.expire,
    Order.cancel,
    Order.accept,
    Order.reject,
    Order.withdraw,
    Order.deliver,
    Order.complete,
]
PAIRS = [(state, method) for state in Status for method in METHODS]
NAMES = [f"{method.__name__} when {state.value}" for state, method in PAIRS]
LAN = By(Actor.STAFF, 4, "太忙了")


def order_in(state: Status, who: Person, at: Stall, *, key: str = "k-1") -> int:
    """An order that stands in a state, however it came there."""
    order_id = placed(who, at, key=key)
    Order.objects.by_id(order_id).update(status=state)
    return order_id


def change(order_id: int, method: Callable[[Any], None], *, by: By = LAN, **columns: Any) -> Order:
    using = shard_of_id(order_id)
    with transaction.atomic(using=using):
        return changes.change(order_id, method, by=by, at=db_now(using), **columns)


def messages(order_id: int) -> list[str]:
    rows = OutboxMessage.objects.on(shard_of_id(order_id)).filter(key=order_id).order_by("version", "id")
    return list(rows.values_list("topic", flat=True))


@pytest.mark.parametrize(("state", "method"), PAIRS, ids=NAMES)
def test_each_transition_from_each_state(
    state: Status, method: Callable[[Any], None], mei: Person, stall: Stall
) -> None:
    order_id = order_in(state, mei, stall)
    move = move_of(method)
    if state in move.sources:
        assert change(order_id, method).status == move.target
        assert (order(order_id).status, order(order_id).version) == (move.target, 2)
        assert history(order_id) == ["pending_payment", move.target]
        return
    with pytest.raises(InvalidTransition) as refusal:
        change(order_id, method)
    assert refusal.value.extra == {"order_status": state, "transition": move.name}
    assert (order(order_id).status, order(order_id).version) == (state, 1)
    assert history(order_id) == ["pending_payment"]


def test_a_change_says_who_made_it_when_and_why(mei: Person, stall: Stall) -> None:
    order_id = order_in(Status.PAID, mei, stall)
    using = shard_of_id(order_id)
    before = db_now(using)
    change(order_id, Order.reject)
    row = OrderChange.objects.of_order(order_id).get(n=2)
    assert (row.transition, row.source, row.target) == ("reject", "paid", "cancelled")
    assert (row.actor, row.actor_id, row.reason) == ("staff", 4, "太忙了")
    assert before <= row.at <= db_now(using)


def test_a_change_tells_its_news_with_the_order_as_it_stands(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    change(order_id, Order.accept)
    row = OutboxMessage.objects.on(shard_of_id(order_id)).get(key=order_id, topic="order.accepted")
    snapshot = row.payload["snapshot"]
    assert (row.version, row.payload["status"], row.payload["user_id"]) == (3, "accepted", mei.id)
    assert (snapshot["id"], snapshot["version"], snapshot["status"]) == (order_id, 3, "accepted")
    assert [line["name"] for line in snapshot["lines"]] == ["酸菜鱼"]


def test_a_change_that_is_rolled_back_leaves_nothing(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    told = messages(order_id)
    with rolled_back(shard_of_id(order_id)):
        changes.change(order_id, Order.accept, by=LAN, at=db_now(shard_of_id(order_id)))
    assert (order(order_id).status, history(order_id)[-1]) == ("paid", "paid")
    assert messages(order_id) == told


def test_columns_are_set_with_the_state(mei: Person, stall: Stall) -> None:
    order_id = order_in(Status.PAID, mei, stall)
    promised = db_now(shard_of_id(order_id))
    assert change(order_id, Order.accept, promised_at=promised).promised_at == promised
    assert order(order_id).promised_at == promised


def test_a_reason_is_cut_to_what_the_history_holds(mei: Person, stall: Stall) -> None:
    order_id = order_in(Status.PAID, mei, stall)
    change(order_id, Order.reject, by=By(Actor.STAFF, 4, "忙" * 300))
    assert OrderChange.objects.of_order(order_id).get(n=2).reason == "忙" * 200


def test_an_order_that_is_not_there_is_not_found(mei: Person) -> None:
    with pytest.raises(NotFound):
        change(ids.new_id(1), Order.accept)


def test_the_same_change_again_is_refused(mei: Person, stall: Stall) -> None:
    order_id = order_in(Status.PAID, mei, stall)
    change(order_id, Order.accept)
    with pytest.raises(InvalidTransition):
        change(order_id, Order.accept)
    assert history(order_id) == ["pending_payment", "accepted"]


def test_many_move_at_once_and_the_others_stay(mei: Person, stall: Stall) -> None:
    waiting = [placed(mei, stall, key=f"k-{n}") for n in range(3)]
    cooking = order_in(Status.ACCEPTED, mei, stall, key="k-9")
    using = mei.shard
    with transaction.atomic(using=using):
        moved = changes.change_many(
            [*waiting, cooking, ids.new_id(1)], Order.expire, using=using, by=By(Actor.CLOCK), at=db_now(using)
        )
    assert sorted(row.pk for row in moved) == waiting
    assert [order(order_id).status for order_id in waiting] == ["cancelled"] * 3
    assert order(cooking).status == "accepted"


def test_many_that_all_stay_change_nothing(mei: Person, stall: Stall) -> None:
    order_id = order_in(Status.ACCEPTED, mei, stall)
    using = mei.shard
    with transaction.atomic(using=using):
        assert changes.change_many([order_id], Order.expire, using=using, by=By(Actor.CLOCK), at=db_now(using)) == []
    assert history(order_id) == ["pending_payment"]


def test_a_rivals_change_between_reading_and_moving_is_seen(mei: Person, stall: Stall) -> None:
    order_id = order_in(Status.PAID, mei, stall)
    change(order_id, Order.cancel, by=By(Actor.CUSTOMER, mei.id))
    with pytest.raises(InvalidTransition) as refusal:
        change(order_id, Order.accept)
    assert refusal.value.extra["order_status"] == "cancelled"


def test_versions_count_every_change(mei: Person, stall: Stall) -> None:
    order_id = place(mei, stall).order_id
    for method in (Order.pay, Order.accept, Order.deliver, Order.complete):
        change(order_id, method)
    assert list(OrderChange.objects.of_order(order_id).order_by("n").values_list("n", flat=True)) == [1, 2, 3, 4, 5]
    assert order(order_id).version == 5
