"""`manage.py seed_demo`: the demo shop, its menu, staff and customers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

import accounts.demo
import menu.demo


class Command(BaseCommand):
    """Makes the demo data; harmless twice, refused in production settings."""

    help = "Make the demo shop, its menu, staff and customers."

    def handle(self, *args: Any, **options: Any) -> None:
        """The shop first: the staff work there."""
        if not settings.WAIMAI_DEMO:
            raise CommandError("Demo accounts have well-known passwords: seed_demo runs only where WAIMAI_DEMO is on.")
        accounts.demo.seed(menu.demo.seed())
        self.stdout.write("demo data is there")
