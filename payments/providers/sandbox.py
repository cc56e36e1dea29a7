"""The sandbox gateway: it ships with the product, keeps its own books and behaves like a real one, on request badly.

`tell` plays the payer at the till; `fail_next` makes the gateway itself stumble. Its books stand on the order shards
for convenience; our side never reads them. A charge that was closed can still be told to succeed, which rehearses the
payer who was faster than our close.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from django.db.models import Sum
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from payments.models import SandboxCharge, SandboxNotice, SandboxRefund
from payments.money import yuan
from payments.providers import sandbox_statement, sandbox_wire
from payments.providers.base import (
    Charge,
    Notification,
    Outcome,
    OutcomeState,
    ProviderRefused,
    RefundCall,
    StatementRow,
)
from payments.providers.sandbox_faults import Fault as Fault
from payments.providers.sandbox_faults import fail_next as fail_next
from payments.providers.sandbox_faults import with_faults
from waimai.infra import ids, sharding, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.rows import insert_ignore

NAME = "sandbox"
# The kind of the timer that books what a payer was told to do and delivers the notice of it.
NOTIFY = "sandbox.notify"


class SandboxOutcome(StrEnum):
    """What a payer can do with a charge."""

    SUCCESS = "success"
    FAILURE = "failure"


class Sandbox:
    """Our side's view of the gateway: the provider protocol over its books."""

    name, label = NAME, _("模拟支付")
    merchant = sandbox_wire.MERCHANT

    def create(self, charge: Charge) -> dict[str, Any]:
        """Open a charge under our number; again with the same number changes nothing."""
        return with_faults("create", charge.payment_id, lambda: _create(charge))

    def query(self, charge: Charge) -> Outcome:
        """What the books say."""
        return with_faults("query", charge.payment_id, lambda: _query(charge.payment_id))

    def close(self, charge: Charge) -> Outcome:
        """Close the charge unless it was captured."""
        return with_faults("close", charge.payment_id, lambda: _close(charge.payment_id))

    def refund(self, call: RefundCall) -> bool:
        """Give money back, once per number and never more than was captured."""
        return with_faults("refund", call.payment_id, lambda: _refund(call))

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify and read what `sandbox_wire` signed."""
        return sandbox_wire.parse(headers, body)

    def statement(self, since: datetime, until: datetime) -> Iterator[StatementRow]:
        """What the books say moved in a period."""
        return sandbox_statement.rows(since, until)


def tell(
    payment_id: int,
    outcome: SandboxOutcome | str,
    *,
    delay_seconds: float = 0,
    late_seconds: float = 0,
    times: int = 1,
    **claims: object,
) -> int:
    """Play the payer: capture or fail the charge in `delay_seconds`, then call the webhook `times` times (0: never).

    The call comes another `late_seconds` later. `claims` are members of its body that aren't true, like an `amount`.
    Returns the number of the notice. Raises ProviderRefused for a charge the gateway never heard of.
    """
    using = sharding.shard_of_id(payment_id)
    notice = _notice(payment_id, outcome=SandboxOutcome(outcome).value, times=times, claims=claims)

    def body() -> None:
        if not SandboxCharge.objects.on(using).filter(payment_id=payment_id).exists():
            raise ProviderRefused(f"no charge {payment_id}")
        notice.due_at = db_now(using) + timedelta(seconds=delay_seconds)
        notice.save(using=using, force_insert=True)
        timers.schedule(NOTIFY, notice.id, due_at=notice.due_at + timedelta(seconds=late_seconds), using=using)
        if delay_seconds <= 0:
            book(notice, using=using)

    run_atomic(using, body)
    return notice.id


def tell_refund(refund: SandboxRefund, /, *, late_seconds: float = 0, times: int = 1, **claims: object) -> int:
    """Call the webhook about money that went back, as `tell` does about a payment; returns the notice's number."""
    using = sharding.shard_of_id(refund.payment_id)
    notice = _notice(
        refund.payment_id, outcome=SandboxOutcome.SUCCESS.value, times=times, claims=claims, refund_id=refund.refund_id
    )

    def body() -> None:
        notice.booked, notice.due_at = True, db_now(using)
        notice.save(using=using, force_insert=True)
        timers.schedule(NOTIFY, notice.id, due_at=notice.due_at + timedelta(seconds=late_seconds), using=using)

    run_atomic(using, body)
    return notice.id


def _notice(payment_id: int, **values: Any) -> SandboxNotice:
    bucket = ids.bucket_of(payment_id)
    return SandboxNotice(id=ids.new_id(bucket), bucket=bucket, payment_id=payment_id, **values)


def book(notice: SandboxNotice, *, using: str) -> None:
    """Do what a notice says, once, in the open transaction: a success is money, whatever the charge was before."""
    mine = SandboxNotice.objects.on(using).filter(id=notice.id, booked=False)
    if mine.update(booked=True) != 1:
        return
    charge = SandboxCharge.objects.on(using).filter(payment_id=notice.payment_id)
    if notice.outcome == SandboxOutcome.SUCCESS:
        paid = charge.exclude(state=SandboxCharge.State.CAPTURED)
        change = {"transaction_id": f"SB{notice.payment_id}", "captured_at": notice.due_at}
        paid.update(state=SandboxCharge.State.CAPTURED, **change)
    else:
        charge.filter(state=SandboxCharge.State.OPEN).update(state=SandboxCharge.State.FAILED)


def _create(charge: Charge) -> dict[str, Any]:
    using = sharding.shard_of_id(charge.payment_id)

    def body() -> None:
        row = {
            "payment_id": charge.payment_id,
            "bucket": ids.bucket_of(charge.payment_id),
            "amount": charge.amount,
            "state": SandboxCharge.State.OPEN.value,
            "transaction_id": "",
            "created_at": db_now(using),
        }
        if insert_ignore(SandboxCharge, [row], using=using) == 1:
            return
        if _charge(charge.payment_id, using).amount != charge.amount:
            raise ProviderRefused(f"charge {charge.payment_id} was opened with another amount")

    run_atomic(using, body)
    return {"pay_url": reverse("sandbox_pay", args=[charge.payment_id])}


def _query(payment_id: int) -> Outcome:
    using = sharding.shard_of_id(payment_id)

    def body() -> Outcome:
        due = SandboxNotice.objects.on(using).filter(payment_id=payment_id, booked=False, due_at__lte=db_now(using))
        for notice in due.order_by("due_at", "id"):
            book(notice, using=using)
        return _outcome(SandboxCharge.objects.on(using).filter(payment_id=payment_id).first())

    return run_atomic(using, body)


def _close(payment_id: int) -> Outcome:
    using = sharding.shard_of_id(payment_id)
    outcome = _query(payment_id)
    if outcome.state is not OutcomeState.UNPAID:
        return outcome
    still_open = SandboxCharge.objects.on(using).filter(payment_id=payment_id, state=SandboxCharge.State.OPEN)
    still_open.update(state=SandboxCharge.State.CLOSED)
    charge = SandboxCharge.objects.on(using).filter(payment_id=payment_id).first()
    # A charge that never came here takes no money either.
    return _outcome(charge) if charge is not None else Outcome(state=OutcomeState.CLOSED)


def _outcome(charge: SandboxCharge | None) -> Outcome:
    if charge is None or charge.state == SandboxCharge.State.OPEN:
        return Outcome(state=OutcomeState.UNPAID)
    if charge.state == SandboxCharge.State.CAPTURED:
        return Outcome(state=OutcomeState.CAPTURED, transaction_id=charge.transaction_id, amount=charge.amount)
    if charge.state == SandboxCharge.State.FAILED:
        return Outcome(state=OutcomeState.FAILED, reason=sandbox_wire.FAILURE_REASON)
    return Outcome(state=OutcomeState.CLOSED)


def _refund(call: RefundCall) -> bool:
    using = sharding.shard_of_id(call.payment_id)

    def body() -> bool:
        charge = _charge(call.payment_id, using, locked=True)
        known = SandboxRefund.objects.on(using).filter(refund_id=call.refund_id).first()
        if known is not None:
            return _same_refund(known, call)
        given_back = SandboxRefund.objects.on(using).filter(payment_id=call.payment_id)
        total = yuan(given_back.aggregate(total=Sum("amount"))["total"])
        if charge.state != SandboxCharge.State.CAPTURED or total + call.amount > charge.amount:
            raise ProviderRefused(f"refund {call.refund_id}: ¥{call.amount} is more than what is left")
        refund = SandboxRefund(
            refund_id=call.refund_id,
            bucket=charge.bucket,
            payment_id=call.payment_id,
            amount=call.amount,
            created_at=db_now(using),
        )
        refund.save(using=using, force_insert=True)
        tell_refund(refund)
        return True

    return run_atomic(using, body)


def _same_refund(known: SandboxRefund, call: RefundCall) -> bool:
    if (known.payment_id, known.amount) != (call.payment_id, call.amount):
        raise ProviderRefused(f"refund {call.refund_id} was another one")
    return True


def _charge(payment_id: int, using: str, *, locked: bool = False) -> SandboxCharge:
    rows = SandboxCharge.objects.on(using).filter(payment_id=payment_id)
    charge = (rows.select_for_update() if locked else rows).first()
    if charge is None:
        raise ProviderRefused(f"no charge {payment_id}")
    return cast("SandboxCharge", charge)
