"""`manage.py events`: timers and outbox in one process, without a broker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from waimai.infra.loops import house_rounds, relay_rounds, timer_rounds
from waimai.management.commands._loop import run_until_told


class Command(BaseCommand):
    """The guarantee behind Celery: sweeps and relays every database until SIGTERM."""

    help = "Sweep the timers and relay the outbox of every database until told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        """Loop until told to stop."""
        run_until_told([*timer_rounds(), *relay_rounds(), *house_rounds()])
