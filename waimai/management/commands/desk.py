"""`manage.py desk rebuild`: make the staff's rows anew from the shards."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

import orders.desk.services


class Command(BaseCommand):
    """The desk is a copy; this makes it again while the system runs."""

    help = "Rebuild the desk, the staff's copy of every paid order, from the shards."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do."""
        parser.add_argument("action", choices=["rebuild"])

    def handle(self, *args: Any, **options: Any) -> None:
        """Rebuild."""
        self.stdout.write(f"{orders.desk.services.rebuild()} orders on the desk")
