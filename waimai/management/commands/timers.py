"""`manage.py timers`: fire what is due."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from waimai.infra import timers
from waimai.infra.loops import timer_rounds
from waimai.infra.sharding import databases
from waimai.management.commands._loop import run_until_told


class Command(BaseCommand):
    """Sweeps the timers of every database once, or with --loop every 250 ms; needs no broker."""

    help = "Fire every timer that is due, on every database."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do instead of sweeping once."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--loop", action="store_true", help="go on until SIGTERM")
        what.add_argument("--revive", action="store_true", help="make everything parked due again")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sweep once or for ever."""
        if options["loop"]:
            return run_until_told(timer_rounds())
        if options["revive"]:
            for alias in databases():
                self.stdout.write(f"{alias}: {timers.revive(using=alias)}")
            return None
        for each in timer_rounds():
            self.stdout.write(f"{each.name}: {each.body()}")
        return None
