"""What people call the states of payments and refunds."""

from __future__ import annotations

from payments.states import PaymentStatus, RefundStatus


def payment_state(status: str) -> str:
    """A payment's state in the reader's language."""
    return str(PaymentStatus(status).label)


def refund_state(status: str) -> str:
    """A refund's state in the reader's language."""
    return str(RefundStatus(status).label)
