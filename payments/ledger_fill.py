"""Booking what was captured and refunded before there was a ledger, or by a process that didn't know of it yet.

The migration that makes the ledger calls this with the tables as they were then, `payments fill` as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Model

from waimai.infra.db import run_atomic
from waimai.infra.rows import insert_ignore

BATCH = 500


def fill(payments: type[Model], refunds: type[Model], entries: type[Model], *, using: str) -> int:
    """Add the missing entries of captured payments and succeeded refunds of one database; returns how many.

    Harmless twice, and while the system runs: a payment is captured in the same commit as its entry goes in.
    """
    added = 0
    for batch in _batches(payments, using, status="captured"):
        added += _add(entries, [_charge(payment) for payment in batch], using)
    for batch in _batches(refunds, using, status="succeeded"):
        paid_with = _rows(payments, using).in_bulk([refund.payment_id for refund in batch])
        # A refund whose payment is in the archive was booked, and its entry archived.
        there = [refund for refund in batch if refund.payment_id in paid_with]
        added += _add(entries, [_refund(refund, paid_with[refund.payment_id].provider) for refund in there], using)
    return added


def _rows(model: type[Model], using: str) -> Any:
    return model._default_manager.using(using)


def _batches(model: type[Model], using: str, **wanted: Any) -> Iterator[list[Any]]:
    last = 0
    while batch := list(_rows(model, using).filter(pk__gt=last, **wanted).order_by("pk")[:BATCH]):
        yield batch
        last = batch[-1].pk


def _add(entries: type[Model], rows: list[dict[str, Any]], using: str) -> int:
    known = set(_rows(entries, using).filter(pk__in=[row["id"] for row in rows]).values_list("pk", flat=True))
    missing = [row for row in rows if row["id"] not in known]
    return run_atomic(using, lambda: insert_ignore(entries, missing, using=using))


def _charge(payment: Any) -> dict[str, Any]:
    return {
        "id": payment.id,
        "bucket": payment.bucket,
        "kind": "charge",
        "amount": payment.amount,
        "order_id": payment.order_id,
        "payment_id": payment.id,
        "provider": payment.provider,
        "reference": payment.transaction_id,
        "actor": "",
        "reason": "",
        "created_at": payment.captured_at,
    }


def _refund(refund: Any, provider: str) -> dict[str, Any]:
    return {
        "id": refund.id,
        "bucket": refund.bucket,
        "kind": "refund",
        "amount": -refund.amount,
        "order_id": refund.order_id,
        "payment_id": refund.payment_id,
        "provider": provider,
        "reference": str(refund.id),
        "actor": "",
        "reason": "",
        "created_at": refund.succeeded_at,
    }
