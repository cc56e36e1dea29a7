from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

import menu.services
from orders import services, timing
from orders.errors import InvalidTransition
from orders.models import Order
from tests.accounts.factories import problem, read
from tests.factories import (
    Person,
    Stall,
    audit,
    capture,
    changes_of,
    history,
    order,
    overdue,
    paid,
    payments_of,
    placed,
    refunds_of,
    settle,
    start_payment,
    stock,
    sweep,
    timer,
)
from waimai.infra import timers
from waimai.infra.clock import db_now
from waimai.infra.models import Timer

pytestmark = pytest.mark.data


def test_nobody_paid_in_time(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    assert timers.sweep(mei.shard) == 1
    assert changes_of(order_id)[-1] == ("expire", "clock", "payment_timeout")
    assert (order(order_id).status, timer("order.expire", order_id)) == ("cancelled", None)


def test_its_portions_go_back(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    order_id = placed(mei, stall, (stall.fish, 3))
    assert stock(stall.fish) == (2, 3, 0)
    overdue(order_id)
    sweep()
    assert stock(stall.fish) == (5, 0, 0)
    settle()
    assert audit() == []


def test_before_its_time_nothing_happens(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    assert sweep() == 0
    assert order(order_id).status == "pending_payment"


def test_a_paid_order_has_no_timer_and_is_left_alone(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    assert timer("order.expire", order_id) is None
    Order.objects.by_id(order_id).update(expires_at=db_now(mei.shard) - timedelta(hours=1))
    timers.schedule("order.expire", order_id, due_at=db_now(mei.shard), using=mei.shard)
    sweep()
    assert (order(order_id).status, timer("order.expire", order_id)) == ("paid", None)


def test_a_cancelled_order_has_no_timer(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    assert timer("order.expire", order_id) is None


def test_a_timer_of_no_order_ends_by_itself(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    Order.objects.by_id(order_id).delete()
    sweep()
    assert timer("order.expire", order_id) is None


def test_its_open_payment_is_closed(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    start_payment(order_id)
    overdue(order_id)
    settle()
    assert payments_of(order_id) == ["closed"]


def test_many_expire_in_as_many_statements_as_few(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=99)

    def statements(count: int, name: str) -> int:
        for order_id in [placed(mei, stall, key=f"{name}-{n}") for n in range(count)]:
            overdue(order_id)
        with CaptureQueriesContext(connections[mei.shard]) as queries:
            assert timers.sweep(mei.shard) == count
        return len(queries)

    assert statements(3, "few") == statements(30, "many")
    assert stock(stall.fish) == (99, 0, 0)


# --- the clock hasn't come by yet ---


def test_read_past_its_time_it_is_expired(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    document = read(mei.api.get(f"orders/{order_id}/"))
    assert (document["status"], document["allowed_actions"]) == ("cancelled", ["reorder"])
    assert document["timeline"][-1]["actor"] == "clock"
    assert document["timeline"][-1]["reason"] == "订单超时，自动取消"


def test_its_portions_go_back_with_the_reading(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    order_id = placed(mei, stall)
    overdue(order_id)
    services.get_order(order_id=order_id, user_id=mei.id)
    assert stock(stall.fish) == (5, 0, 0)
    assert not Timer.objects.on(mei.shard).filter(kind="order.expire").exists()


def test_in_the_list_it_is_expired_too(mei: Person, stall: Stall) -> None:
    late, early = placed(mei, stall, key="k-1"), placed(mei, stall, key="k-2")
    overdue(late)
    rows = read(mei.api.get("orders/"))["results"]
    assert [(row["id"], row["status"]) for row in rows] == [(early, "pending_payment"), (late, "cancelled")]


def test_past_its_time_it_cannot_be_paid(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    answer = mei.api.post(f"orders/{order_id}/pay/", {"provider": "sandbox"}, Idempotency_Key="p-1")
    assert problem(answer) == (409, "invalid_transition")
    assert payments_of(order_id) == []


def test_past_its_time_its_customer_finds_it_cancelled(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    with pytest.raises(InvalidTransition):
        services.cancel(order_id=order_id, user_id=mei.id)
    assert changes_of(order_id)[-1] == ("expire", "clock", "payment_timeout")


def test_somebody_else_does_not_expire_it(mei: Person, tao: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    assert problem(tao.api.get(f"orders/{order_id}/")) == (404, "not_found")
    assert order(order_id).status == "pending_payment"


def test_reading_and_the_clock_expire_it_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    overdue(order_id)
    services.get_order(order_id=order_id, user_id=mei.id)
    timing.expire_now([order_id], using=mei.shard)
    assert history(order_id) == ["pending_payment", "cancelled"]


# --- money that comes too late ---


def test_money_after_the_time_goes_back_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    overdue(order_id)
    sweep()
    capture(payment_id)
    settle()
    assert history(order_id) == ["pending_payment", "cancelled"]
    assert [(purpose, status) for _, purpose, status in refunds_of(order_id)] == [("late", "succeeded")]
    assert order(order_id).payment_status == "refunded"
    assert audit() == []


def test_money_within_the_time_counts_though_the_clock_is_late(mei: Person, stall: Stall) -> None:
    """The provider took it before we closed the payment; nobody had expired the order."""
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    overdue(order_id)
    capture(payment_id)
    sweep()
    assert (order(order_id).status, refunds_of(order_id)) == ("paid", [])
    assert audit() == []


def test_money_that_no_notice_tells_of_is_found_by_asking(mei: Person, stall: Stall) -> None:
    from payments.providers import sandbox

    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    sandbox.tell(payment_id, "success", times=0)
    Timer.objects.on(mei.shard).filter(kind="payment.poll").update(due_at=db_now(mei.shard))
    settle()
    assert order(order_id).status == "paid"
