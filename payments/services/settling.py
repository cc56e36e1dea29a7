"""Moving a payment to where the provider says it is: the one place that believes a webhook, a query or a close."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, cast

from django.db import connections

from payments.events import PaymentCaptured, PaymentFailed
from payments.models import Payment, PaymentAlert, ProviderTransaction
from payments.providers.base import Outcome, OutcomeState
from payments.services import ledger, reading
from payments.states import SOURCES, PaymentStatus
from waimai.infra import ids, outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound
from waimai.infra.rows import insert_ignore

logger = logging.getLogger(__name__)

# The kind of the timer that asks the provider.
POLL = "payment.poll"


def settle(payment: Payment, outcome: Outcome, *, using: str) -> bool:
    """Apply a provider's word to a locked payment, in the open transaction on `using`; true when something changed.

    A word that doesn't fit (another amount, a transaction that paid something else) moves nothing and leaves an alert.
    """
    if outcome.state is OutcomeState.CAPTURED:
        return _capture(payment, outcome, using)
    if outcome.state is OutcomeState.FAILED:
        return fail(payment, outcome.reason, using)
    if outcome.state is OutcomeState.CLOSED:
        return move(payment.id, PaymentStatus.CLOSED, using=using)
    return False


def fail(payment: Payment, reason: str, using: str) -> bool:
    """Note that the payer's attempt failed, unless the money came in the meantime; true when it did change."""
    if not move(payment.id, PaymentStatus.FAILED, using=using, failure=reason[:200]):
        return False
    news = PaymentFailed(
        key=payment.order_id,
        payment_id=payment.id,
        user_id=payment.user_id,
        amount=payment.amount,
        provider=payment.provider,
        reason=reason,
    )
    outbox.publish(news, using=using)
    return True


def move(payment_id: int, to: PaymentStatus, *, using: str, **changes: Any) -> bool:
    """Compare-and-set the state of a payment; true when it was this call that moved it."""
    row = Payment.objects.on(using).filter(id=payment_id, status__in=SOURCES[to])
    return cast("int", row.update(status=to, **changes)) == 1


def lock(payment_id: int, using: str) -> Payment:
    """The payment's row, held until the open transaction ends. Raises NotFound."""
    return _one(Payment.objects.on(using).select_for_update().filter(id=payment_id))


def lock_payments(*, order_ids: Sequence[int], using: str) -> None:
    """Hold the payments of some orders of a shard, in the order of their numbers, until the open transaction ends.

    News of a payment holds the payment first and its order second: who will hold an order and then move its payments
    or refunds calls this before, or the two wait for each other in a circle. Orders without payments are fine.
    """
    if not connections[using].in_atomic_block:
        raise RuntimeError("lock_payments() belongs inside the transaction that goes on to lock the orders")
    if not order_ids:
        return
    # Found first and then held by their numbers alone: a search under lock would hold on to what it passes by.
    found = list(reading.of_orders(order_ids, using).values_list("id", flat=True))
    list(Payment.objects.on(using).select_for_update().filter(id__in=found).order_by("id").values_list("id"))


def read(payment_id: int, using: str) -> Payment:
    """The payment's row as it is now. Raises NotFound."""
    return _one(Payment.objects.on(using).filter(id=payment_id))


def alert(payment_id: int, provider: str, kind: PaymentAlert.Kind, detail: str, *, using: str) -> None:
    """Leave a note for a person, in the open transaction, and a line in the log; the same again is told once."""
    bucket = ids.bucket_of(payment_id)
    row = {
        "id": ids.new_id(bucket),
        "bucket": bucket,
        "kind": kind.value,
        "provider": provider,
        "payment_id": payment_id,
        "detail": detail[:200],
        "once": hashlib.sha256(f"{payment_id} {kind} {detail}".encode()).hexdigest(),
        "created_at": db_now(using),
    }
    if insert_ignore(PaymentAlert, [row], using=using) == 1:
        logger.error("payment %s (%s): %s: %s", payment_id, provider, kind, detail)


def _one(rows: Any) -> Payment:
    payment = cast("Payment | None", rows.first())
    if payment is None:
        raise NotFound
    return payment


def _capture(payment: Payment, outcome: Outcome, using: str) -> bool:
    if not _fits(payment, outcome, using):
        return False
    now = db_now(using)
    change = {"transaction_id": outcome.transaction_id, "captured_at": now, "failure": ""}
    if not move(payment.id, PaymentStatus.CAPTURED, using=using, **change):
        return False
    ledger.book_charge(payment, outcome.transaction_id, at=now, using=using)
    timers.cancel(POLL, [payment.id], using=using)
    news = PaymentCaptured(
        key=payment.order_id,
        payment_id=payment.id,
        user_id=payment.user_id,
        amount=payment.amount,
        provider=payment.provider,
        transaction_id=outcome.transaction_id,
    )
    outbox.publish(news, using=using)
    return True


def _fits(payment: Payment, outcome: Outcome, using: str) -> bool:
    """Whether this capture is the one we are waiting for; leaves an alert when a person has to look."""
    found = f"{outcome.transaction_id}: ¥{outcome.amount}"
    if payment.status == PaymentStatus.CAPTURED:
        if payment.transaction_id != outcome.transaction_id:
            detail = f"{found}, after {payment.transaction_id}"
            alert(payment.id, payment.provider, PaymentAlert.Kind.SECOND_TRANSACTION, detail, using=using)
        return False
    if outcome.amount != payment.amount:
        detail = f"{found}, expected ¥{payment.amount}"
        alert(payment.id, payment.provider, PaymentAlert.Kind.WRONG_AMOUNT, detail, using=using)
        return False
    if (other := _paid_by(payment, outcome.transaction_id, using)) != payment.id:
        detail = f"{found} paid {other}"
        alert(payment.id, payment.provider, PaymentAlert.Kind.TRANSACTION_REUSED, detail, using=using)
        return False
    return True


def _paid_by(payment: Payment, transaction_id: str, using: str) -> int:
    """The payment that a provider's transaction belongs to: this one, when it was free."""
    row = {
        "provider": payment.provider,
        "transaction_id": transaction_id,
        "payment_id": payment.id,
        "bucket": payment.bucket,
    }
    if insert_ignore(ProviderTransaction, [row], using=using) == 1:
        return payment.id
    known = ProviderTransaction.objects.on(using).get(provider=payment.provider, transaction_id=transaction_id)
    return cast("int", known.payment_id)
