"""Paying for an order, and what the payment's news does to it, in the payment's own transaction."""

from __future__ import annotations

import payments.services
from orders import changes, compensation, reading
from orders.changes import By
from orders.errors import InvalidTransition
from orders.events import OrderRefunded
from orders.models import Order
from orders.states import Actor, PaymentStatus, Status
from payments.events import PaymentCaptured, RefundSucceeded
from payments.services import StartedPayment
from waimai.infra import idempotency, ratelimit, timers
from waimai.infra.clock import db_now
from waimai.infra.outbox import hear_inside

ROUTE = payments.services.ROUTE


def pay(*, order_id: int, user_id: int, provider: str, key: str) -> StartedPayment:
    """Open a payment for an order; the same key returns the payment it opened the first time.

    Raises NotFound, RateLimited, InvalidTransition when the order doesn't wait for payment, and what `start_payment`
    raises.
    """
    ratelimit.spend("pay", user_id)
    order = reading.own_order(order_id=order_id, user_id=user_id)
    fingerprint = idempotency.fingerprint(ROUTE, [order_id, provider])
    known = idempotency.find(
        user_id=user_id, key=key, route=ROUTE, fingerprint=fingerprint, using=order._state.db or ""
    )
    if known is None and order.status != Status.PENDING_PAYMENT:
        raise InvalidTransition(order_status=order.status, transition="pay")
    return payments.services.start_payment(
        order_id=order_id,
        user_id=user_id,
        amount=order.total,
        provider=provider,
        key=key,
        fingerprint=fingerprint,
        expires_at=order.expires_at,
        still_wanted=lambda: _require_waiting(order_id),
        description=order.shop_name,
    )


def _require_waiting(order_id: int) -> None:
    """Hold the order in the open transaction; raises InvalidTransition unless it waits for payment, and may still."""
    order = Order.objects.by_id(order_id).select_for_update().get()
    if order.status != Status.PENDING_PAYMENT or order.expires_at <= db_now(order._state.db or ""):
        raise InvalidTransition(order_status=order.status, transition="pay")


@hear_inside(PaymentCaptured)
def on_captured(event: PaymentCaptured, *, using: str) -> None:
    """Money came: the order is paid, or, where it is too late or was paid before, the money goes back."""
    now = db_now(using)
    paid = changes.change_many(
        [event.order_id],
        Order.pay,
        using=using,
        by=By(Actor.PAYMENT, event.payment_id),
        at=now,
        payment_status=PaymentStatus.PAID,
        paid_at=now,
    )
    if paid:
        timers.cancel(compensation.EXPIRE, [event.order_id], using=using)
        compensation.captured(paid[0], using=using)
        return
    row = Order.objects.by_id(event.order_id)
    cancelled = row.filter(status=Status.CANCELLED).update(payment_status=PaymentStatus.REFUNDING)
    purpose = "late" if cancelled else "duplicate"
    payments.services.request_refund(
        payment_id=event.payment_id, amount=None, purpose=purpose, ref="order", reason=purpose, using=using
    )


@hear_inside(RefundSucceeded)
def on_refunded(event: RefundSucceeded, *, using: str) -> None:
    """All the money of a cancelled order is back with its customer."""
    if not event.closing:
        return
    row = Order.objects.by_id(event.order_id).filter(status=Status.CANCELLED, payment_status=PaymentStatus.REFUNDING)
    order = row.first()
    if order is None:
        return
    order.payment_status, order.version = PaymentStatus.REFUNDED, order.version + 1
    if row.update(payment_status=order.payment_status, version=order.version) == 1 and order.paid_at:
        changes.tell(OrderRefunded, [order], using=using)
