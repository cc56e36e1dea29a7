"""`manage.py partitions`: months of the growing tables on MySQL: look, make more, archive old ones, restore them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from waimai.infra import archive, partitions
from waimai.infra.archive import Refused
from waimai.infra.archive_files import Damaged
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.months import Month
from waimai.infra.sharding import shards


class Command(BaseCommand):
    """Looks after monthly partitions; on SQLite there are none."""

    help = "Show the monthly partitions of every shard, make months ahead, archive old months to files, restore them."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do."""
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("look", help="every partition: rows (an estimate), bytes; exit status 1 when one is amiss")
        add = actions.add_parser("add", help="make months ahead, even where pmax has rows")
        add.add_argument("--months", type=int, default=partitions.MONTHS_AHEAD, help="how many ahead (default 3)")
        out = actions.add_parser("archive", help="write old months to files and drop them")
        out.add_argument("--before", type=_month, required=True, help="the first month that stays, such as 2026-08")
        out.add_argument("--to", type=Path, required=True, help="the folder")
        back = actions.add_parser("restore", help="bring archived months back from files")
        back.add_argument("folder", type=Path)
        back.add_argument("--month", type=_month, help="only this one, such as 2026-05")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        for alias in shards():
            if not partitions.applies_to(alias):
                self.stdout.write(f"{alias}: SQLite has no partitions, there is nothing to do")
        if not archive.partitioned_shards():
            return
        try:
            for line in _act(options):
                self.stdout.write(line)
        except (Refused, Damaged) as error:
            raise CommandError(str(error)) from None
        except ServiceUnavailable:
            raise CommandError("a table is too busy to change its partitions; nothing is lost, try again") from None


def _act(options: dict[str, Any]) -> Iterator[str]:
    match options["action"]:
        case "look":
            return _look()
        case "add":
            return _add(options["months"])
        case "archive":
            return archive.archive(options["before"], options["to"])
        case _:
            return archive.restore(options["folder"], options["month"])


def _look() -> Iterator[str]:
    amiss = []
    if below := archive.oldest_living_id():
        yield f"archived: orders older than {Month.of_id(below)}"
    for alias in archive.partitioned_shards():
        for model in partitions.partitioned_models():
            yield f"{alias} {model._meta.db_table}"
            for part in partitions.of_table(model, alias):
                end = "no end" if part.below is None else f"below {part.below}"
                yield f"  {part.name:8} about {part.rows:>10} rows {part.bytes:>14} bytes  {end}"
        amiss += [f"{line} [{alias}]" for line in partitions.problems(alias)]
    if amiss:
        raise CommandError("\n".join(amiss))


def _add(months: int) -> Iterator[str]:
    for alias in archive.partitioned_shards():
        yield f"{alias}: {partitions.add(alias, months)} partitions made"


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
