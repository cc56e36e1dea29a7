"""`manage.py relay`: run the hearers of what was published."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from waimai.infra import outbox
from waimai.infra.loops import relay_rounds
from waimai.infra.sharding import databases
from waimai.management.commands._loop import run_until_told


class Command(BaseCommand):
    """Relays the outbox of every database once, or with --loop every 100 ms; needs no broker."""

    help = "Run the hearers of every outbox message that is due, on every database."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do beyond one round."""
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM")
        parser.add_argument("--lag", action="store_true", help="only say how much news waits, and for how long")
        parser.add_argument("--revive", action="store_true", help="first take up again what was parked")

    def handle(self, *args: Any, **options: Any) -> None:
        """Relay once or for ever."""
        if options["lag"]:
            for alias in databases():
                self.stdout.write(f"{alias}: {outbox.lag(alias)}")
            return None
        if options["revive"]:
            for alias in databases():
                self.stdout.write(f"parked {alias}: {outbox.revive(using=alias)} taken up again")
        if options["loop"]:
            return run_until_told(relay_rounds())
        for each in relay_rounds():
            self.stdout.write(f"{each.name}: {each.body()}")
        return None
