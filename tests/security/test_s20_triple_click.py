"""Pay, cancel and refund pressed at the same moment: one outcome, and the money is right."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connections

from orders.states import Status
from payments.models import Refund, SandboxRefund
from tests import factories
from tests.accounts.factories import Api
from tests.factories import Person, Stall
from tests.fixtures import lan, mei, stall

__all__ = ["lan", "mei", "stall"]
pytestmark = pytest.mark.data


def all_at_once(*doors: Callable[[], int]) -> list[int]:
    """The statuses of calls that begin together, each on a connection of its own."""
    gate, statuses = threading.Barrier(len(doors)), [0] * len(doors)

    def call(n: int, door: Callable[[], int]) -> None:
        gate.wait(10)
        try:
            statuses[n] = door()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(n, door)) for n, door in enumerate(doors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return statuses


@pytest.mark.parametrize("_round", range(3))
def test_s20_pay_cancel_and_reject_at_once(mei: Person, lan: Person, stall: Stall, _round: int) -> None:
    order_id = factories.placed(mei, stall)
    payment_id = factories.start_payment(order_id)
    customer, manager = Api(mei.user), Api(lan.user)

    def post(who: Api, path: str, body: dict[str, object]) -> Callable[[], int]:
        return lambda: who.post(path, body, Idempotency_Key=f"{path}-key").status_code

    statuses = all_at_once(
        post(customer, f"payments/sandbox/{payment_id}/", {"outcome": "success"}),
        post(customer, f"orders/{order_id}/pay/", {"provider": "sandbox"}),
        post(customer, f"orders/{order_id}/cancel/", {"reason": "changed my mind"}),
        post(customer, f"orders/{order_id}/cancel/", {"reason": "changed my mind"}),
        post(customer, f"orders/{order_id}/cancel/", {"reason": "changed my mind"}),
        post(manager, f"staff/orders/{order_id}/reject/", {"reason": "too busy"}),
    )
    # A reject finds nothing to reject until the order is paid; a cancellation finds it cancelled.
    assert set(statuses) <= {200, 201, 202, 404, 409}
    assert 200 in statuses[2:5]
    factories.receive(factories.notice(payment_id))
    factories.settle()
    assert factories.order(order_id).status == Status.CANCELLED
    refunds = Refund.objects.on(mei.shard).filter(order_id=order_id)
    assert [refund.status for refund in refunds] == ["succeeded"]
    assert SandboxRefund.objects.on(mei.shard).count() == 1
    assert factories.history(order_id).count("cancelled") == 1
    assert factories.audit() == []


def test_s20_three_clicks_on_pay_open_one_payment(mei: Person, stall: Stall) -> None:
    order_id, customer = factories.placed(mei, stall), Api(mei.user)
    pay = f"orders/{order_id}/pay/"
    statuses = all_at_once(
        *[lambda: customer.post(pay, {"provider": "sandbox"}, Idempotency_Key="one").status_code] * 3
    )
    assert set(statuses) <= {200, 201, 409}
    assert len(factories.payments_of(order_id)) == 1
    assert factories.audit() == []
