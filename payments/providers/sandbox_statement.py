"""The sandbox's statement of a period: a row for each charge it captured and each refund it gave, by its books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from payments.models import SandboxCharge, SandboxRefund
from payments.providers.base import StatementRow
from waimai.infra import sharding

READ_AT_ONCE = 500


def rows(since: datetime, until: datetime) -> Iterator[StatementRow]:
    """Every movement from `since` until just before `until`, in the manner of a bill by day of WeChat or Alipay."""
    for using in sharding.shards():
        charges = SandboxCharge.objects.on(using).filter(captured_at__gte=since, captured_at__lt=until)
        yield from (_charge(row) for row in charges.order_by("captured_at").iterator(chunk_size=READ_AT_ONCE))
        refunds = SandboxRefund.objects.on(using).filter(created_at__gte=since, created_at__lt=until)
        yield from (_refund(row) for row in refunds.order_by("created_at").iterator(chunk_size=READ_AT_ONCE))


def _charge(charge: SandboxCharge) -> StatementRow:
    assert charge.captured_at is not None
    return StatementRow(
        kind="charge",
        number=charge.payment_id,
        payment_id=charge.payment_id,
        transaction_id=charge.transaction_id,
        amount=charge.amount,
        at=charge.captured_at,
    )


def _refund(refund: SandboxRefund) -> StatementRow:
    return StatementRow(
        kind="refund",
        number=refund.refund_id,
        payment_id=refund.payment_id,
        transaction_id=f"SBR{refund.refund_id}",
        amount=refund.amount,
        at=refund.created_at,
    )
