"""Django's configuration of the composition: the last app to be ready."""

from __future__ import annotations

import os

from django.apps import AppConfig

from waimai.infra import crashpoints


class WaimaiConfig(AppConfig):
    """What composes the apps: routes, processes, commands."""

    name = "waimai"

    def ready(self) -> None:
        """Rehearse a crash, if one is asked for: by now every app has declared its crash points."""
        crashpoints.arm(os.environ.get("CRASH_AT", ""))
