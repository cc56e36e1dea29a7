"""Buckets move to another shard with everything that belongs to their users, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from pytest_django import Settings

from orders import services
from orders.models import CartLine, Order, OrderLine
from tests import factories
from tests.factories import Person, Stall, crash_before
from tests.fixtures import lan, mei, stall, tao
from tests.support.databases import Databases
from waimai.infra import resharding, sharding
from waimai.infra.models import Bucket, IdempotencyKey, Timer

__all__ = ["lan", "mei", "stall", "tao"]
pytestmark = pytest.mark.data


@pytest.fixture
def one_shard_holds_all(db_all: Databases) -> Iterator[None]:
    """As before the second database was added; afterwards the map is as every test expects it."""
    before = dict(Bucket.objects.values_list("number", "alias"))
    Bucket.objects.update(alias="orders_0", version=F("version") + 1)
    sharding.forget_bucket_map()
    yield
    for number, alias in before.items():
        Bucket.objects.filter(number=number).exclude(alias=alias).update(alias=alias, version=1)
    Bucket.objects.update(version=1)
    sharding.forget_bucket_map()


@pytest.fixture
def somebody_moves(one_shard_holds_all: None, mei: Person) -> Person:
    """A customer whose bucket goes to the second shard."""
    moving = {number for numbers in resharding.plan().values() for number in numbers}
    while sharding.bucket_of_user(mei.id) not in moving:
        mei = factories.person(f"1390000{mei.id:04}")
    return mei


def test_a_layout_that_is_even_needs_no_move() -> None:
    assert resharding.layout() == {"orders_0": 512, "orders_1": 512}
    assert resharding.plan() == {}


def test_half_of_the_buckets_go_to_a_second_shard(one_shard_holds_all: None) -> None:
    assert resharding.rebalance() == 512
    assert resharding.layout() == {"orders_0": 512, "orders_1": 512}


def test_only_a_third_moves_when_a_third_shard_comes(settings: Settings) -> None:
    settings.WAIMAI_ORDER_SHARDS = ["orders_0", "orders_1", "default"]
    moves = resharding.plan()
    assert {target for _source, target in moves} == {"default"}
    assert sum(map(len, moves.values())) == 341


def test_everything_of_a_user_comes_along(somebody_moves: Person, stall: Stall, lan: Person) -> None:
    customer = somebody_moves
    waiting = factories.placed(customer, stall)
    old = factories.paid(customer, stall, key="k-2")
    factories.relay()
    line = factories.lines((stall.fish, 1))[0]
    services.add_to_cart(user_id=customer.id, shop_id=stall.shop_id, line=line)
    services.accept(order_id=old, staff_id=lan.id)
    proposal = services.propose_amendment(
        order_id=old, staff_id=lan.id, line=1, quantity=1, replacement=stall.rice, reason="鱼卖完了"
    )
    factories.relay()

    resharding.rebalance()

    assert customer.shard == "orders_1"
    assert factories.orders_of(customer) == sorted([waiting, old])
    assert OrderLine.objects.of_order(waiting).count() == 1
    assert CartLine.objects.for_user(customer.id).count() == 1
    assert factories.payments_of(old) == ["captured"]
    assert factories.timer("order.expire", waiting) is not None
    assert services.open_proposal(old) == proposal
    assert factories.timer("order.amend", old) is not None
    assert factories.keys_of(customer) == ["k-1", "k-2", "pay-" + str(old)]
    assert factories.audit() == []


def test_nothing_of_a_user_stays_behind(somebody_moves: Person, stall: Stall) -> None:
    order_id = factories.placed(somebody_moves, stall)
    resharding.rebalance()
    assert not Order.objects.on("orders_0").filter(pk=order_id).exists()
    assert not Timer.objects.on("orders_0").exists()
    assert not IdempotencyKey.objects.on("orders_0").exists()


def test_an_order_goes_on_where_it_moved_to(somebody_moves: Person, stall: Stall) -> None:
    order_id = factories.placed(somebody_moves, stall)
    resharding.rebalance()
    factories.capture(factories.start_payment(order_id))
    assert factories.history(order_id) == ["pending_payment", "paid"]


def test_a_crash_before_the_map_changes_leaves_the_old_rows_in_force(somebody_moves: Person, stall: Stall) -> None:
    order_id = factories.placed(somebody_moves, stall)
    with crash_before(resharding, "_switch"):
        resharding.rebalance()
    assert factories.orders_of(somebody_moves) == [order_id]
    assert somebody_moves.shard == "orders_0"


def test_a_crash_after_the_map_changed_leaves_strays_that_the_next_run_deletes(
    somebody_moves: Person, stall: Stall
) -> None:
    order_id = factories.placed(somebody_moves, stall)
    with crash_before(resharding, "forget_bucket_map"):
        resharding.rebalance()
    sharding.forget_bucket_map()
    resharding.rebalance()
    assert factories.orders_of(somebody_moves) == [order_id]
    assert not Order.objects.on("orders_0").exists()
    assert factories.audit() == []


def test_a_row_astray_is_found_by_the_audit(stall: Stall, mei: Person) -> None:
    order_id = factories.placed(mei, stall)
    other = "orders_1" if mei.shard == "orders_0" else "orders_0"
    Order.objects.on(other).bulk_create([factories.order(order_id)])
    assert f"I5 order {order_id}: lies astray on {other} [{other}]" in factories.audit()
    Order.objects.on(other).filter(pk=order_id).delete()


def test_a_map_that_names_an_unknown_shard_is_refused(settings: Settings) -> None:
    settings.WAIMAI_ORDER_SHARDS = ["orders_0"]
    with pytest.raises(CommandError, match="orders_1"):
        call_command("shards", "rebalance", stdout=StringIO())


def test_the_command_shows_the_layout() -> None:
    out = StringIO()
    call_command("shards", "show", stdout=out)
    assert out.getvalue() == "orders_0: 512 buckets\norders_1: 512 buckets\n"
