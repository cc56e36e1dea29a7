"""Nobody outside can make this system call an address of their choice."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from django import forms
from django.apps import apps
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings
from rest_framework import serializers

from payments.models import SandboxNotice
from payments.providers import sandbox_delivery
from tests.payments.factories import notice, pending
from tests.support.source import product
from waimai.infra import sharding

# What our own pages of lists say: nobody sends it.
ANSWERED = {"next", "previous"}
OURS = ("waimai.", "accounts.", "menu.", "payments.", "orders.")


def kinds(base: type[Any]) -> Iterator[type[Any]]:
    """All classes of ours below one."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith(OURS):
            yield kind
        yield from kinds(kind)


@pytest.mark.once
def test_s11_no_door_takes_an_address_from_outside() -> None:
    list(_views(get_resolver()))  # Every form and serializer is loaded by now.
    takes_one = [
        f"{kind.__module__}.{kind.__qualname__}.{name}"
        for base in (serializers.Serializer, forms.BaseForm)
        for kind in kinds(base)
        for name, field in (getattr(kind, "_declared_fields", {}) or getattr(kind, "base_fields", {})).items()
        if isinstance(field, serializers.URLField | forms.URLField) or _sounds_like_one(name)
        if name not in ANSWERED
    ]
    assert takes_one == []


@pytest.mark.once
def test_s11_no_table_keeps_one() -> None:
    keeps_one = [
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        if model.__module__.startswith(OURS)
        for field in model._meta.get_fields()
        if isinstance(field, models.URLField) or _sounds_like_one(field.name)
    ]
    assert keeps_one == []


@pytest.mark.once
def test_s11_who_calls_out_is_known() -> None:
    outside = ("requests", "urllib.request", "http.client", "httpx", "urllib3", "aiohttp", "socket")
    found = {
        module.name
        for module in product()
        for used in module.imports()
        if any(f"{used.name}.".startswith(f"{name}.") for name in outside)
    }
    # The login by WeChat calls WAIMAI_WECHAT_API_URL, the sandbox WAIMAI_PUBLIC_URL; the rest know only our own parts.
    assert found == {
        "accounts.wechat_http",
        "payments.providers.sandbox_delivery",
        "waimai.infra.pulse",
        "waimai.supervisor",
        "waimai.supervisor_probe",
        "waimai.supervisor_web",
    }


class Sender(BaseHTTPRequestHandler):
    """Sends every caller on to another address."""

    asked: list[str] = []

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(307)
        self.send_header("Location", "/inside")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.mark.data
def test_s11_what_answers_with_a_redirect_is_not_followed(settings: Settings) -> None:
    Sender.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Sender) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings.WAIMAI_PUBLIC_URL = f"http://127.0.0.1:{server.server_address[1]}"
        told = notice(pending().id)
        sandbox_delivery.deliver(told.id, using=sharding.shard_of_id(told.id))
        server.shutdown()
    assert Sender.asked == ["/api/v1/payments/webhooks/sandbox/"]
    assert SandboxNotice.objects.by_id(told.id).get().last_error == "status 307"


def _sounds_like_one(name: str) -> bool:
    return any(part in {"url", "uri", "callback", "webhook", "host"} for part in name.lower().split("_"))


def _views(resolver: URLResolver) -> Iterator[object]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern)
        elif isinstance(pattern, URLPattern):
            yield inspect.getmodule(pattern.callback)
