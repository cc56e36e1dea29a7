"""Django behind WSGI: what granian serves in production, and what waimai.asgi hands the pages to."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "waimai.settings")

application = get_wsgi_application()
