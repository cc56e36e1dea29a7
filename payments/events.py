"""News that payments tells; `key` is the order's id. Every event is published in the transaction of its change."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from waimai.infra.outbox import Event


@dataclass(frozen=True, kw_only=True)
class PaymentEvent(Event):
    """What all news about a payment carries."""

    topic: ClassVar[str] = ""
    payment_id: int
    user_id: int
    amount: Decimal

    @property
    def order_id(self) -> int:
        """The order that the payment is for."""
        return self.key


@dataclass(frozen=True, kw_only=True)
class PaymentCaptured(PaymentEvent):
    """The provider holds the payer's money. Told once per payment, whatever the state of the order is by now."""

    topic: ClassVar[str] = "payment.captured"
    provider: str
    transaction_id: str


@dataclass(frozen=True, kw_only=True)
class PaymentFailed(PaymentEvent):
    """The payer's attempt failed; the order can still be paid by another payment."""

    topic: ClassVar[str] = "payment.failed"
    provider: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RefundSucceeded(PaymentEvent):
    """`amount` yuan went back to the payer.

    `closing` is true when, with this refund, everything ever captured for the *order* has been given back. The refund
    of a duplicate payment is therefore not closing while the first payment stands.
    """

    topic: ClassVar[str] = "refund.succeeded"
    refund_id: int
    purpose: str
    closing: bool
