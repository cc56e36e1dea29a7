"""What a browser may do with our answers: policies by path, beside those that hold everywhere (settings).

The pages' own policy stands in the settings. The admin and the API's document need a little more, JSON needs nothing
at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from waimai.infra.envelope import SKY_PATHS

# Where one is, for the delivery area; nothing else that a phone can do.
PERMISSIONS_POLICY = (
    "geolocation=(self), camera=(), microphone=(), payment=(), usb=(), serial=(), midi=(), accelerometer=(), "
    "gyroscope=(), magnetometer=(), display-capture=()"
)
NOTHING: dict[str, list[str]] = {"default-src": ["'none'"], "frame-ancestors": ["'none'"]}
# Swagger UI sets styles of its own and draws its icons from data.
DOCUMENT: dict[str, list[str]] = {
    "default-src": ["'self'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}
ADMIN_PATH, DOCUMENT_PATH, API_PATH = "/admin/", "/api/v1/docs/", "/api/"


def pages_policy(pictures: list[str]) -> dict[str, list[str]]:
    """The policy of pages: our own files, and pictures from where the store is. No inline script or style."""
    return {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", *pictures],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }


def admin_policy(pages: dict[str, list[str]]) -> dict[str, list[str]]:
    """The pages' policy with what Unfold needs: Alpine evaluates its attributes, and themes are styles in the page.

    Still no script from elsewhere, and none written into a page.
    """
    return pages | {"script-src": ["'self'", "'unsafe-eval'"], "style-src": ["'self'", "'unsafe-inline'"]}


class BrowserMiddleware:
    """Sets the headers. Stands inside django-csp's middleware, which writes the policy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        response: Any = self.get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if request.path_info.startswith(DOCUMENT_PATH):
            response._csp_config = DOCUMENT
        elif request.path_info.startswith(ADMIN_PATH):
            response._csp_config = admin_policy(settings.CONTENT_SECURITY_POLICY["DIRECTIVES"])
        elif request.path_info.startswith((API_PATH, *SKY_PATHS)):
            response._csp_config = NOTHING
        answer: HttpResponse = response
        return answer
