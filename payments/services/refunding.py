"""Giving money back: asked for in the transaction that needs it, sent until the provider has done it.

A refund is one row, one number and one effect. It is named by (payment, purpose, ref); the sum of a payment's refunds
never exceeds what was captured, as they are only ever added under the lock of the payment's row.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import cast

from django.db import connections
from django.db.models import F, Sum

from payments import providers
from payments.errors import RefundNotPossible, RefundTooLarge
from payments.events import RefundSucceeded
from payments.models import Payment, PaymentAlert, Refund
from payments.money import NOTHING, yuan
from payments.providers.base import ProviderRefused, ProviderResting, ProviderUnavailable, RefundCall, RefundDone
from payments.services import ledger, reading, settling
from payments.states import PaymentStatus, RefundStatus
from waimai.infra import crashpoints, ids, outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic

logger = logging.getLogger(__name__)

# The kind of the timer that sends refunds.
SEND = "refund.send"
LONGEST_PAUSE_SECONDS = 300
CALLED, SUCCEEDED = crashpoints.around("refund.call"), crashpoints.around("refund.succeed")
WAITING, PUT_OFF, FORGOTTEN = (crashpoints.around(f"refund.{name}") for name in ("wait", "retry", "end"))
# The provider has the refund and works on it: ask again after this long.
ASK_AGAIN_AFTER_SECONDS = 30
ALERT_AFTER_ATTEMPTS = 5


def request_refund(
    *, payment_id: int, amount: Decimal | None, purpose: str, ref: str, reason: str = "", using: str
) -> int | None:
    """Ask for `amount` yuan of a payment to be given back (None: all that is left) and return the refund's number.

    Belongs in the caller's transaction on `using`: the refund is asked for if and only if that commits, and sent
    after. The same (payment, purpose, ref) returns the refund it asked for the first time. Returns None when "all that
    is left" is nothing. Raises RefundTooLarge, and RefundNotPossible for a payment that wasn't captured.
    """
    if not connections[using].in_atomic_block:
        raise RuntimeError("request_refund() belongs inside the transaction that needs it")
    payment = settling.lock(payment_id, using)
    if payment.status != PaymentStatus.CAPTURED:
        raise RefundNotPossible
    earlier = Refund.objects.on(using).filter(payment_id=payment_id, purpose=purpose, ref=ref).first()
    if earlier is not None:
        return cast("int", earlier.id)
    remaining = payment.amount - _asked_for(payment_id, using)
    wanted = remaining if amount is None else amount
    if amount is None and not remaining:
        return None
    if not NOTHING < wanted <= remaining:
        raise RefundTooLarge(remaining=str(remaining))
    return _add(payment, wanted, closing=wanted == remaining, naming=(purpose, ref, reason), using=using)


def refund_order(*, order_id: int, purpose: str, reason: str = "", ref: str = "order", using: str) -> int:
    """Ask for everything that is left of every captured payment of an order; returns how many refunds that makes.

    Belongs in the caller's transaction on `using`; asking twice changes nothing. A capture that isn't committed yet
    is not seen: it will find the order cancelled and ask for its own refund.
    """
    asked = [
        request_refund(payment_id=payment.id, amount=None, purpose=purpose, ref=ref, reason=reason, using=using)
        for payment in reading.captured_payments(order_id, using)
    ]
    return len([number for number in asked if number is not None])


def refund_part(*, order_id: int, amount: Decimal, purpose: str, ref: str, reason: str = "", using: str) -> int:
    """Ask for `amount` yuan of what an order has paid and kept to be given back; returns the refund's number.

    Belongs in the caller's transaction on `using`; asking twice changes nothing. Of several captured payments all but
    one went back whole. Raises RefundTooLarge, and RefundNotPossible when nothing was captured.
    """
    captured = [payment.id for payment in reading.captured_payments(order_id, using)]
    if not captured:
        raise RefundNotPossible
    closing = Refund.objects.on(using).filter(payment_id__in=captured, closing=True)
    gone = set(closing.values_list("payment_id", flat=True))
    kept = [number for number in captured if number not in gone] or captured
    return cast(
        "int",
        request_refund(payment_id=kept[0], amount=amount, purpose=purpose, ref=ref, reason=reason, using=using),
    )


def send_refund(*, refund_id: int, using: str) -> None:
    """Give a refund to the provider and note the answer; a failure is noted and tried again later, for ever.

    Must not run inside a transaction. The provider sees the same number at every try, so that a try whose answer was
    lost has no second effect.
    """
    refund = Refund.objects.on(using).filter(id=refund_id).first()
    if refund is None or refund.status == RefundStatus.SUCCEEDED:
        run_atomic(using, lambda: timers.cancel(SEND, [refund_id], using=using), commit=FORGOTTEN)
        return
    payment = settling.read(refund.payment_id, using)
    try:
        with CALLED:
            done = providers.of_payment(payment.provider).refund(_call(refund, payment))
    except ProviderResting as error:
        # Nobody was asked: that is no try, and no reason to call a person.
        due_at = db_now(using) + timedelta(seconds=error.retry_after)
        run_atomic(using, lambda: timers.schedule(SEND, refund_id, due_at=due_at, using=using), commit=WAITING)
        return
    except (ProviderUnavailable, ProviderRefused) as error:
        failure = f"{type(error).__name__}: {error}"
        run_atomic(using, lambda: _try_later(refund_id, failure, using), commit=PUT_OFF)
        return
    if done:
        run_atomic(using, lambda: _succeed(refund_id, using), commit=SUCCEEDED)
    else:
        due_at = db_now(using) + timedelta(seconds=ASK_AGAIN_AFTER_SECONDS)
        run_atomic(using, lambda: timers.schedule(SEND, refund_id, due_at=due_at, using=using), commit=WAITING)


def settle(payment: Payment, done: RefundDone, *, using: str) -> None:
    """Apply a provider's word that money of a payment went back, in the open transaction on `using`.

    A word that doesn't fit (a refund we never asked for, another amount) moves nothing and leaves an alert.
    """
    refund = Refund.objects.on(using).filter(id=done.refund_id, payment_id=payment.id).first()
    found = f"refund {done.refund_id}: ¥{done.amount}"
    if refund is None:
        settling.alert(payment.id, payment.provider, PaymentAlert.Kind.UNKNOWN_REFUND, found, using=using)
    elif refund.amount != done.amount:
        detail = f"{found}, expected ¥{refund.amount}"
        settling.alert(payment.id, payment.provider, PaymentAlert.Kind.WRONG_AMOUNT, detail, using=using)
    else:
        _succeed(refund.id, using)


def send_refunds_now(*, refund_ids: Sequence[int], using: str) -> int:
    """Try waiting refunds at once instead of after their pause; returns how many of them were waiting."""

    def body() -> int:
        waiting = Refund.objects.on(using).filter(id__in=refund_ids, status=RefundStatus.PENDING)
        now = db_now(using)
        pairs = [(refund_id, now) for refund_id in waiting.values_list("id", flat=True)]
        timers.schedule_many(SEND, pairs, using=using)
        return len(pairs)

    return run_atomic(using, body)


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many failed tries: 1 s, 2 s, 4 s … 5 min."""
    return timedelta(seconds=min(2 ** min(attempts - 1, 16), LONGEST_PAUSE_SECONDS))


def _asked_for(payment_id: int, using: str) -> Decimal:
    return yuan(Refund.objects.on(using).filter(payment_id=payment_id).aggregate(total=Sum("amount"))["total"])


def _add(payment: Payment, amount: Decimal, *, closing: bool, naming: tuple[str, str, str], using: str) -> int:
    purpose, ref, reason = naming
    now = db_now(using)
    refund = Refund(
        id=ids.new_id(payment.bucket),
        bucket=payment.bucket,
        payment_id=payment.id,
        order_id=payment.order_id,
        amount=amount,
        purpose=purpose,
        ref=ref,
        reason=reason[:200],
        closing=closing,
        created_at=now,
    )
    refund.save(using=using, force_insert=True)
    timers.schedule(SEND, refund.id, due_at=now, using=using)
    return refund.id


def _call(refund: Refund, payment: Payment) -> RefundCall:
    return RefundCall(
        refund_id=refund.id,
        payment_id=payment.id,
        transaction_id=payment.transaction_id,
        amount=refund.amount,
        total=payment.amount,
        reason=refund.reason,
    )


def _try_later(refund_id: int, failure: str, using: str) -> None:
    waiting = Refund.objects.on(using).filter(id=refund_id, status=RefundStatus.PENDING)
    if waiting.update(attempts=F("attempts") + 1, last_error=failure[:200]) != 1:
        return
    refund = waiting.get()
    timers.schedule(SEND, refund_id, due_at=db_now(using) + pause_after(refund.attempts), using=using)
    logger.warning("refund %s: try %s failed: %s", refund_id, refund.attempts, failure)
    if refund.attempts == ALERT_AFTER_ATTEMPTS:
        payment = settling.read(refund.payment_id, using)
        detail = f"refund {refund_id}: {failure}"
        settling.alert(payment.id, payment.provider, PaymentAlert.Kind.REFUND_STUCK, detail, using=using)


def _succeed(refund_id: int, using: str) -> None:
    refund = Refund.objects.on(using).get(id=refund_id)
    # Held together and in one order, so that of two refunds finishing at once one sees the other.
    captured = list(reading.of_order(refund.order_id, using).filter(status=PaymentStatus.CAPTURED).select_for_update())
    waiting = Refund.objects.on(using).filter(id=refund_id, status=RefundStatus.PENDING)
    now = db_now(using)
    if waiting.update(status=RefundStatus.SUCCEEDED, succeeded_at=now, last_error="") != 1:
        return
    payment = next(payment for payment in captured if payment.id == refund.payment_id)
    ledger.book_refund(refund, payment, at=now, using=using)
    timers.cancel(SEND, [refund_id], using=using)
    given_back = Refund.objects.on(using).filter(order_id=refund.order_id, status=RefundStatus.SUCCEEDED)
    total = yuan(given_back.aggregate(total=Sum("amount"))["total"])
    news = RefundSucceeded(
        key=refund.order_id,
        payment_id=refund.payment_id,
        user_id=payment.user_id,
        amount=refund.amount,
        refund_id=refund.id,
        purpose=refund.purpose,
        closing=total == sum(payment.amount for payment in captured),
    )
    outbox.publish(news, using=using)
