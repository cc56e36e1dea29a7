"""Django's configuration of the menu app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MenuConfig(AppConfig):
    """The menu app."""

    name = "menu"
    verbose_name = _("菜单")
    admin_order = 2

    def ready(self) -> None:
        """Tell who stands below us what the shops are called."""
        import accounts.services
        from menu.catalogue import shop_names

        accounts.services.name_shops_by(shop_names)
