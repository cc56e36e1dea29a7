"""Starting a payment: the intent is written first, the provider is called outside, its answer moves the state."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connections
from django.utils.translation import gettext as _

from payments import providers
from payments.errors import AlreadyPaid, PaymentRefused
from payments.models import Payment
from payments.providers.base import ProviderRefused, ProviderResting, ProviderUnavailable
from payments.services import polling, reading, settling
from payments.states import OPEN, PaymentStatus
from waimai.infra import crashpoints, idempotency, ids, sharding, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, ServiceUnavailable, ValidationFailed

logger = logging.getLogger(__name__)

ROUTE = "orders.pay"
INTENDED, CALLED = crashpoints.around("pay.intent"), crashpoints.around("pay.call")
NOTED, REFUSED = crashpoints.around("pay.note"), crashpoints.around("pay.refuse")


@dataclass(frozen=True, kw_only=True)
class StartedPayment:
    """What the payer's client needs. `replayed`: this answer was already given to an earlier request with the key."""

    payment_id: int
    provider: str
    client_parameters: dict[str, Any]
    replayed: bool


def start_payment(
    *,
    order_id: int,
    user_id: int,
    amount: Decimal,
    provider: str,
    key: str,
    fingerprint: str,
    expires_at: datetime,
    still_wanted: Callable[[], None],
    description: str = "",
) -> StartedPayment:
    """Open a payment of `amount` yuan for an order; the same `key` returns the payment it opened the first time.

    Raises ValidationFailed (provider not offered), AlreadyPaid, IdempotencyKeyReused, PaymentRefused (the provider
    says no), and ServiceUnavailable when the provider doesn't answer: ask again with the same key, it is the same
    payment. Calls the provider, so it must not run inside a transaction.

    `still_wanted` is called in the transaction that writes the intent, and again before the provider is told of one
    that was written earlier; it holds the order and raises when the order doesn't wait for payment any more.
    """
    _require_offered(provider)
    using = sharding.shard_of_id(order_id)
    if connections[using].in_atomic_block:
        raise RuntimeError("start_payment() calls the provider: not inside a transaction")
    intent = Payment(
        id=ids.new_id(ids.bucket_of(order_id)),
        bucket=ids.bucket_of(order_id),
        order_id=order_id,
        user_id=user_id,
        provider=provider,
        amount=amount,
        description=description[:120],
        expires_at=expires_at,
    )
    payment = run_atomic(using, lambda: _intend(intent, (key, fingerprint), still_wanted, using), commit=INTENDED)
    if payment.status != PaymentStatus.INIT:
        return _started(payment, replayed=True)
    return _open(payment, using)


def stop_collecting(*, order_ids: Sequence[int], using: str) -> int:
    """Give up the open payments of orders that nobody wants paid any more; returns how many there are.

    Belongs in the caller's transaction on `using`. The provider is told outside it, at once; when the payer was
    faster, the payment is captured after all and PaymentCaptured tells so.
    """
    now = db_now(using)
    open_ids = list(reading.of_orders(order_ids, using).filter(status__in=OPEN).values_list("id", flat=True))
    if not open_ids:
        return 0
    Payment.objects.on(using).filter(id__in=open_ids, expires_at__gt=now).update(expires_at=now)
    timers.schedule_many(polling.POLL, [(payment_id, now) for payment_id in open_ids], using=using)
    return len(open_ids)


def _require_offered(provider: str) -> None:
    try:
        providers.get(provider)
    except NotFound:
        names = {"providers": "、".join(providers.offered())}
        raise ValidationFailed(errors={"provider": [_("支付渠道应为：%(providers)s。") % names]}) from None


def _intend(intent: Payment, request: tuple[str, str], still_wanted: Callable[[], None], using: str) -> Payment:
    """Write the intent and bind the key to it, or find the payment that the key already stands for."""
    key, fingerprint = request
    known = idempotency.claim(
        user_id=intent.user_id, key=key, route=ROUTE, fingerprint=fingerprint, ref_id=intent.id, using=using
    )
    if known is not None:
        payment = settling.read(known, using)
        if payment.status == PaymentStatus.INIT:
            still_wanted()
        return payment
    if reading.captured_payments(intent.order_id, using):
        raise AlreadyPaid
    # No till may open for an order given up meanwhile. Whoever holds the order first wins: either this finds it
    # cancelled, or the cancellation finds this payment and closes it.
    still_wanted()
    intent.created_at = db_now(using)
    intent.save(using=using, force_insert=True)
    timers.schedule(polling.POLL, intent.id, due_at=polling.first_look(intent), using=using)
    return intent


def _open(payment: Payment, using: str) -> StartedPayment:
    """Tell the provider of a payment it may not know yet, and note its answer."""
    try:
        with CALLED:
            parameters = providers.get(payment.provider).create(reading.charge_of(payment))
    except ProviderUnavailable as error:
        logger.warning("payment %s: %s did not answer: %s", payment.id, payment.provider, error)
        rest = math.ceil(error.retry_after) if isinstance(error, ProviderResting) else None
        raise ServiceUnavailable(retry_after=rest) from error
    except ProviderRefused as error:
        reason = str(error)
        run_atomic(using, lambda: settling.fail(settling.lock(payment.id, using), reason, using), commit=REFUSED)
        raise PaymentRefused from error
    run_atomic(using, lambda: _note(payment.id, parameters, using), commit=NOTED)
    payment.client_parameters = parameters
    return _started(payment, replayed=False)


def _note(payment_id: int, parameters: dict[str, Any], using: str) -> None:
    if not settling.move(payment_id, PaymentStatus.PENDING, using=using, client_parameters=parameters):
        # A twin request or the payer was faster. The provider gives every caller the same parameters.
        Payment.objects.on(using).filter(id=payment_id).update(client_parameters=parameters)


def _started(payment: Payment, *, replayed: bool) -> StartedPayment:
    if not payment.client_parameters:
        raise PaymentRefused(payment.failure or None)
    return StartedPayment(
        payment_id=payment.id,
        provider=payment.provider,
        client_parameters=payment.client_parameters,
        replayed=replayed,
    )
