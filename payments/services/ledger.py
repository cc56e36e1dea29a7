"""The money ledger: one row for each charge, refund and adjustment, written with what it records and never changed."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import cast

from django.db import connections
from django.utils.translation import gettext as _

from payments import ledger_fill
from payments.models import MONEY, LedgerEntry, Payment, Refund
from payments.money import yuan
from waimai.infra import ids, sharding
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, ValidationFailed

Kind = LedgerEntry.Kind
MOST_YUAN = Decimal(10) ** (MONEY["max_digits"] - MONEY["decimal_places"])


def book_charge(payment: Payment, transaction_id: str, *, at: datetime, using: str) -> None:
    """Book a capture, in the transaction on `using` that notes it."""
    _book(payment.id, Kind.CHARGE, payment.amount, payment, reference=transaction_id, at=at, using=using)


def book_refund(refund: Refund, payment: Payment, *, at: datetime, using: str) -> None:
    """Book what went back, in the transaction on `using` that notes it."""
    _book(refund.id, Kind.REFUND, -refund.amount, payment, reference=str(refund.id), at=at, using=using)


def adjust(*, payment_id: int, amount: Decimal, actor: str, reason: str, reference: str = "") -> int:
    """Book by hand `amount` yuan that came in (or, below zero, went back) outside our own flow; returns the number.

    `reference`: the provider's transaction that it explains, or of a refund the number; reconciling looks for it. The
    very same adjustment again returns the first one. It moves no money. Raises NotFound and ValidationFailed.
    """
    if not amount or amount != yuan(amount) or abs(amount) >= MOST_YUAN:
        raise ValidationFailed(errors={"amount": [_("请填写有效的数字")]})
    if not actor.strip() or not reason.strip():
        raise ValidationFailed(errors={"reason": [_("请填写经办人和原因")]})
    using, number = sharding.shard_of_id(payment_id), ids.new_id(ids.bucket_of(payment_id))
    words = {"actor": actor.strip()[:64], "reason": reason.strip()[:200], "reference": reference.strip()[:64]}

    def body() -> int:
        payment = Payment.objects.on(using).select_for_update().filter(id=payment_id).first()
        if payment is None:
            raise NotFound
        same = LedgerEntry.objects.on(using).filter(order_id=payment.order_id, payment_id=payment_id)
        known = same.filter(kind=Kind.ADJUSTMENT, amount=amount, **words).first()
        if known is not None:
            return cast("int", known.id)
        _book(number, Kind.ADJUSTMENT, amount, payment, at=db_now(using), using=using, **words)
        return number

    return run_atomic(using, body)


def fill_ledger() -> int:
    """Book captures and refunds that have no entry: noted by processes of a release without ledger; says how many."""
    return sum(ledger_fill.fill(Payment, Refund, LedgerEntry, using=using) for using in sharding.shards())


def _book(
    number: int, kind: LedgerEntry.Kind, amount: Decimal, payment: Payment, *, at: datetime, using: str, **words: str
) -> None:
    if not connections[using].in_atomic_block:
        raise RuntimeError("the ledger is written in the transaction of what it records")
    LedgerEntry(
        id=number,
        bucket=payment.bucket,
        kind=kind,
        amount=amount,
        order_id=payment.order_id,
        payment_id=payment.id,
        provider=payment.provider,
        created_at=at,
        **words,
    ).save(using=using, force_insert=True)
