"""Routes of the payments app: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from payments import api, sky, views

api_patterns: list[URLPattern | URLResolver] = [
    path("payments/sandbox/<int:payment_id>/", api.SandboxView.as_view(), name="payment_sandbox"),
    path("payments/webhooks/<slug:provider>/", api.WebhookView.as_view(), name="payment_webhook"),
]
page_patterns: list[URLPattern | URLResolver] = [
    path("pay/sandbox/<int:payment_id>/", views.sandbox_pay, name="sandbox_pay"),
]
sky_patterns: list[URLPattern | URLResolver] = [
    path("notify/paySuccess", sky.pay_success),
]
