"""`manage.py shards`: which shard holds how much, and moving buckets to a new one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from waimai.infra import resharding
from waimai.infra.sharding import shards


class Command(BaseCommand):
    """Shows the layout; `rebalance` moves buckets to added shards and needs a stopped system."""

    help = "Show how many buckets each shard holds, or move buckets until all hold the same (stop the system first)."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do."""
        parser.add_argument("action", choices=["show", "rebalance"])

    def handle(self, *args: Any, **options: Any) -> None:
        """Show, or move and show."""
        if options["action"] == "rebalance":
            try:
                self.stdout.write(f"{resharding.rebalance()} buckets moved")
            except ValueError as error:
                raise CommandError(str(error)) from None
        for alias, count in resharding.layout().items():
            missing = "" if alias in shards() else ", NOT CONFIGURED: see WAIMAI_ORDER_SHARDS"
            self.stdout.write(f"{alias}: {count} buckets{missing}")
