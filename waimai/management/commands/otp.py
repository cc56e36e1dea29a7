"""`manage.py otp enroll|remove USERNAME`: the second factor of a member of staff."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

import segno
from django.core.management.base import BaseCommand, CommandError

from accounts import second_factor
from waimai.infra.errors import NotFound


class Command(BaseCommand):
    """Second factors of staff."""

    help = "Give a member of staff a second factor, or take a lost one away."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=("enroll", "remove"))
        parser.add_argument("username")

    def handle(self, *args: Any, action: str, username: str, **options: Any) -> None:
        try:
            self._enroll(username) if action == "enroll" else self._remove(username)
        except NotFound as error:
            raise CommandError(f"nobody of the staff is called {username!r}") from error

    def _enroll(self, username: str) -> None:
        device = second_factor.enroll(username)
        segno.make(device.config_url).terminal(out=sys.stdout, compact=True)
        self.stdout.write(f"{device.config_url}\nScan it with an authenticator app, then type the token it shows:")
        if not second_factor.confirm(device, sys.stdin.readline().strip()):
            device.delete()
            raise CommandError("That is not its token; nothing was changed.")
        self.stdout.write(f"{username} logs in with password and token from now on.")

    def _remove(self, username: str) -> None:
        self.stdout.write(f"{second_factor.remove(username)} removed; {username} logs in with the password alone.")
