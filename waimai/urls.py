"""All routes: each app names its own, this module mounts them."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

import accounts.urls
import menu.urls
import orders.desk.urls
import orders.urls
import payments.urls
from waimai.infra import health, http, media, metrics

handler404 = "waimai.infra.http.not_found"
handler500 = "waimai.infra.http.server_error"

# The published mini-program's side, at the addresses that it knows.
SKY_APPS = (accounts.urls, menu.urls, payments.urls, orders.urls)
APPS = (accounts.urls, menu.urls, payments.urls, orders.urls, orders.desk.urls)

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    *(path("api/v1/", include(app.api_patterns)) for app in APPS),
    # Any path at all, line ends too: an app is answered in JSON.
    re_path(r"^api/v1/[\s\S]*$", http.no_such_call),
    *(path("", include(app.page_patterns)) for app in APPS),
    *(path("", include(app.sky_patterns)) for app in SKY_APPS),
    path("user/<path:path>", http.no_such_call),
    *accounts.urls.simulator_patterns,
    path("media/<path:name>", media.picture, name="picture"),
]
