"""A provider's notification: verified first, then applied once, in one transaction with what it causes."""

from __future__ import annotations

from collections.abc import Mapping

from payments import providers
from payments.errors import WebhookTooLarge
from payments.models import Payment, PaymentAlert, WebhookReceipt
from payments.providers.base import Notification, Provider, RefundDone
from payments.services import refunding, settling
from waimai.infra import crashpoints, ids, sharding
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.rows import insert_ignore

MAX_WEBHOOK_BYTES = 64 * 1024
APPLIED, ANSWERED = crashpoints.around("webhook.apply"), crashpoints.point("webhook.answer")


def handle_webhook(*, provider: str, headers: Mapping[str, str], body: bytes) -> None:
    """Take in a notification; returning means it is committed, or was before.

    What is signed by the provider but isn't about money of ours (other merchant, unknown number, wrong amount)
    moves nothing, leaves an alert and is taken as well: to send it again would not change it. Raises NotFound
    (provider), WebhookTooLarge, WebhookRefused, WebhookMalformed; a database error means "send it again".
    """
    if len(body) > MAX_WEBHOOK_BYTES:
        raise WebhookTooLarge
    source = providers.get(provider)
    notification = source.parse_webhook(headers, body)
    using = sharding.shard_of_id(notification.payment_id)
    run_atomic(using, lambda: _apply(source, notification, using), commit=APPLIED)
    ANSWERED()


def _apply(source: Provider, notification: Notification, using: str) -> None:
    if not _is_new(source.name, notification, using):
        return
    outcome = notification.outcome
    rows = Payment.objects.on(using).filter(id=notification.payment_id)
    # A refund holds all payments of its order, the oldest first: not this one before the others.
    payment = (rows if isinstance(outcome, RefundDone) else rows.select_for_update()).first()
    if (stranger := _stranger(source, notification, payment)) is not None:
        kind, detail = stranger
        settling.alert(notification.payment_id, source.name, kind, detail, using=using)
        return
    if isinstance(outcome, RefundDone):
        refunding.settle(payment, outcome, using=using)
    else:
        settling.settle(payment, outcome, using=using)


def _is_new(provider: str, notification: Notification, using: str) -> bool:
    row = {
        "provider": provider,
        "notify_id": notification.notify_id,
        "payment_id": notification.payment_id,
        "bucket": ids.bucket_of(notification.payment_id),
        "received_at": db_now(using),
    }
    return insert_ignore(WebhookReceipt, [row], using=using) == 1


def _stranger(
    source: Provider, notification: Notification, payment: Payment | None
) -> tuple[PaymentAlert.Kind, str] | None:
    """Why this notification is not about a payment of ours; None when it is."""
    if notification.merchant != source.merchant:
        return PaymentAlert.Kind.OTHER_MERCHANT, f"merchant {notification.merchant}"
    if payment is None:
        return PaymentAlert.Kind.UNKNOWN_PAYMENT, f"notification {notification.notify_id}"
    if payment.provider != source.name:
        return PaymentAlert.Kind.OTHER_PROVIDER, f"paid with {payment.provider}"
    return None
