"""Django behind WSGI: what granian serves in production, and what waimai.asgi hands the pages to."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from waimai.infra import pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "waimai.settings")

pulse.begin()
application = get_wsgi_application()
