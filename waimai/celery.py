"""The Celery application of worker and beat; its settings are Django's, prefixed `CELERY_`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "waimai.settings")

app = Celery("waimai")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
