"""`manage.py audit`: every invariant, across every database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

import menu.services
import orders.audit
import orders.desk.audit
import payments.services
from waimai.infra import partitions
from waimai.infra.sharding import databases, shards, unknown_shards

# Rows of several databases can't be read at one moment: what looks wrong is looked at again after this pause.
SECOND_LOOK_AFTER_SECONDS = 1.0


def problems() -> Iterator[str]:
    """One line for each invariant that is broken, as of now."""
    yield from (
        f"I5 {alias}: holds users' orders, but WAIMAI_ORDER_SHARDS doesn't name it" for alias in unknown_shards()
    )
    yield from (f"I1 {line}" for line in menu.services.stock_problems())
    for alias in databases():
        yield from (f"{line} [{alias}]" for line in orders.audit.waiting_problems(alias))
    for alias in shards():
        yield from (f"I4 {line} [{alias}]" for line in partitions.problems(alias))
        yield from (f"{line} [{alias}]" for line in orders.audit.order_problems(alias))
        yield from (f"I3 {line} [{alias}]" for line in payments.services.payment_problems(alias))
        yield from (f"{line} [{alias}]" for line in orders.desk.audit.desk_problems(alias))


def lasting_problems() -> list[str]:
    """The problems that two looks agree on: orders may change between reading one database and the next."""
    found = list(problems())
    if not found:
        return []
    time.sleep(SECOND_LOOK_AFTER_SECONDS)
    again = set(problems())
    return [line for line in found if line in again]


class Command(BaseCommand):
    """Checks I1 to I10 (docs/architecture.md) and exits with 1 when one is broken."""

    help = "Check every invariant across every database; exit status 1 and one line per violation."

    def add_arguments(self, parser: CommandParser) -> None:
        """One option."""
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what is wrong."""
        found = lasting_problems()
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not found, "violations": found}, ensure_ascii=False))
        else:
            for line in found:
                self.stdout.write(line)
            self.stdout.write(f"{len(found)} violations" if found else "all invariants hold")
        if found:
            raise CommandError(f"{len(found)} violations", returncode=1)
