"""Django's configuration of the machinery below the four apps."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class InfraConfig(AppConfig):
    """Ids, shards, outbox, timers, barrier: no food words here."""

    name = "waimai.infra"
    label = "infra"
    verbose_name = _("系统")

    def ready(self) -> None:
        """Register what queries are written with."""
        from waimai.infra import lookups  # noqa: F401 - registers itself
