"""The app behind `tests.support.poison.settings`."""

from __future__ import annotations

from django.apps import AppConfig


class PoisonConfig(AppConfig):
    """Registers the poison."""

    name = "tests.support.poison"

    def ready(self) -> None:
        """When Django is set up."""
        from tests.support.poison.handlers import register

        register()
