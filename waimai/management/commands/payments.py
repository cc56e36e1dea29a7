"""`manage.py payments`: settle with the providers' own books."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from payments import providers, services
from payments.providers.base import ProviderUnavailable
from payments.services import Reconciliation, reading
from waimai.infra import sharding
from waimai.infra.errors import DomainError

NO_STATEMENT = 2


class Command(BaseCommand):
    """Reconciles with a provider's statement, books adjustments, asks providers, fills the ledger."""

    help = "Compare providers' statements with the ledger (exit status 1: differences, 2: no statement); mend by hand."

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command per action."""
        actions = parser.add_subparsers(dest="action", required=True)
        reconcile = actions.add_parser("reconcile", help="list every difference of a period, yesterday unless told")
        reconcile.add_argument("--provider", help="only this one instead of all on offer")
        reconcile.add_argument("--date", type=_date, help="a calendar day like 2026-11-30")
        reconcile.add_argument("--since", type=_moment, help="from this time like 2026-11-30T12:00")
        reconcile.add_argument("--until", type=_moment, help="until just before this time")
        reconcile.add_argument("--json", action="store_true", help="print one JSON document")
        adjust = actions.add_parser("adjust", help="book money that moved outside waimai; moves none")
        adjust.add_argument("payment", type=int, help="the payment that it concerns")
        adjust.add_argument("amount", type=_yuan, help="yuan that came in, below zero for what went out")
        adjust.add_argument("--by", required=True, help="who answers for it")
        adjust.add_argument("--reason", required=True)
        adjust.add_argument("--reference", default="", help="the provider's transaction that this explains")
        poll = actions.add_parser("poll", help="ask the provider about payments now, and book what it says")
        poll.add_argument("payment", type=int, nargs="+")
        actions.add_parser("fill", help="book captures and refunds that have no entry in the ledger")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked."""
        try:
            getattr(self, f"_{options['action']}")(options)
        except DomainError as error:
            raise CommandError(f"{error} {error.errors or ''}".strip()) from None

    def _reconcile(self, options: dict[str, Any]) -> None:
        since, until = _period(options)
        names = [options["provider"]] if options["provider"] else providers.offered()
        try:
            results = [services.reconcile(provider=name, since=since, until=until) for name in names]
        except ProviderUnavailable as error:
            raise CommandError(f"no statement: {error}", returncode=NO_STATEMENT) from None
        if options["json"]:
            self.stdout.write(json.dumps([_document(result) for result in results], ensure_ascii=False, default=str))
        else:
            for result in results:
                self.stdout.writelines(f"{line}\n" for line in _lines(result))
        if count := sum(len(result.differences) for result in results):
            raise CommandError(f"{count} differences", returncode=1)

    def _adjust(self, options: dict[str, Any]) -> None:
        number = services.adjust(
            payment_id=options["payment"],
            amount=options["amount"],
            actor=options["by"],
            reason=options["reason"],
            reference=options["reference"],
        )
        self.stdout.write(f"adjustment {number} of {options['amount']} booked")

    def _poll(self, options: dict[str, Any]) -> None:
        for payment_id in options["payment"]:
            services.poll_payment(payment_id=payment_id, using=sharding.shard_of_id(payment_id))
            payment = reading.find(payment_id)
            self.stdout.write(f"payment {payment_id}: {payment.status if payment else 'unknown'}")

    def _fill(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"{services.fill_ledger()} entries booked")


def _period(options: dict[str, Any]) -> tuple[datetime, datetime]:
    since, until = options["since"], options["until"]
    if since is None and until is None:
        return services.day(options["date"] or services.yesterday())
    if options["date"] or since is None or until is None or since >= until:
        raise CommandError("name a --date, or --since and a later --until")
    return since, until


def _document(result: Reconciliation) -> dict[str, Any]:
    return {"ok": not result.differences, **asdict(result)}


def _lines(result: Reconciliation) -> list[str]:
    period = f"{timezone.localtime(result.since):%F %T} to {timezone.localtime(result.until):%F %T}"
    lines = [f"{result.provider}, {period}", *map(str, result.differences)]
    for side, totals in (("provider", result.theirs), ("ours", result.ours)):
        charges = f"{totals.charges} charges {totals.charged:.2f}"
        lines.append(f"{side}: {charges}, {totals.refunds} refunds {totals.refunded:.2f}")
    counts = f"{len(result.differences)} differences, {result.under_way} under way"
    return [*lines, f"{counts}, {result.explained} explained by adjustments"]


def _date(text: str) -> date:
    try:
        found = parse_date(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no date like 2026-11-30")
    return found


def _moment(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time like 2026-11-30T12:00")
    return found if timezone.is_aware(found) else timezone.make_aware(found)


def _yuan(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ArgumentTypeError(f"{text!r} is no amount like -6.50") from None
