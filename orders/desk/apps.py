"""Django's configuration of the staff's side."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeskConfig(AppConfig):
    """The desk: one row per paid order in the default database."""

    name = "orders.desk"
    label = "desk"
    verbose_name = _("店铺看板")
    admin_order = 1

    def ready(self) -> None:
        """Register what the desk hears."""
        import_module("orders.desk.handlers")
