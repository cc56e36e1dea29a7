from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from payments import services
from payments.models import Payment
from tests.payments.factories import MEI, at_once, new_order, pending
from waimai.infra import sharding

pytestmark = pytest.mark.data


@pytest.fixture
def meis(db_all: Any) -> str:
    return sharding.shard_of_user(MEI)


@pytest.fixture
def locks_rows(meis: str) -> None:
    if not connections[meis].features.has_select_for_update_nowait:
        pytest.skip("SQLite locks the whole database: its writers wait for each other as it is")


def is_free(payment_id: int, meis: str) -> bool:
    """Whether somebody else could hold that payment now."""

    def hold() -> bool:
        with transaction.atomic(using=meis):
            return bool(Payment.objects.on(meis).select_for_update(nowait=True).filter(id=payment_id).get())

    (answer,) = at_once(hold)
    assert answer is True or isinstance(answer, OperationalError)
    return answer is True


def test_the_payments_of_the_orders_are_held_until_the_end_and_no_others(meis: str, locks_rows: None) -> None:
    orders = [new_order() for _ in range(3)]
    ours, another, bystander = (pending(order, key=f"pay-{order}").id for order in orders)
    with transaction.atomic(using=meis):
        services.lock_payments(order_ids=[orders[1], orders[0]], using=meis)
        assert [is_free(one, meis) for one in (ours, another, bystander)] == [False, False, True]
    assert is_free(ours, meis)


@pytest.mark.parametrize("orders", [0, 1])
def test_there_may_be_nothing_to_hold(orders: int, meis: str) -> None:
    with transaction.atomic(using=meis):
        services.lock_payments(order_ids=[new_order() for _ in range(orders)], using=meis)


def test_holding_belongs_inside_a_transaction(meis: str) -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        services.lock_payments(order_ids=[new_order()], using=meis)
