"""The staff's side: the site that every admin page hangs on."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from unfold.sites import UnfoldAdminSite

from waimai.infra.admin_look import TITLE, TODAY

LAST = 9


class StaffSite(UnfoldAdminSite):  # type: ignore[misc]
    """Unfold's site, without its search: that keeps what it found in the cache, which we may have to do without."""

    site_title = site_header = TITLE
    index_title = TODAY

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The apps as their configurations order them (`admin_order`): first what is looked at all day."""
        found: list[Any] = super().get_app_list(request, app_label)
        return sorted(found, key=lambda app: getattr(apps.get_app_config(app["app_label"]), "admin_order", LAST))

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Not there. Each list has a search of its own."""
        raise Http404
