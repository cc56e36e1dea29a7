"""Fixtures of the accounts tests."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from accounts import limits
from tests.fixtures import phones

__all__ = ["no_cache", "phones"]


@pytest.fixture
def no_cache(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that nobody listens for; what is remembered of it ends with the test."""
    monkeypatch.setattr(limits, "_asked_again_at", 0.0)
    down = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "unix:///nonexistent/redis.sock"}
    settings.CACHES = {"default": settings.CACHES["default"], "down": down}
    settings.RATELIMIT_USE_CACHE = "down"
