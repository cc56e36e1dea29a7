"""What the audit asks of payments: the books by order, from the ledger, and what is wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum

from payments.models import LedgerEntry, Payment, ProviderTransaction, Refund
from payments.money import NOTHING, yuan
from payments.services import ledger_audit, reading
from payments.services.ledger_audit import batches, living
from payments.states import OPEN, PaymentStatus, RefundStatus
from waimai.infra import archive
from waimai.infra.clock import db_now

BATCH = 500
# An expired payment is closed by its timer; a provider that is down delays that, but not for longer.
OPEN_AFTER_EXPIRY = timedelta(minutes=10)
REFUND_PENDING = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class OrderBooks:
    """The money of one order by the ledger, in yuan; `promised` was asked to go back and isn't in the ledger yet."""

    order_id: int
    charged: Decimal
    refunded: Decimal
    adjusted: Decimal
    promised: Decimal
    charges: int
    closing_refunds: int

    @property
    def kept(self) -> Decimal:
        """What remains of it when all promises are kept."""
        return self.charged - self.refunded + self.adjusted - self.promised


def books(using: str) -> Iterator[OrderBooks]:
    """The books of every order in the ledger, by order id, read in batches."""
    last = archive.oldest_living_id() - 1
    while batch := _ledger_by_order(using, last):
        asked_for = _refunds_by_order(using, [row["order_id"] for row in batch])
        for row in batch:
            refunds = asked_for.get(row["order_id"], {})
            yield OrderBooks(
                order_id=row["order_id"],
                charged=yuan(row["charged"]),
                refunded=-yuan(row["refunded"]),
                adjusted=yuan(row["adjusted"]),
                promised=yuan(refunds.get("promised")),
                charges=row["charges"],
                closing_refunds=refunds.get("closing_count", 0),
            )
        last = batch[-1]["order_id"]


def payment_problems(using: str) -> list[str]:
    """One line for every rule of money that a database's rows break; empty when all is well."""
    return [
        *_uneven_refunds(using),
        *_captures_without_transaction(using),
        *_forgotten(using),
        *ledger_audit.unbooked(using),
        *ledger_audit.unfounded(using),
    ]


def _ledger_by_order(using: str, after: int) -> list[dict[str, Any]]:
    # An entry is as young as its order, or younger: older months need not be looked at.
    entries = LedgerEntry.objects.on(using).filter(order_id__gt=after, id__gte=reading.oldest_id(after))
    rows = entries.order_by("order_id").values("order_id")
    sums = rows.annotate(
        charged=Sum("amount", filter=Q(kind=LedgerEntry.Kind.CHARGE)),
        refunded=Sum("amount", filter=Q(kind=LedgerEntry.Kind.REFUND)),
        adjusted=Sum("amount", filter=Q(kind=LedgerEntry.Kind.ADJUSTMENT)),
        charges=Count("id", filter=Q(kind=LedgerEntry.Kind.CHARGE)),
    )
    return list(sums[:BATCH])


def _refunds_by_order(using: str, order_ids: list[int]) -> dict[int, dict[str, Any]]:
    rows = Refund.objects.on(using).filter(order_id__in=order_ids).order_by("order_id").values("order_id")
    sums = rows.annotate(
        promised=Sum("amount", filter=~Q(status=RefundStatus.SUCCEEDED)),
        closing_count=Count("id", filter=Q(closing=True)),
    )
    return {row["order_id"]: row for row in sums}


def _uneven_refunds(using: str) -> Iterator[str]:
    """Refunds beyond what was captured, more than one that takes the rest, or of a payment that was never captured."""
    refunded = living(Refund, using).order_by("payment_id").values("payment_id")
    sums = refunded.annotate(total=Sum("amount"), closing_count=Count("id", filter=Q(closing=True)))
    last = 0
    while batch := list(sums.filter(payment_id__gt=last)[:BATCH]):
        rows = Payment.objects.on(using).filter(id__in=[row["payment_id"] for row in batch])
        captured = {payment.id: payment.amount for payment in rows if payment.status == PaymentStatus.CAPTURED}
        for row in batch:
            yield from _uneven(row, captured.get(row["payment_id"], NOTHING))
        last = batch[-1]["payment_id"]


def _uneven(row: dict[str, Any], captured: Decimal) -> Iterator[str]:
    payment_id, total, closing = row["payment_id"], yuan(row["total"]), row["closing_count"]
    if total > captured:
        yield f"payment {payment_id}: refunds of {total} exceed the {captured} captured"
    if closing != int(total == captured):
        yield f"payment {payment_id}: {closing} closing refunds for {total} of {captured}"


def _captures_without_transaction(using: str) -> Iterator[str]:
    for batch in batches(living(Payment, using).filter(status=PaymentStatus.CAPTURED)):
        numbers = [payment.transaction_id for payment in batch]
        rows = ProviderTransaction.objects.on(using).filter(transaction_id__in=numbers)
        known = {(row.provider, row.transaction_id): row.payment_id for row in rows}
        for payment in batch:
            if known.get((payment.provider, payment.transaction_id)) != payment.id:
                yield f"payment {payment.id}: captured without a provider's transaction of its own"


def _forgotten(using: str) -> Iterator[str]:
    """Payments that stayed open past their time, and refunds that wait too long."""
    now = db_now(using)
    for batch in batches(Payment.objects.on(using).filter(status__in=OPEN, expires_at__lt=now - OPEN_AFTER_EXPIRY)):
        yield from (f"payment {payment.id}: {payment.status} long after it expired" for payment in batch)
    waiting = Refund.objects.on(using).filter(status=RefundStatus.PENDING, created_at__lt=now - REFUND_PENDING)
    for batch in batches(waiting):
        yield from (f"refund {refund.id}: pending after {refund.attempts} tries" for refund in batch)
