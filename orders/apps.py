"""Django's configuration of the orders app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OrdersConfig(AppConfig):
    """The orders app."""

    name = "orders"
    verbose_name = _("订单")
    admin_order = 3

    def ready(self) -> None:
        """Register what orders hear, what the clock wakes and where a crash can be rehearsed."""
        import_module("orders.handlers")
        import_module("orders.services")
