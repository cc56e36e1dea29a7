"""Django's configuration of the menu app."""

from __future__ import annotations

from django.apps import AppConfig


class MenuConfig(AppConfig):
    """The menu app."""

    name = "menu"
