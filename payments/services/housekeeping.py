"""What payments may forget. Payments, refunds and alerts are never among it."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from payments.models import WebhookReceipt
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic

# Gateways repeat a notification for about a day; after that the state of the payment alone makes a copy harmless.
RECEIPTS_KEPT = timedelta(days=30)
# Rows are named by keys of two columns, for SQLite one condition inside the other: at a depth of 1000 it refuses.
ROWS_AT_ONCE = 300


def forget_receipts(using: str) -> int:
    """Delete receipts of notifications older than 30 days, batch by batch; returns how many went."""
    gone = 0
    while count := run_atomic(using, lambda: _forget_some(using)):
        gone += count
    return gone


def _forget_some(using: str) -> int:
    old = WebhookReceipt.objects.on(using).filter(received_at__lt=db_now(using) - RECEIPTS_KEPT)
    keys = list(old.order_by("received_at").values_list("provider", "notify_id")[:ROWS_AT_ONCE])
    return cast("int", WebhookReceipt.objects.on(using).filter(pk__in=keys).delete()[0])
