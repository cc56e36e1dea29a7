"""Django's configuration of the payments app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PaymentsConfig(AppConfig):
    """The payments app."""

    name = "payments"
    verbose_name = _("支付")
    admin_order = 4

    def ready(self) -> None:
        """Register timers and system checks."""
        from payments import checks, handlers  # noqa: F401
