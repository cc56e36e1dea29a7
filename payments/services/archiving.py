"""What of payments has to be over before its month may go to the archive."""

from __future__ import annotations

from collections.abc import Iterator

from payments.models import LedgerEntry, Payment, Refund
from payments.services import reading
from payments.states import OPEN, RefundStatus
from waimai.infra import archive

NAMED = 10


@archive.refuses
def unfinished(using: str, below: int) -> Iterator[str]:
    """Open payments, refunds on their way, and money whose order, by a clock put right, is younger than itself."""
    payments = Payment.objects.on(using).filter(id__lt=below)
    for payment in payments.filter(status__in=OPEN)[:NAMED]:
        yield f"payment {payment.id} of order {payment.order_id} is {payment.status}"
    for refund in Refund.objects.on(using).filter(order_id__lt=below).exclude(status=RefundStatus.SUCCEEDED)[:NAMED]:
        yield f"refund {refund.id} of order {refund.order_id} is {refund.status}"
    entries = LedgerEntry.objects.on(using).filter(id__lt=below, id__gte=reading.oldest_id(below))
    for row in [
        *payments.filter(order_id__gte=below, id__gte=reading.oldest_id(below))[:NAMED],
        *entries.filter(order_id__gte=below)[:NAMED],
    ]:
        yield f"{row._meta.model_name} {row.id}: its order {row.order_id} is of a later month; archive that too"
