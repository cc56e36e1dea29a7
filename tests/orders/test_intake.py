"""Many checkouts in one batch: each has the answer it would have had alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count

import pytest
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

import menu.services
from menu.services import SoldOut
from menu.stock_batches import Overtaken
from orders import intake, placing, saga
from orders.batch import Known, Outcome, Stored
from orders.errors import TotalChanged
from orders.models import Order, OrderChange, Saga
from orders.services import Checkout
from tests import factories
from tests.factories import Person, Stall
from waimai.infra import group_commit
from waimai.infra.errors import DomainError, IdempotencyKeyReused, NotFound
from waimai.infra.group_commit import GroupCommit
from waimai.infra.ids import bucket_of
from waimai.infra.models import Barrier, Timer
from waimai.infra.sharding import shard_of_user

pytestmark = pytest.mark.data
_phones = count()


def crowd(number: int, using: str) -> list[Person]:
    """So many customers of one shard."""
    people: list[Person] = []
    while len(people) < number:
        if (person := factories.person(f"137{next(_phones):08}")).shard == using:
            people.append(person)
    return people


def together(checkouts: Sequence[Checkout]) -> list[Outcome | Exception]:
    """One batch of them, on their shard."""
    (using,) = {shard_of_user(each.user_id) for each in checkouts}
    return intake.write(using, [placing._request(each) for each in checkouts])


def orders_made(outcomes: Sequence[Outcome | Exception]) -> list[Order]:
    """The new orders among them."""
    return [each.order for each in outcomes if isinstance(each, Stored)]


def test_a_batch_of_unlimited_dishes_costs_as_many_statements_as_one_order(mei: Person, stall: Stall) -> None:
    few, many = crowd(2, mei.shard), crowd(12, mei.shard)
    together([factories.checkout(each, stall, key="warm") for each in few])
    counts = []
    for people, key in ((few, "few"), (many, "many")):
        with CaptureQueriesContext(connections[mei.shard]) as queries:
            outcomes = together([factories.checkout(each, stall, key=key) for each in people])
        assert len(orders_made(outcomes)) == len(people)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert factories.audit() == []


def test_everybody_in_a_batch_hears_what_a_replay_hears(mei: Person, stall: Stall) -> None:
    """To the letter: the first answer is made from memory, the second from the database."""
    menu.services.set_stock(item_id=stall.tofu, available=100)
    people = crowd(4, mei.shard)
    checkouts = [
        factories.checkout(each, stall, (stall.fish, 1), (stall.rice if n % 2 else stall.tofu, 1), key=f"k-{n}")
        for n, each in enumerate(people)
    ]
    first = [placing.answer(each) for each in together(checkouts) if not isinstance(each, Exception)]
    again = [placing.answer(each) for each in together(checkouts) if not isinstance(each, Exception)]
    assert len(first) == 4
    assert [each.replayed for each in first + again] == [False] * 4 + [True] * 4
    assert [each.document for each in first] == [each.document for each in again]
    assert factories.audit() == []


def test_who_is_refused_leaves_the_others_alone(mei: Person, stall: Stall) -> None:
    one, two, three, four = crowd(4, mei.shard)
    good = factories.checkout(one, stall, key="good")
    outcomes = together(
        [
            factories.checkout(two, stall, key="dear", shown_total=factories.checkout(two, stall).shown_total),
            replace(factories.checkout(three, stall, key="nowhere"), address_id=one.address_id),
            good,
            replace(factories.checkout(four, stall, key="wrong"), shown_total=Decimal("0.01")),
        ]
    )
    assert [type(each) for each in outcomes] == [Stored, NotFound, Stored, TotalChanged]
    assert factories.orders_of(three) == factories.orders_of(four) == []
    assert factories.audit() == []


def test_refusals_are_in_the_language_of_who_asked(mei: Person, stall: Stall) -> None:
    one, two = crowd(2, mei.shard)
    requests = []
    for person, language in ((one, "zh-hans"), (two, "en")):
        with override(language):
            checkout = factories.checkout(person, stall, (999_999_999, 1), shown_total=None, key="k")
            requests.append(placing._request(checkout))
    with override("zh-hans"):
        details = [str(each.detail) for each in intake.write(mei.shard, requests) if isinstance(each, DomainError)]
    assert details[0] == "商品不存在。"
    assert details[1].isascii()


def test_twins_in_one_batch_are_one_order(mei: Person, stall: Stall) -> None:
    checkout = factories.checkout(mei, stall, key="k")
    first, twin, other = together([checkout, checkout, replace(checkout, note="different")])
    assert isinstance(first, Stored)
    assert twin == Known(first.order.pk)
    assert isinstance(other, IdempotencyKeyReused)
    assert factories.orders_of(mei) == [first.order.pk]


def test_a_twin_of_who_was_refused_has_its_own_turn(mei: Person, stall: Stall) -> None:
    checkout = factories.checkout(mei, stall, key="k")
    refused, placed = together([replace(checkout, shown_total=Decimal("0.01")), checkout])
    assert isinstance(refused, TotalChanged)
    assert isinstance(placed, Stored)


def test_the_last_portions_go_to_some_and_the_others_hear_so(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.tofu, available=3)
    people = crowd(5, mei.shard)
    outcomes = together([factories.checkout(each, stall, (stall.fish, 1), (stall.tofu, 1), key="k") for each in people])
    made = orders_made(outcomes)
    assert sorted(order.status for order in made) == ["cancelled"] * 2 + ["pending_payment"] * 3
    told = []
    for outcome in outcomes:
        assert isinstance(outcome, Stored)
        try:
            placing.answer(outcome)
        except SoldOut as refusal:
            told.append(refusal.extra["items"])
    assert told == [[{"id": stall.tofu, "name": told[0][0]["name"], "available": 0}]] * 2
    assert menu.services.stock_of([stall.tofu])[stall.tofu].available == 0
    assert factories.audit() == []


def test_in_a_batch_a_large_order_that_falls_short_leaves_room_for_a_small_one(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.tofu, available=2)
    one, two = crowd(2, mei.shard)
    outcomes = together(
        [
            factories.checkout(one, stall, (stall.fish, 1), (stall.tofu, 3), key="k"),
            factories.checkout(two, stall, (stall.fish, 1), (stall.tofu, 2), key="k"),
        ]
    )
    assert [order.status for order in orders_made(outcomes)] == ["cancelled", "pending_payment"]
    assert factories.audit() == []


def test_one_bad_hold_leaves_the_others_their_portions(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is held one by one when it can't be held together; what fails alone is recovery's."""
    menu.services.set_stock(item_id=stall.tofu, available=9)
    people = crowd(3, mei.shard)
    hold = menu.services.hold_stock
    bad: list[int] = []

    def picky(*, order_id: int, demands: dict[int, int]) -> None:
        if not bad:
            bad.append(order_id)
            raise ValueError("no kitchen")
        hold(order_id=order_id, demands=demands)

    def nobody(demands: object) -> None:
        raise ValueError("not together")

    monkeypatch.setattr(menu.services, "hold_many", nobody)
    monkeypatch.setattr(menu.services, "hold_stock", picky)
    outcomes = together([factories.checkout(each, stall, (stall.fish, 1), (stall.tofu, 1), key="k") for each in people])
    assert [type(each) for each in outcomes] == [ValueError, Stored, Stored]
    monkeypatch.undo()
    factories.saga_due(bad[0])
    saga.recover(mei.shard)
    assert Order.objects.by_id(bad[0]).get().status == "pending_payment"
    assert factories.audit() == []


def test_an_order_held_before_is_not_held_twice(mei: Person, stall: Stall) -> None:
    """Recovery took one of the batch over between T0 and T1."""
    menu.services.set_stock(item_id=stall.tofu, available=9)
    one, two = crowd(2, mei.shard)
    with factories.crash_before(saga, "reserve_many"):
        together([factories.checkout(each, stall, (stall.fish, 1), (stall.tofu, 1), key="k") for each in (one, two)])
    first, second = factories.orders_of(one)[0], factories.orders_of(two)[0]
    menu.services.hold_stock(order_id=first, demands={stall.tofu: 1})
    with pytest.raises(Overtaken):
        menu.services.hold_many({first: {stall.tofu: 1}, second: {stall.tofu: 1}})
    assert menu.services.stock_of([stall.tofu])[stall.tofu].available == 8
    saga.reserve(first, {stall.tofu: 1})
    saga.reserve(second, {stall.tofu: 1})
    assert menu.services.stock_of([stall.tofu])[stall.tofu].available == 7
    assert factories.audit() == []


@pytest.mark.mariadb
def test_a_connection_that_broke_is_mended_before_the_next_batch(mei: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the rush goes on: nobody else sees to the connections of the group's thread."""
    monkeypatch.setattr(group_commit, "MOST_AT_ONCE", 1)
    may_begin = threading.Event()

    def write(statements: Sequence[str]) -> list[int | Exception]:
        may_begin.wait(10)
        with connections[mei.shard].cursor() as cursor:
            cursor.execute(statements[0])
            return [int(cursor.fetchone()[0])]

    group: GroupCommit[str, int] = GroupCommit("mended", write)
    under_way = [group.submit(sql) for sql in ("SELECT 1", "KILL CONNECTION_ID()", "SELECT 2", "SELECT 3")]
    may_begin.set()
    assert isinstance(under_way[1].exception(10), OperationalError)
    assert [under_way[n].result(10) for n in (0, 2, 3)] == [1, 2, 3]


def test_what_a_batch_writes_is_what_one_order_writes(mei: Person, stall: Stall) -> None:
    one, two = crowd(2, mei.shard)
    together([factories.checkout(each, stall, key="k") for each in (one, two)])
    for person in (one, two):
        (number,) = factories.orders_of(person)
        assert bucket_of(number) == Order.objects.by_id(number).get().bucket
        assert Saga.objects.on(mei.shard).get(order_id=number).step == Saga.Step.CHARGE
        assert Timer.objects.on(mei.shard).filter(ref_id=number, kind=saga.EXPIRE).count() == 1
        (row,) = OrderChange.objects.on(mei.shard).filter(order_id=number)
        assert (row.actor, row.actor_id, row.source, row.target) == ("customer", person.id, "", "pending_payment")
        assert not Barrier.objects.on("default").filter(saga_id=number).exists()
