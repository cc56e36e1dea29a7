"""Django's configuration of the menu app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MenuConfig(AppConfig):
    """The menu app."""

    name = "menu"
    verbose_name = _("菜单")
    admin_order = 2
