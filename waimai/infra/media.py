"""Uploaded pictures from the local folder: only what we drew ourselves, and nothing a browser could run.

With a store elsewhere (`WAIMAI_STORAGE_BUCKET`) there are none here.
"""

from __future__ import annotations

import re

from django.core.files.storage import FileSystemStorage, storages
from django.http import FileResponse, Http404, HttpRequest
from django.views.decorators.http import require_safe

# As `menu.uploads` names them.
OURS = re.compile(r"[a-z]{1,20}/[0-9a-f]{32}\.webp")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "inline",
    # A customer's app may live on another site.
    "Cross-Origin-Resource-Policy": "cross-origin",
    # A name is never used again.
    "Cache-Control": "public, max-age=31536000, immutable",
}


@require_safe
def picture(request: HttpRequest, name: str) -> FileResponse:
    """One picture; anything else isn't there, a listing of the folder included."""
    local = isinstance(storages["default"], FileSystemStorage)
    if not local or not OURS.fullmatch(name):
        raise Http404
    try:
        return FileResponse(storages["default"].open(name), content_type="image/webp", headers=HEADERS)
    except FileNotFoundError as error:
        raise Http404 from error
