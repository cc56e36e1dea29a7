"""Comparing a provider's statement with our ledger, both ways; what differs is told to a person once.

What belongs together is decided by number, never by time, so that money taken at 23:59:59 and noticed at 00:00:01 is
no difference: a line of the statement is looked up in the whole ledger, and an entry of ours that the statement lacks
is looked for in the statement of the time between the making of its number and its booking, as it must be there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date as date_type
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import groupby, islice

from django.db.models import Sum
from django.utils import timezone

from payments import providers
from payments.models import LedgerEntry, Payment, PaymentAlert, Refund
from payments.money import NOTHING, yuan
from payments.providers.base import ProviderUnavailable, StatementRow
from payments.services import settling
from payments.services.audit import OPEN_AFTER_EXPIRY, REFUND_PENDING
from payments.states import PaymentStatus, RefundStatus
from waimai.infra import archive, ids, sharding
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound

logger = logging.getLogger(__name__)

BATCH = 500
# How far the provider's clock may be from ours.
CLOCKS_DIFFER = timedelta(hours=1)
Kind = PaymentAlert.Kind
# What names money at both sides: charge or refund, our number, and of a charge the provider's transaction.
Name = tuple[str, int, str]


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A payment or refund that isn't done with us; late when our own asking should have found it by now."""

    state: str
    late: bool


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Money that the two sides tell otherwise; in yuan, below zero when it went back, None where it isn't known."""

    kind: Kind
    movement: str
    number: int
    payment_id: int
    reference: str
    theirs: Decimal | None
    ours: Decimal | None
    note: str = ""

    @property
    def facts(self) -> str:
        """What differs in words that stay the same, so that it is alerted once."""
        amounts = f"provider {_told(self.theirs)}, ours {_told(self.ours)}"
        return f"{self.movement} {self.number} ({self.reference}): {amounts}"

    def __str__(self) -> str:
        return f"{self.kind.value} {self.facts}{self.note}"


@dataclass(kw_only=True)
class Totals:
    """How much one side says moved, in yuan; refunds counted as money that went back, above zero."""

    charges: int = 0
    charged: Decimal = NOTHING
    refunds: int = 0
    refunded: Decimal = NOTHING

    def add(self, movement: str, amount: Decimal, count: int = 1) -> None:
        """One more movement of `amount` yuan, below zero for a refund."""
        if movement == "charge":
            self.charges, self.charged = self.charges + count, self.charged + amount
        else:
            self.refunds, self.refunded = self.refunds + count, self.refunded - amount


@dataclass(kw_only=True)
class Reconciliation:
    """What came of it. Ours are the entries that stand for the statement's lines, and those that it lacks.

    `under_way` counts lines whose payment or refund still waits with us and isn't late: our own asking will find them.
    """

    provider: str
    since: datetime
    until: datetime
    differences: list[Difference] = field(default_factory=list)
    under_way: int = 0
    explained: int = 0
    theirs: Totals = field(default_factory=Totals)
    ours: Totals = field(default_factory=Totals)


def reconcile(*, provider: str, since: datetime, until: datetime) -> Reconciliation:
    """Compare all money that a provider moved from `since` until just before `until` with the ledger.

    What belongs to archived months is passed over. Writes nothing but an alert for each difference, the first time it
    is found. Raises NotFound (provider) and the provider's ProviderUnavailable when there is no statement.
    """
    try:
        source = providers.of_payment(provider)
    except KeyError:
        raise NotFound from None
    result = Reconciliation(provider=provider, since=since, until=until)
    seen: set[Name] = set()
    mark = archive.oldest_living_id()
    living = (row for row in source.statement(since, until) if min(row.number, row.payment_id) >= mark)
    for rows in _chunks(living):
        _match(rows, result, seen)
    booked = ((_name_of(entry), entry) for entry in _booked(provider, since, until))
    missing = {name: entry for name, entry in booked if name not in seen and entry.order_id >= mark}
    if missing:
        made = min(ids.made_at(entry.id) for entry in missing.values())
        for row in source.statement(made - CLOCKS_DIFFER, until + CLOCKS_DIFFER):
            missing.pop(_name(row), None)
        _ours_only(missing.values(), result)
    for found in result.differences:
        using = sharding.shard_of_id(found.payment_id)
        settling.alert(found.payment_id, provider, found.kind, found.facts, using=using)
    return result


def reconcile_yesterday() -> int:
    """Reconcile yesterday with every provider on offer, so that what differs is alerted; returns how much does."""
    since, until = day(yesterday())
    found = 0
    for provider in providers.offered():
        try:
            found += len(reconcile(provider=provider, since=since, until=until).differences)
        except ProviderUnavailable as error:
            # No reason not to look at the others; the next run, or a person, takes it up.
            logger.error("no statement of %s from %s for %s: %s", since, until, provider, error)  # noqa: TRY400
    return found


def day(date: date_type) -> tuple[datetime, datetime]:
    """The beginning and the end of a calendar day in the time zone of the settings, as providers bill."""
    since, until = (datetime.combine(each, time.min) for each in (date, date + timedelta(days=1)))
    return timezone.make_aware(since), timezone.make_aware(until)


def yesterday() -> date_type:
    """The last day that is over, by the clock of the database."""
    return timezone.localtime(db_now(sharding.DEFAULT)).date() - timedelta(days=1)


def _match(rows: Sequence[StatementRow], result: Reconciliation, seen: set[Name]) -> None:
    """Look up lines of the statement, whenever they were booked."""
    # In this order: what is settled between the two has its entry.
    waiting, entries = _waiting(rows), _entries(rows, result.provider)
    for row in rows:
        theirs = _signed(row)
        result.theirs.add(row.kind, theirs)
        entry = entries.get(_name(row)) if _name(row) not in seen else None
        seen.add(_name(row))
        if entry is not None:
            result.ours.add(row.kind, entry.amount)
        if entry is None or entry.amount != theirs:
            _note(row, entry, waiting.get(row.number), result)


def _note(row: StatementRow, entry: LedgerEntry | None, waiting: Waiting | None, result: Reconciliation) -> None:
    """Find out what a line is that isn't booked as it says."""
    theirs, ours = _signed(row), entry.amount if entry else NOTHING
    by_hand = _adjusted(row.payment_id, [row.transaction_id, str(row.number)])
    if by_hand and ours + by_hand == theirs:
        result.explained += 1
        result.ours.add(row.kind, by_hand, count=0 if entry else 1)
    elif entry is None and waiting is not None and not waiting.late:
        result.under_way += 1
    else:
        difference = Difference(
            kind=Kind.AMOUNT_DIFFERS if entry else Kind.STATE_DIFFERS if waiting else Kind.PROVIDER_ONLY,
            movement=row.kind,
            number=row.number,
            payment_id=row.payment_id,
            reference=row.transaction_id,
            theirs=theirs,
            ours=entry.amount if entry else None,
            note=f", {waiting.state} with us" if waiting and not entry else "",
        )
        result.differences.append(difference)


def _ours_only(entries: Iterable[LedgerEntry], result: Reconciliation) -> None:
    for entry in entries:
        result.ours.add(entry.kind, entry.amount)
        if entry.amount + (by_hand := _adjusted(entry.payment_id, [entry.reference])) == 0:
            result.explained += 1
            result.ours.add(entry.kind, by_hand, count=-1)
            continue
        difference = Difference(
            kind=Kind.OURS_ONLY,
            movement=entry.kind,
            number=entry.id,
            payment_id=entry.payment_id,
            reference=entry.reference,
            theirs=None,
            ours=entry.amount,
        )
        result.differences.append(difference)


def _adjusted(payment_id: int, references: Sequence[str]) -> Decimal:
    """What people booked by hand for a transaction of a payment."""
    using = sharding.shard_of_id(payment_id)
    payment = Payment.objects.on(using).filter(id=payment_id).first()
    if payment is None:
        return NOTHING
    rows = LedgerEntry.objects.on(using).filter(order_id=payment.order_id, payment_id=payment_id)
    by_hand = rows.filter(kind=LedgerEntry.Kind.ADJUSTMENT, reference__in=[name for name in references if name])
    return yuan(by_hand.aggregate(total=Sum("amount"))["total"])


def _booked(provider: str, since: datetime, until: datetime) -> Iterator[LedgerEntry]:
    """Charges and refunds that we booked in a period."""
    for using in sharding.shards():
        rows = LedgerEntry.objects.on(using).filter(created_at__gte=since, created_at__lt=until, provider=provider)
        rows = rows.exclude(kind=LedgerEntry.Kind.ADJUSTMENT)
        yield from rows.order_by("created_at").iterator(chunk_size=BATCH)


def _waiting(rows: Sequence[StatementRow]) -> dict[int, Waiting]:
    """The payments and refunds among some lines that aren't done with us, by number."""
    found: dict[int, Waiting] = {}
    for using, numbers in _by_shard(rows):
        now = db_now(using)
        for payment in Payment.objects.on(using).filter(id__in=numbers).exclude(status=PaymentStatus.CAPTURED):
            late = now > payment.expires_at + OPEN_AFTER_EXPIRY
            found[payment.id] = Waiting(state=f"{payment.status} at {payment.amount}", late=late)
        for refund in Refund.objects.on(using).filter(id__in=numbers).exclude(status=RefundStatus.SUCCEEDED):
            late = now > refund.created_at + REFUND_PENDING
            found[refund.id] = Waiting(state=f"{refund.status} at {-refund.amount}", late=late)
    return found


def _entries(rows: Sequence[StatementRow], provider: str) -> dict[Name, LedgerEntry]:
    """The entries that bear the numbers of some lines."""
    return {
        _name_of(entry): entry
        for using, numbers in _by_shard(rows)
        for entry in LedgerEntry.objects.on(using).filter(id__in=numbers, provider=provider)
    }


def _by_shard(rows: Sequence[StatementRow]) -> Iterator[tuple[str, list[int]]]:
    pairs = sorted((sharding.shard_of_id(row.number), row.number) for row in rows)
    for using, group in groupby(pairs, key=lambda pair: pair[0]):
        yield using, [number for _using, number in group]


def _chunks(rows: Iterable[StatementRow]) -> Iterator[list[StatementRow]]:
    waiting = iter(rows)
    while chunk := list(islice(waiting, BATCH)):
        yield chunk


def _name(row: StatementRow) -> Name:
    return row.kind, row.number, row.transaction_id if row.kind == "charge" else ""


def _name_of(entry: LedgerEntry) -> Name:
    return entry.kind, entry.id, entry.reference if entry.kind == LedgerEntry.Kind.CHARGE else ""


def _signed(row: StatementRow) -> Decimal:
    return row.amount if row.kind == "charge" else -row.amount


def _told(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount:.2f}"
