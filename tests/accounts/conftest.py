"""Fixtures of the accounts tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from accounts import limits
from accounts.sms import MemorySender


@pytest.fixture
def phones(settings: Settings) -> Iterator[type[MemorySender]]:
    """Everybody's phones: what was sent stands in `phones.sent`."""
    settings.WAIMAI_SMS_SENDER = "accounts.sms.MemorySender"
    MemorySender.reset()
    yield MemorySender
    MemorySender.reset()


@pytest.fixture
def no_cache(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that nobody listens for; what is remembered of it ends with the test."""
    monkeypatch.setattr(limits, "_asked_again_at", 0.0)
    down = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "unix:///nonexistent/redis.sock"}
    settings.CACHES = {"default": settings.CACHES["default"], "down": down}
    settings.RATELIMIT_USE_CACHE = "down"
