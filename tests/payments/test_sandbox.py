from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connections

from payments import services
from payments.models import SandboxCharge, SandboxNotice
from payments.providers import base, sandbox, sandbox_delivery, sandbox_wire
from payments.providers.base import Outcome, OutcomeState, ProviderRefused, ProviderUnavailable, RefundCall
from payments.services.reading import charge_of
from payments.services.refunding import SEND
from tests.payments.factories import (
    PRICE,
    alerts,
    ask_refund,
    at_once,
    captured,
    due_at,
    fire,
    new_order,
    pending,
    refund_row,
    row,
)
from tests.support.server import Server
from waimai.infra import ids, sharding, timers
from waimai.infra.clock import db_now

pytestmark = pytest.mark.data
gateway = sandbox.Sandbox()


class Hook(ThreadingHTTPServer):
    """A webhook of somebody else's making: answers what it is told to and keeps what came."""

    answers: list[int]
    calls: list[tuple[dict[str, str], bytes]]


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((dict(self.headers.items()), body))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def hook(settings: Any) -> Iterator[Hook]:
    server = Hook(("127.0.0.1", 0), _Handler)
    server.answers, server.calls = [], []
    settings.WAIMAI_PUBLIC_URL = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sent(number: int) -> SandboxNotice:
    found: SandboxNotice = SandboxNotice.objects.by_id(number).get()
    return found


def call(payment_id: int, refund_id: int, amount: str = "56.00") -> RefundCall:
    return RefundCall(
        refund_id=refund_id,
        payment_id=payment_id,
        transaction_id=f"SB{payment_id}",
        amount=Decimal(amount),
        total=PRICE,
        reason="",
    )


# --- its books ---


def test_a_charge_is_unpaid_until_the_payer_acts() -> None:
    payment = pending()
    assert gateway.query(charge_of(payment)).state is OutcomeState.UNPAID


def test_a_charge_that_never_came_is_unpaid_and_can_be_closed() -> None:
    payment = pending()
    SandboxCharge.objects.by_id(payment.id).delete()
    assert gateway.query(charge_of(payment)).state is OutcomeState.UNPAID
    assert gateway.close(charge_of(payment)).state is OutcomeState.CLOSED


def test_a_success_is_in_the_books_at_once() -> None:
    payment = pending()
    sandbox.tell(payment.id, "success")
    outcome = gateway.query(charge_of(payment))
    assert (outcome.state, outcome.amount, outcome.transaction_id) == (OutcomeState.CAPTURED, PRICE, f"SB{payment.id}")


def test_a_delayed_success_is_not_in_the_books_before_its_time() -> None:
    payment = pending()
    number = sandbox.tell(payment.id, "success", delay_seconds=60)
    assert gateway.query(charge_of(payment)).state is OutcomeState.UNPAID
    SandboxNotice.objects.by_id(number).update(due_at=payment.created_at)
    assert gateway.query(charge_of(payment)).state is OutcomeState.CAPTURED


def test_a_failure_does_not_undo_a_success() -> None:
    payment = pending()
    sandbox.tell(payment.id, "success")
    sandbox.tell(payment.id, "failure")
    assert gateway.query(charge_of(payment)).state is OutcomeState.CAPTURED


def test_close_comes_too_late_for_a_payer_who_was_faster() -> None:
    payment = pending()
    sandbox.tell(payment.id, "success")
    assert gateway.close(charge_of(payment)).state is OutcomeState.CAPTURED


def test_a_closed_charge_can_be_told_to_succeed_all_the_same() -> None:
    payment = pending()
    gateway.close(charge_of(payment))
    sandbox.tell(payment.id, "success")
    assert gateway.query(charge_of(payment)).state is OutcomeState.CAPTURED


def test_a_charge_it_never_heard_of_cannot_be_paid() -> None:
    with pytest.raises(ProviderRefused):
        sandbox.tell(new_order(), "success")


def test_one_refund_number_gives_back_once() -> None:
    payment = captured()
    refund_id = ids.new_id(payment.bucket)
    assert gateway.refund(call(payment.id, refund_id))
    assert gateway.refund(call(payment.id, refund_id))
    with pytest.raises(ProviderRefused):
        gateway.refund(call(payment.id, refund_id, "1.00"))


def test_it_never_gives_back_more_than_it_took() -> None:
    payment = captured()
    assert gateway.refund(call(payment.id, 1, "30.00"))
    with pytest.raises(ProviderRefused):
        gateway.refund(call(payment.id, 2, "26.01"))
    assert gateway.refund(call(payment.id, 3, "26.00"))


def test_it_gives_nothing_back_for_an_unpaid_charge() -> None:
    with pytest.raises(ProviderRefused):
        gateway.refund(call(pending().id, 1))


# --- stumbling on request ---


def test_a_fault_is_used_up_by_the_calls_it_meets() -> None:
    payment = pending()
    sandbox.fail_next("query", near=payment.id, times=2)
    for _try in range(2):
        with pytest.raises(ProviderUnavailable):
            gateway.query(charge_of(payment))
    assert gateway.query(charge_of(payment)).state is OutcomeState.UNPAID


def test_a_fault_for_two_calls_meets_two_of_five_at_once() -> None:
    payment = pending()
    sandbox.fail_next("query", near=payment.id, times=2)
    answers = at_once(*[lambda: gateway.query(charge_of(payment))] * 5)
    assert sum(isinstance(answer, ProviderUnavailable) for answer in answers) == 2


def test_a_slow_call_works_in_the_end() -> None:
    payment = pending()
    sandbox.fail_next("query", near=payment.id, mode=sandbox.Fault.SLOW, seconds=0.2)
    began = time.monotonic()
    assert gateway.query(charge_of(payment)).state is OutcomeState.UNPAID
    assert time.monotonic() - began >= 0.2


def test_a_call_that_hangs_is_given_up_though_it_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CALL_SECONDS", 0.1)
    payment = captured()
    sandbox.fail_next("refund", near=payment.id, mode=sandbox.Fault.SLOW, seconds=600)
    with pytest.raises(ProviderUnavailable, match=r"no answer to refund within 0\.1 s"):
        gateway.refund(call(payment.id, 1))
    with pytest.raises(ProviderRefused):
        gateway.refund(call(payment.id, 2))


# --- its calls ---


def test_the_webhook_is_called_and_captures(server: Server, news: list[Any]) -> None:
    payment = pending()
    number = sandbox.tell(payment.id, "success")
    fire(sandbox.NOTIFY, number)
    assert row(payment.id).status == "captured"
    assert len(news) == 1
    assert due_at(sandbox.NOTIFY, number) is None


def test_a_failure_is_delivered_too(server: Server) -> None:
    payment = pending()
    fire(sandbox.NOTIFY, sandbox.tell(payment.id, "failure"))
    assert row(payment.id).status == "failed"


def test_the_webhook_is_called_as_often_as_told_and_captures_once(server: Server, news: list[Any]) -> None:
    payment = pending()
    number = sandbox.tell(payment.id, "success", times=5)
    fire(sandbox.NOTIFY, number)
    assert sent(number).sent == 5
    assert len(news) == 1


def test_every_call_says_the_same_and_is_signed_anew(hook: Hook) -> None:
    fire(sandbox.NOTIFY, sandbox.tell(pending().id, "success", times=3))
    assert len({body for _headers, body in hook.calls}) == 1
    assert len({headers["X-Sandbox-Nonce"] for headers, _body in hook.calls}) == 3
    for headers, body in hook.calls:
        outcome = sandbox_wire.parse(headers, body).outcome
        assert isinstance(outcome, Outcome)
        assert outcome.state is OutcomeState.CAPTURED


def test_told_to_call_never_it_books_and_stays_silent(hook: Hook) -> None:
    payment = pending()
    number = sandbox.tell(payment.id, "success", times=0)
    fire(sandbox.NOTIFY, number)
    assert hook.calls == []
    assert gateway.query(charge_of(payment)).state is OutcomeState.CAPTURED


def test_a_delayed_notice_waits_for_its_time(hook: Hook) -> None:
    payment = pending()
    number = sandbox.tell(payment.id, "success", delay_seconds=60)
    using = sharding.shard_of_id(payment.id)
    assert timers.fire(using, sandbox.NOTIFY, [number]) == 0
    fire(sandbox.NOTIFY, number)
    assert len(hook.calls) == 1
    assert gateway.query(charge_of(payment)).state is OutcomeState.CAPTURED


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_an_answer_that_is_no_success_is_called_again(hook: Hook, status: int) -> None:
    hook.answers = [status]
    number = sandbox.tell(pending().id, "success")
    fire(sandbox.NOTIFY, number)
    assert (sent(number).sent, sent(number).attempts, sent(number).last_error) == (0, 1, f"status {status}")
    fire(sandbox.NOTIFY, number)
    assert len(hook.calls) == 2
    assert sent(number).sent == 1
    assert due_at(sandbox.NOTIFY, number) is None


def test_the_calls_that_worked_are_not_made_again(hook: Hook) -> None:
    hook.answers = [200, 200, 500]
    number = sandbox.tell(pending().id, "success", times=3)
    fire(sandbox.NOTIFY, number)
    fire(sandbox.NOTIFY, number)
    assert len(hook.calls) == 4
    assert sent(number).sent == 3


def test_nobody_at_the_address_is_called_again(settings: Any) -> None:
    settings.WAIMAI_PUBLIC_URL = "http://127.0.0.1:9"
    number = sandbox.tell(pending().id, "success")
    before = db_now(sharding.shard_of_id(number))
    fire(sandbox.NOTIFY, number)
    assert "refused" in sent(number).last_error
    assert due_at(sandbox.NOTIFY, number) > before


def test_an_address_that_is_no_web_address_is_not_opened(settings: Any, tmp_path: Any) -> None:
    settings.WAIMAI_PUBLIC_URL = f"file://{tmp_path}"
    number = sandbox.tell(pending().id, "success")
    fire(sandbox.NOTIFY, number)
    assert sent(number).last_error.startswith("WAIMAI_PUBLIC_URL is no web address")


def test_it_gives_up_in_the_end_and_the_poller_finds_the_money(hook: Hook) -> None:
    payment = pending()
    tries = len(sandbox_delivery.PAUSES_SECONDS) + 1
    hook.answers = [500] * tries
    number = sandbox.tell(payment.id, "success")
    for _try in range(tries):
        fire(sandbox.NOTIFY, number)
    assert due_at(sandbox.NOTIFY, number) is None
    services.poll_payment(payment_id=payment.id, using=sharding.shard_of_id(payment.id))
    assert row(payment.id).status == "captured"


def test_a_call_that_is_lost_on_the_way_is_made_again(server: Server) -> None:
    payment = pending()
    sandbox.fail_next("webhook", near=payment.id)
    number = sandbox.tell(payment.id, "success")
    fire(sandbox.NOTIFY, number)
    assert row(payment.id).status == "pending"
    fire(sandbox.NOTIFY, number)
    assert row(payment.id).status == "captured"


def test_a_call_whose_answer_is_lost_is_made_again_and_captures_once(server: Server, news: list[Any]) -> None:
    payment = pending()
    sandbox.fail_next("webhook", near=payment.id, mode=sandbox.Fault.LOST_ANSWER)
    number = sandbox.tell(payment.id, "success")
    fire(sandbox.NOTIFY, number)
    assert (sent(number).sent, row(payment.id).status) == (0, "captured")
    fire(sandbox.NOTIFY, number)
    assert sent(number).sent == 1
    assert len(news) == 1


def test_a_late_notice_tells_what_has_long_been_in_the_books(hook: Hook) -> None:
    payment = pending()
    number = sandbox.tell(payment.id, "success", late_seconds=3 * 86_400)
    assert gateway.query(charge_of(payment)).state is OutcomeState.CAPTURED
    assert due_at(sandbox.NOTIFY, number) - sent(number).due_at == timedelta(days=3)
    assert timers.fire(sharding.shard_of_id(payment.id), sandbox.NOTIFY, [number]) == 0
    assert hook.calls == []


def test_it_can_claim_what_is_not_so(server: Server) -> None:
    payment = pending()
    fire(sandbox.NOTIFY, sandbox.tell(payment.id, "success", amount="0.01"))
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == ["wrong_amount"]


def test_it_tells_of_a_refund_by_itself(server: Server, news: list[Any]) -> None:
    payment = captured()
    refund_id = ask_refund(payment) or 0
    sandbox.fail_next("refund", near=payment.id, mode=sandbox.Fault.LOST_ANSWER)
    fire(SEND, refund_id)
    assert refund_row(refund_id).status == "pending"
    told = SandboxNotice.objects.on(sharding.shard_of_id(refund_id)).get(refund_id=refund_id)
    fire(sandbox.NOTIFY, told.id)
    assert refund_row(refund_id).status == "succeeded"
    assert [event.topic for event in news] == ["payment.captured", "refund.succeeded"]


def test_a_release_that_knows_no_claims_and_no_refunds_writes_notices() -> None:
    payment = pending()
    using = sharding.shard_of_id(payment.id)
    told: list[Any] = [payment.id + 1, payment.id, payment.bucket, "success", payment.created_at, False, 1, 0, 0, ""]
    columns = "id, payment_id, bucket, outcome, due_at, booked, times, sent, attempts, last_error"
    with connections[using].cursor() as cursor:
        cursor.execute(f"INSERT INTO payments_sandboxnotice ({columns}) VALUES ({', '.join(['%s'] * 10)})", told)
    assert sent(payment.id + 1).claims == {}


def test_a_notice_that_is_gone_ends_its_timer() -> None:
    nobody = pending().id + 1
    using = sharding.shard_of_id(nobody)
    timers.schedule(sandbox.NOTIFY, nobody, due_at=db_now(using), using=using)
    fire(sandbox.NOTIFY, nobody)
    assert due_at(sandbox.NOTIFY, nobody) is None


def test_the_sweep_alone_brings_a_payment_home(server: Server, news: list[Any]) -> None:
    payment = pending()
    sandbox.tell(payment.id, "success", times=2)
    timers.sweep(sharding.shard_of_id(payment.id), lane="network")
    assert row(payment.id).status == "captured"
    assert alerts(payment.id) == []
    assert len(news) == 1
