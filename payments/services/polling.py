"""Asking the provider what no webhook told: 30 s, 2 min and 5 min after the start, at expiry, and once after it.

What is still open then, or couldn't be asked, is asked about for ever, less and less often.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from payments import providers
from payments.models import Payment, PaymentAlert
from payments.providers.base import Outcome, OutcomeState, ProviderRefused, ProviderUnavailable
from payments.services import reading, settling
from payments.services.audit import OPEN_AFTER_EXPIRY
from payments.states import OPEN, PaymentStatus
from waimai.infra import crashpoints, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic

logger = logging.getLogger(__name__)

POLL = settling.POLL
ASKED, NOTED = crashpoints.around("poll.call"), crashpoints.around("poll.note")
PUT_OFF, FORGOTTEN = crashpoints.around("poll.retry"), crashpoints.around("poll.end")
LOOKS_AFTER_SECONDS = (30, 120, 300)
# A payer who was at the till when we closed it may still have paid.
LAST_LOOK_AFTER_EXPIRY_SECONDS = 120
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=10)


def first_look(payment: Payment) -> datetime:
    """When to ask about a new payment for the first time."""
    return _looks(payment)[0]


def poll_payment(*, payment_id: int, using: str) -> None:
    """Ask the provider about a payment and apply its word; close it once expired; set the next look or none.

    Must not run inside a transaction.
    """
    payment = reading.find(payment_id)
    if payment is None or payment.status == PaymentStatus.CAPTURED:
        run_atomic(using, lambda: timers.cancel(POLL, [payment_id], using=using), commit=FORGOTTEN)
        return
    expired = db_now(using) >= payment.expires_at
    try:
        with ASKED:
            outcome = _ask(payment, expired=expired)
    except (ProviderUnavailable, ProviderRefused) as error:
        logger.warning("payment %s: asking %s failed: %s", payment_id, payment.provider, error)
        run_atomic(using, lambda: _look_again(payment, using), commit=PUT_OFF)
        return
    run_atomic(using, lambda: _note(payment_id, outcome, using, expired=expired), commit=NOTED)


def _ask(payment: Payment, *, expired: bool) -> Outcome:
    """The provider's word; an open payment past its time is closed there."""
    provider, charge = providers.of_payment(payment.provider), reading.charge_of(payment)
    outcome = provider.query(charge)
    unsettled = outcome.state is OutcomeState.UNPAID and payment.status in OPEN
    if unsettled and expired:
        return provider.close(charge)
    return outcome


def _note(payment_id: int, outcome: Outcome, using: str, *, expired: bool) -> None:
    """Apply the provider's word and set the next look; `expired`: whether it had, when the provider was asked."""
    payment = settling.lock(payment_id, using)
    settling.settle(payment, outcome, using=using)
    now = db_now(using)
    ahead = [look for look in _looks(payment) if look > now]
    status = settling.read(payment_id, using).status
    if status in OPEN and now >= payment.expires_at and not expired:
        # It was given up while the provider answered, and nobody asked for it to be closed yet.
        ahead = [now]
    if status in OPEN and not ahead:
        _look_again(payment, using)
    elif status == PaymentStatus.CAPTURED or not ahead:
        timers.cancel(POLL, [payment_id], using=using)
    else:
        timers.schedule(POLL, payment_id, due_at=ahead[0], using=using)


def _look_again(payment: Payment, using: str) -> None:
    """Ask later about a payment whose fate nobody told; a person hears of one that stays open for too long."""
    now = db_now(using)
    timers.schedule(POLL, payment.id, due_at=now + pause_after(now - payment.created_at), using=using)
    if payment.status in OPEN and now >= payment.expires_at + OPEN_AFTER_EXPIRY:
        detail = f"not settled since {payment.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        settling.alert(payment.id, payment.provider, PaymentAlert.Kind.PAYMENT_UNSETTLED, detail, using=using)


def pause_after(age: timedelta) -> timedelta:
    """How long to wait before a payment of this age is asked about again: a tenth of it, 30 s to 10 min."""
    return min(max(age / 10, SHORTEST_PAUSE), LONGEST_PAUSE)


def _looks(payment: Payment) -> list[datetime]:
    """Every time at which we ask, in order."""
    early = [payment.created_at + timedelta(seconds=seconds) for seconds in LOOKS_AFTER_SECONDS]
    last = payment.expires_at + timedelta(seconds=LAST_LOOK_AFTER_EXPIRY_SECONDS)
    return [*(look for look in early if look < payment.expires_at), payment.expires_at, last]
