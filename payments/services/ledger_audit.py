"""The ledger against payments and refunds, row for row, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from payments.models import LedgerEntry, Payment, Refund
from payments.states import PaymentStatus, RefundStatus
from waimai.infra import archive

BATCH = 500
Kind = LedgerEntry.Kind
Booking = tuple[str, Decimal, int, int]


def batches(rows: Any) -> Iterator[list[Any]]:
    """The rows of a query by their id, some hundred at a time."""
    last = 0
    while batch := list(rows.filter(id__gt=last).order_by("id")[:BATCH]):
        yield batch
        last = batch[-1].id


def living(model: Any, using: str) -> Any:
    """Rows of orders that aren't in the archive. What belongs to an archived one may still lie in a later month."""
    return model.objects.on(using).filter(order_id__gte=archive.oldest_living_id())


def unbooked(using: str) -> Iterator[str]:
    """Captured payments and succeeded refunds without their entry, or with one that says something else."""
    for batch in batches(living(Payment, using).filter(status=PaymentStatus.CAPTURED)):
        yield from _compared("payment", {row.id: _of_payment(row) for row in batch}, using)
    for batch in batches(living(Refund, using).filter(status=RefundStatus.SUCCEEDED)):
        yield from _compared("refund", {row.id: _of_refund(row) for row in batch}, using)


def unfounded(using: str) -> Iterator[str]:
    """Entries of charges and refunds that weren't made; what a person adjusted stands for itself."""
    entries = living(LedgerEntry, using).exclude(kind=Kind.ADJUSTMENT)
    for batch in batches(entries):
        numbers = [entry.id for entry in batch]
        captured = _among(Payment.objects.on(using).filter(status=PaymentStatus.CAPTURED), numbers)
        succeeded = _among(Refund.objects.on(using).filter(status=RefundStatus.SUCCEEDED), numbers)
        for entry in batch:
            if entry.id not in (captured if entry.kind == Kind.CHARGE else succeeded):
                yield f"ledger entry {entry.id}: a {entry.kind} of {entry.amount} that was never made"


def _compared(what: str, made: dict[int, Booking], using: str) -> Iterator[str]:
    booked = {entry.id: _of_entry(entry) for entry in LedgerEntry.objects.on(using).filter(id__in=list(made))}
    for number, booking in made.items():
        entry = booked.get(number)
        if entry is None:
            yield f"{what} {number}: {booking[1]} is not in the ledger"
        elif entry != booking:
            yield f"{what} {number}: is {_told(booking)}, the ledger says {_told(entry)}"


def _of_payment(payment: Payment) -> Booking:
    return Kind.CHARGE.value, payment.amount, payment.order_id, payment.id


def _of_refund(refund: Refund) -> Booking:
    return Kind.REFUND.value, -refund.amount, refund.order_id, refund.payment_id


def _of_entry(entry: LedgerEntry) -> Booking:
    return entry.kind, entry.amount, entry.order_id, entry.payment_id


def _told(booking: Booking) -> str:
    kind, amount, order_id, payment_id = booking
    return f"a {kind} of {amount} for order {order_id} by payment {payment_id}"


def _among(rows: Any, numbers: Sequence[int]) -> set[int]:
    return set(rows.filter(id__in=numbers).values_list("id", flat=True))
