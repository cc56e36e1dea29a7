"""Reading payments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from django.db.models import QuerySet

from payments.models import Payment, Refund
from payments.providers.base import Charge
from payments.states import PaymentStatus
from waimai.infra import ids, sharding
from waimai.infra.errors import NotFound

# After the database's clock was put right, processes differ until their next lease of ids: a payment's id can carry a
# second before its order's. Where older payments stand apart, they do so by month: a day costs nothing.
CLOCK_SKEW = timedelta(days=1)
PAID = ("id", "provider", "amount", "status", "transaction_id", "created_at", "captured_at")
PAID_BACK = ("id", "payment_id", "amount", "reason", "status", "created_at", "succeeded_at")


@dataclass(frozen=True, kw_only=True)
class PaymentInfo:
    """A payment as others may see it. `amount` in yuan."""

    id: int
    order_id: int
    user_id: int
    provider: str
    amount: Decimal
    status: PaymentStatus
    transaction_id: str
    failure: str
    expires_at: datetime
    captured_at: datetime | None


def money_of_orders(order_ids: Sequence[int], *, using: str) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Payments and refunds of orders of one shard, as their customer may see them; two queries however many."""
    found: dict[int, dict[str, list[dict[str, Any]]]] = {id_: {"payments": [], "refunds": []} for id_ in order_ids}
    for payment in of_orders(order_ids, using).values("order_id", *PAID):
        found[payment.pop("order_id")]["payments"].append(payment)
    for refund in Refund.objects.on(using).filter(order_id__in=found).order_by("id").values("order_id", *PAID_BACK):
        found[refund.pop("order_id")]["refunds"].append(refund)
    return found


def forget_reasons(order_ids: Sequence[int], *, using: str) -> None:
    """Forget why money of these orders went back: it may be in a customer's own words."""
    Refund.objects.on(using).filter(order_id__in=order_ids).exclude(reason="").update(reason="")


def get_payment(*, payment_id: int, user_id: int) -> PaymentInfo:
    """A payment of this user. Raises NotFound when it doesn't exist or is someone else's."""
    payment = find(payment_id)
    if payment is None or payment.user_id != user_id:
        raise NotFound
    return describe(payment)


def captured_payments(order_id: int, using: str | None = None) -> list[PaymentInfo]:
    """The payments of an order that were captured, oldest first, refunded ones included."""
    alias = using or sharding.shard_of_id(order_id)
    return [describe(payment) for payment in of_order(order_id, alias).filter(status=PaymentStatus.CAPTURED)]


def find(payment_id: int) -> Payment | None:
    """The row of a payment, or None."""
    return cast("Payment | None", Payment.objects.by_id(payment_id).first())


def of_order(order_id: int, using: str) -> QuerySet[Payment]:
    """The payments of an order, oldest first."""
    return of_orders([order_id], using)


def of_orders(order_ids: Sequence[int], using: str) -> QuerySet[Payment]:
    """The payments of some orders of a shard, oldest first. The bound on the id lets the database skip older months."""
    rows = Payment.objects.on(using).filter(order_id__in=order_ids, id__gte=oldest_id(min(order_ids)))
    return cast("QuerySet[Payment]", rows.order_by("id"))


def oldest_id(order_id: int) -> int:
    """No payment, refund or ledger entry of an order has a lower id."""
    return ids.lowest_id(ids.made_at(order_id) - CLOCK_SKEW)


def charge_of(payment: Payment) -> Charge:
    """What the provider is told of a payment."""
    return Charge(
        payment_id=payment.id,
        amount=payment.amount,
        description=payment.description,
        expires_at=payment.expires_at,
    )


def describe(payment: Payment) -> PaymentInfo:
    """A payment row as a value."""
    return PaymentInfo(
        id=payment.id,
        order_id=payment.order_id,
        user_id=payment.user_id,
        provider=payment.provider,
        amount=payment.amount,
        status=PaymentStatus(payment.status),
        transaction_id=payment.transaction_id,
        failure=payment.failure,
        expires_at=payment.expires_at,
        captured_at=payment.captured_at,
    )
