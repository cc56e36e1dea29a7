"""Where the references are found."""

from __future__ import annotations

from django.urls import path

from benchmarks.reference import views
from waimai.infra import health

urlpatterns = [
    path("healthz", health.healthz),
    path("orm/orders/", views.OrmOrders.as_view()),
    path("raw/orders/", views.raw_orders),
    path("offset/orders/", views.offset_orders),
    path("plain/menu/", views.plain_menu),
]
