"""Django's configuration of the accounts app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """The accounts app."""

    name = "accounts"
    verbose_name = _("用户与员工")
    admin_order = 5

    def ready(self) -> None:
        """Register the system checks and the housekeeping."""
        from accounts import checks, handlers  # noqa: F401 - importing registers them
