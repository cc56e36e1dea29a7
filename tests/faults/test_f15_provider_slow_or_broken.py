"""The provider hangs, answers 500, or times out after it did what we asked: one number, one capture, one refund.

After five failures in a row the breaker opens: nobody waits for it any more, and nothing is given up for that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections

from orders import services
from payments.models import Payment, Refund, SandboxCharge, SandboxRefund
from payments.providers import base, sandbox
from payments.providers.base import Charge, RefundCall
from payments.providers.sandbox import Fault
from tests.accounts.factories import problem, read
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    audit,
    history,
    notice,
    order,
    overdue,
    paid,
    payment_older,
    payments_of,
    placed,
    receive,
    refunds_of,
    settle,
    start_payment,
    sweep,
)
from waimai.infra import timers
from waimai.infra.breaker import breakers
from waimai.infra.clock import db_now
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.models import Timer
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data

# It takes five seconds; our patience ends before.
HANGS_SECONDS = 5.0
BROKEN = [Fault.DOWN, Fault.LOST_ANSWER, Fault.SLOW]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CALL_SECONDS", 0.2)


@contextmanager
def hanging(name: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """One call to the provider hangs so long; the event says that it began."""
    began, original = threading.Event(), getattr(sandbox.Sandbox, name)

    def hang(self: sandbox.Sandbox, call: Any) -> Any:
        began.set()
        time.sleep(seconds)
        return original(self, call)

    with monkeypatch.context() as patch:
        patch.setattr(sandbox.Sandbox, name, hang)
        yield began


def in_thread(body: Any) -> threading.Thread:
    def run() -> None:
        try:
            body()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def try_refund_now(order_id: int) -> None:
    using = shard_of_id(order_id)
    Timer.objects.on(using).filter(kind="refund.send").update(due_at=db_now(using))
    timers.sweep(using, lane="network")


@pytest.mark.parametrize("mode", BROKEN)
def test_f15_a_prepay_without_answer_is_repeated_under_its_number(
    mei: Person, stall: Stall, impatient: None, monkeypatch: pytest.MonkeyPatch, mode: Fault
) -> None:
    order_id = placed(mei, stall)
    numbers: list[int] = []
    original = sandbox.Sandbox.create

    def count(self: sandbox.Sandbox, charge: Charge) -> dict[str, Any]:
        numbers.append(charge.payment_id)
        return original(self, charge)

    monkeypatch.setattr(sandbox.Sandbox, "create", count)
    sandbox.fail_next("create", near=order_id, times=3, mode=mode, seconds=HANGS_SECONDS)
    for _try in range(3):
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            start_payment(order_id)
        assert time.monotonic() - began < HANGS_SECONDS
    payment_id = start_payment(order_id)
    assert numbers == [payment_id] * 4
    assert SandboxCharge.objects.on(mei.shard).count() == Payment.objects.on(mei.shard).count() == 1
    receive(notice(payment_id))
    settle()
    assert (history(order_id).count("paid"), payments_of(order_id)) == (1, ["captured"])
    assert (refunds_of(order_id), audit()) == ([], [])


def test_f15_a_prepay_without_answer_is_503_and_the_key_finds_it(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    sandbox.fail_next("create", near=order_id, mode=Fault.LOST_ANSWER)
    path, wish = f"orders/{order_id}/pay/", {"provider": "sandbox"}
    first = mei.api.post(path, wish, Idempotency_Key="p-1")
    assert problem(first) == (503, "service_unavailable")
    assert int(first["Retry-After"]) > 0
    second = mei.api.post(path, wish, Idempotency_Key="p-1")
    assert second.status_code == 201
    assert SandboxCharge.objects.on(mei.shard).get().payment_id == read(second)["payment"]


@pytest.mark.parametrize("mode", BROKEN)
def test_f15_a_refund_without_answer_is_repeated_under_its_number(
    mei: Person, stall: Stall, impatient: None, monkeypatch: pytest.MonkeyPatch, mode: Fault
) -> None:
    order_id = paid(mei, stall)
    numbers: list[int] = []
    original = sandbox.Sandbox.refund

    def count(self: sandbox.Sandbox, call: RefundCall) -> bool:
        numbers.append(call.refund_id)
        return original(self, call)

    monkeypatch.setattr(sandbox.Sandbox, "refund", count)
    sandbox.fail_next("refund", near=order_id, times=3, mode=mode, seconds=HANGS_SECONDS)
    services.cancel(order_id=order_id, user_id=mei.id)
    for _try in range(3):
        try_refund_now(order_id)
        assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "pending")]
    try_refund_now(order_id)
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "succeeded")]
    assert numbers == [Refund.objects.of_order(order_id).get().id] * 4
    assert SandboxRefund.objects.on(mei.shard).count() == 1
    settle()
    assert (order(order_id).payment_status, audit()) == ("refunded", [])


@pytest.mark.parametrize("operation", ["query", "close"])
def test_f15_an_order_expires_though_its_provider_is_broken(mei: Person, stall: Stall, operation: str) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    sandbox.fail_next(operation, near=order_id, times=3)
    overdue(order_id)
    for _try in range(4):
        payment_older(payment_id, seconds=1)
        settle()
        assert order(order_id).status == "cancelled"
    assert payments_of(order_id) == ["closed"]
    assert audit() == []


def test_f15_a_provider_that_hangs_holds_up_no_expiry(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, other = placed(mei, stall, key="k-1"), placed(mei, stall, key="k-2")
    payment_older(start_payment(waiting), seconds=31)
    with hanging("query", HANGS_SECONDS / 2, monkeypatch) as began:
        lane = in_thread(lambda: timers.sweep(mei.shard, lane="network"))
        assert began.wait(20)
        overdue(other)
        assert timers.sweep(mei.shard, lane="db") == 1
        assert order(other).status == "cancelled"
        assert lane.is_alive()  # The provider still hangs.
        lane.join(30)
    settle()
    assert audit() == []


def test_f15_a_provider_that_hangs_at_the_prepay_holds_no_lock(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = placed(mei, stall)
    with hanging("create", HANGS_SECONDS / 2, monkeypatch) as began:
        paying = in_thread(lambda: start_payment(order_id))
        assert began.wait(20)
        services.cancel(order_id=order_id, user_id=mei.id)
        assert order(order_id).status == "cancelled"
        assert paying.is_alive()  # The provider still hangs.
        paying.join(30)
    payment_id = Payment.objects.of_order(order_id).get().id
    payment_older(payment_id, seconds=1)
    sweep()
    assert payments_of(order_id) == ["closed"]
    # Whoever pays at the till that opened too late gets it back.
    receive(notice(payment_id))
    settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "late", "succeeded")]
    assert audit() == []


def test_f15_the_breaker_opens_after_five_and_what_waits_is_done_when_it_closes(
    mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    refunded, expired, waiting = (placed(mei, stall, key=f"k-{n}") for n in range(3))
    payment_id = start_payment(refunded)
    receive(notice(payment_id))
    start_payment(expired)
    sandbox.fail_next("create", near=waiting, times=100)
    for _try in range(5):
        with pytest.raises(ServiceUnavailable):
            start_payment(waiting)
    monkeypatch.setattr(sandbox.Sandbox, "create", lambda _self, _charge: pytest.fail("called"))
    monkeypatch.setattr(sandbox.Sandbox, "refund", lambda _self, _call: pytest.fail("called"))
    with pytest.raises(ServiceUnavailable) as refusal:
        start_payment(waiting)
    assert 50 <= (refusal.value.retry_after or 0) <= 60
    # Nothing else waits: orders are placed, cancelled and expire; the refund is put off, and that is no try of it.
    placed(mei, stall, key="k-4")
    services.cancel(order_id=refunded, user_id=mei.id)
    overdue(expired)
    settle()
    assert (order(refunded).status, order(expired).status) == ("cancelled", "cancelled")
    refund = Refund.objects.on(mei.shard).get()
    assert (refund.status, refund.attempts) == ("pending", 0)
    monkeypatch.undo()
    breakers["provider:sandbox"].close()
    sandbox.fail_next("create", near=waiting, times=0)
    try_refund_now(refunded)
    settle()
    assert refunds_of(refunded) == [(FISH_TOTAL, "cancel", "succeeded")]
    assert start_payment(waiting)
    assert audit() == []
