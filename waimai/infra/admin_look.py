"""How the staff's side looks: what Unfold reads from the settings."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

TITLE, TODAY = _("waimai 管理后台"), _("今日概览")


def style(request: HttpRequest) -> str:
    """What Unfold's own style sheet lacks for our pages."""
    return static("css/admin.css")


def script(request: HttpRequest) -> str:
    """What Unfold's own scripts leave unsaid."""
    return static("js/admin.js")


def icon(request: HttpRequest) -> str:
    """The one of the customers' pages."""
    return static("img/icon.svg")


# Read by Unfold from the settings.
LOOK: dict[str, Any] = {
    "SITE_TITLE": TITLE,
    "SITE_HEADER": TITLE,
    "SITE_SYMBOL": "lunch_dining",
    "SHOW_LANGUAGES": True,
    "SHOW_BACK_BUTTON": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "STYLES": [style],
    "SCRIPTS": [script],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": icon}],
    "COLORS": {
        "primary": {
            "50": "#fff4ed",
            "100": "#ffe6d5",
            "200": "#fecaaa",
            "300": "#fda474",
            "400": "#fb7a3c",
            "500": "#f45b16",
            "600": "#c2410c",
            "700": "#a5360b",
            "800": "#7c2d12",
            "900": "#672613",
            "950": "#3a1107",
        }
    },
}
