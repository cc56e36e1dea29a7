"""Notices of payments and refunds come ten times at once, and in every order: each has one effect."""

from __future__ import annotations

from functools import partial
from itertools import permutations

import pytest
import requests

import payments.services
from orders import services
from payments.models import Refund, SandboxNotice, SandboxRefund
from payments.providers import sandbox
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    alerts_on,
    at_once,
    audit,
    changes_of,
    notice,
    order,
    payment_older,
    placed,
    receive,
    refund_notice,
    refunds_of,
    settle,
    start_payment,
)
from tests.support.server import Server
from waimai.infra.clock import db_now
from waimai.infra.models import Timer
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data

Signed = tuple[dict[str, str], bytes]
REFUNDED = ("cancelled", "refunded", [(FISH_TOTAL, "cancel", "succeeded")])


def deliver(server: Server, signed: Signed) -> int:
    """POST a notice to the webhook, as a provider does; the status of the answer."""
    headers, body = signed
    address = f"{server.url}/api/v1/payments/webhooks/sandbox/"
    return requests.post(address, data=body, headers=headers, timeout=30).status_code


def state(order_id: int) -> tuple[str, str, list[tuple[object, str, str]]]:
    row = order(order_id)
    return row.status, row.payment_status, list(refunds_of(order_id))


def transitions(order_id: int) -> list[str]:
    return [transition for transition, _actor, _reason in changes_of(order_id)]


def found_by_the_poller(order_id: int) -> int:
    """The payment of an order was paid and polled; its notice is still under way."""
    payment_id = start_payment(order_id)
    sandbox.tell(payment_id, "success", times=0)
    payment_older(payment_id, seconds=31)
    settle()
    assert order(order_id).status == "paid"
    return payment_id


def refunded_without_an_answer(order_id: int) -> int:
    """The customer cancels a paid order; the provider gave the money back, but we didn't hear of it."""
    services.cancel(order_id=order_id, user_id=order(order_id).user_id)
    sandbox.fail_next("refund", near=order_id, mode=sandbox.Fault.LOST_ANSWER)
    refund: Refund = Refund.objects.of_order(order_id).get()
    payments.services.send_refund(refund_id=refund.id, using=shard_of_id(order_id))
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "pending")]
    return refund.id


def test_f12_ten_copies_of_a_notice_at_once(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    signed = notice(start_payment(order_id))
    assert at_once(*[partial(deliver, server, signed)] * 10) == [200] * 10
    assert state(order_id) == ("paid", "paid", [])
    assert transitions(order_id).count("pay") == 1
    settle()
    assert alerts_on(mei.shard) == []
    assert audit() == []


def test_f12_ten_notices_of_one_payment_at_once(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    notices = [notice(payment_id) for _number in range(10)]
    assert at_once(*[partial(deliver, server, each) for each in notices]) == [200] * 10
    assert transitions(order_id).count("pay") == 1
    settle()
    assert (state(order_id), alerts_on(mei.shard)) == (("paid", "paid", []), [])
    assert audit() == []


def test_f12_the_gateway_repeats_and_stumbles(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    sandbox.fail_next("webhook", near=payment_id, times=2, mode=sandbox.Fault.LOST_ANSWER)
    first = sandbox.tell(payment_id, "success", times=5)
    second = sandbox.tell(payment_id, "failure", times=5)
    for _again in range(3):
        Timer.objects.on(mei.shard).filter(ref_id__in=[first, second]).update(due_at=db_now(mei.shard))
        settle()
    rows = SandboxNotice.objects.on(mei.shard).filter(id__in=[first, second])
    assert list(rows.values_list("sent", flat=True)) == [5, 5]
    assert (state(order_id), alerts_on(mei.shard)) == (("paid", "paid", []), [])
    assert transitions(order_id).count("pay") == 1
    assert audit() == []


def test_f12_the_refund_is_told_before_the_payment(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = found_by_the_poller(order_id)
    late = notice(payment_id)
    refund_id = refunded_without_an_answer(order_id)
    told = refund_notice(refund_id)
    assert at_once(*[partial(deliver, server, told)] * 10) == [200] * 10
    assert deliver(server, late) == 200
    assert state(order_id) == REFUNDED
    settle()
    assert (state(order_id), alerts_on(mei.shard)) == (REFUNDED, [])
    assert SandboxRefund.objects.on(mei.shard).count() == 1
    assert audit() == []


@pytest.mark.parametrize("sequence", list(permutations(("success", "failure", "refund"))), ids="-".join)
def test_f12_news_in_any_order(mei: Person, stall: Stall, sequence: tuple[str, ...]) -> None:
    order_id = placed(mei, stall)
    payment_id = found_by_the_poller(order_id)
    refund_id = refunded_without_an_answer(order_id)
    news = {
        "success": notice(payment_id),
        "failure": notice(payment_id, "failure"),
        "refund": refund_notice(refund_id),
    }
    for name in (*sequence, *sequence):
        receive(news[name])
    settle()
    assert (state(order_id), alerts_on(mei.shard)) == (REFUNDED, [])
    assert transitions(order_id)[-2:] == ["pay", "cancel"]
    assert transitions(order_id).count("pay") == 1
    assert SandboxRefund.objects.on(mei.shard).count() == 1
    assert audit() == []
