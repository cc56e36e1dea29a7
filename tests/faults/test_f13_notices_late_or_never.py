"""The notice of a payment comes three days late, or never: the poller finds the money, and nothing is done twice."""

from __future__ import annotations

import time
from functools import partial

import pytest
import requests

import payments.services
from payments.models import Payment, SandboxCharge, SandboxNotice, SandboxRefund
from payments.providers import sandbox, sandbox_wire
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    alerts_on,
    at_once,
    audit,
    history,
    notice,
    order,
    overdue,
    payment_older,
    payments_of,
    placed,
    receive,
    refunds_of,
    settle,
    start_payment,
    sweep,
    timer,
)
from tests.support.server import Server
from waimai.infra.clock import db_now
from waimai.infra.models import Timer
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data

THREE_DAYS = 3 * 86_400
EXPIRES_AFTER = 900
LATE_REFUND = [(FISH_TOTAL, "late", "succeeded")]


def poll(payment_id: int) -> None:
    payments.services.poll_payment(payment_id=payment_id, using=shard_of_id(payment_id))


def the_notice_is_due(number: int) -> SandboxNotice:
    """Its three days are over: the sandbox calls the webhook, signed freshly."""
    using = shard_of_id(number)
    assert Timer.objects.on(using).filter(kind=sandbox.NOTIFY, ref_id=number).update(due_at=db_now(using)) == 1
    sweep()
    row: SandboxNotice = SandboxNotice.objects.by_id(number).get()
    return row


def expired(order_id: int, payment_id: int) -> None:
    """The time to pay is over, for the order and its payment."""
    payment_older(payment_id, seconds=EXPIRES_AFTER + 1)
    overdue(order_id)


def test_f13_three_days_late_when_the_poller_knew(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    number = sandbox.tell(payment_id, "success", late_seconds=THREE_DAYS)
    payment_older(payment_id, seconds=31)
    sweep()
    assert order(order_id).status == "paid"
    assert the_notice_is_due(number).sent == 1
    settle()
    assert history(order_id)[-1] == "paid"
    assert (history(order_id).count("paid"), refunds_of(order_id), alerts_on(mei.shard)) == (1, [], [])
    assert audit() == []


def test_f13_three_days_late_and_the_provider_was_dumb_all_the_time(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    number = sandbox.tell(payment_id, "success", late_seconds=THREE_DAYS)
    sandbox.fail_next("query", near=order_id, times=1000)
    expired(order_id, payment_id)
    settle()
    assert (order(order_id).status, payments_of(order_id)) == ("cancelled", ["pending"])
    payment_older(payment_id, seconds=THREE_DAYS)
    sweep()
    # Nobody knows yet, a person was told, and it is asked again.
    assert alerts_on(mei.shard) == [("payment_unsettled", payment_id)]
    assert timer("payment.poll", payment_id) is not None
    assert the_notice_is_due(number).sent == 1
    settle()
    assert (order(order_id).status, order(order_id).payment_status) == ("cancelled", "refunded")
    assert (payments_of(order_id), refunds_of(order_id)) == (["captured"], LATE_REFUND)
    assert timer("payment.poll", payment_id) is None
    assert audit() == []


def test_f13_a_signature_of_three_days_ago_is_refused(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    _headers, body = notice(start_payment(order_id))
    headers = sandbox_wire.sign(body, timestamp=int(time.time()) - THREE_DAYS)
    address = f"{server.url}/api/v1/payments/webhooks/sandbox/"
    answer = requests.post(address, data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_refused")
    assert (order(order_id).status, alerts_on(mei.shard)) == ("pending_payment", [])


@pytest.mark.parametrize("seconds", [30, 120, 300])
def test_f13_no_notice_ever_and_a_look_finds_the_money(mei: Person, stall: Stall, seconds: int) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    for earlier in (look for look in (30, 120, 300) if look < seconds):
        payment_older(payment_id, seconds=earlier - _age(payment_id))
        poll(payment_id)
        assert payments_of(order_id) == ["pending"]
    sandbox.tell(payment_id, "success", times=0)
    due = Payment.objects.by_id(payment_id).get().created_at
    assert (timer("payment.poll", payment_id) - due).total_seconds() == seconds
    payment_older(payment_id, seconds=seconds - _age(payment_id))
    sweep()
    assert order(order_id).status == "paid"
    settle()
    assert (refunds_of(order_id), audit()) == ([], [])


def test_f13_no_notice_ever_and_the_look_at_expiry_finds_the_money(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    sandbox.tell(payment_id, "success", times=0)
    expired(order_id, payment_id)
    settle()
    assert (order(order_id).status, refunds_of(order_id)) in [("paid", []), ("cancelled", LATE_REFUND)]
    assert payments_of(order_id) == ["captured"]
    assert audit() == []


def test_f13_no_notice_ever_and_the_look_after_the_close_finds_the_money(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    expired(order_id, payment_id)
    settle()
    charge = SandboxCharge.objects.by_id(payment_id).get()
    assert (payments_of(order_id), charge.state) == (["closed"], "closed")
    # The payer was at the till while we closed it.
    sandbox.tell(payment_id, "success", times=0)
    payment_older(payment_id, seconds=120)
    settle()
    assert (order(order_id).status, refunds_of(order_id)) == ("cancelled", LATE_REFUND)
    assert timer("payment.poll", payment_id) is None
    assert audit() == []


def test_f13_the_poller_and_the_notice_at_once(mei: Person, stall: Stall) -> None:
    for number in range(5):
        order_id = placed(mei, stall, key=f"k-{number}")
        payment_id = start_payment(order_id)
        arrived = notice(payment_id)
        look, news = partial(poll, payment_id), partial(receive, arrived)
        assert at_once(look, news, look, news) == [None] * 4
        assert history(order_id).count("paid") == 1
    settle()
    assert SandboxRefund.objects.on(mei.shard).count() == 0
    assert (alerts_on(mei.shard), audit()) == ([], [])


def _age(payment_id: int) -> float:
    """The seconds since a payment was started."""
    payment: Payment = Payment.objects.by_id(payment_id).get()
    return (db_now(shard_of_id(payment_id)) - payment.created_at).total_seconds()
