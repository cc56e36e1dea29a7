"""The staff's side: the site that every admin page hangs on."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from unfold.sites import UnfoldAdminSite

from waimai.infra.admin_look import TITLE


class StaffSite(UnfoldAdminSite):  # type: ignore[misc]
    """Unfold's site, without its search: that keeps what it found in the cache, which we may have to do without."""

    site_title = site_header = TITLE

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Not there. Each list has a search of its own."""
        raise Http404
