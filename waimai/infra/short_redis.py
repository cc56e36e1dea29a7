"""Redis for the doors (limiter, breaker): it answers within a moment or is done without.

A server that doesn't answer is left alone for a second, or a request that asks it six times would wait six times. Who
asks has something to fall back on and does so on `Away`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)
LEFT_ALONE_SECONDS = 1.0
_asked_again_at = 0.0


class Away(Exception):
    """Redis doesn't answer, or didn't a moment ago."""


@cache
def client() -> redis.Redis:
    """The connections of this process; after a fork each process makes its own."""
    seconds = settings.WAIMAI_CACHE_SECONDS
    return redis.Redis.from_url(
        settings.WAIMAI_REDIS_URL,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # The library's own retries would make a tenth of a second twelve: docs/adr/0016.
        retry=Retry(NoBackoff(), 0),
    )


class Script:
    """A Lua script, run on the server as one step: nobody else's command comes between its own."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, keys: Sequence[str], arguments: Sequence[str | int | float | bytes]) -> Any:
        """What the script returns. Raises Away, at once while the server is left alone."""
        global _asked_again_at
        if time.monotonic() < _asked_again_at:
            raise Away
        try:
            return client().register_script(self.source)(keys=list(keys), args=list(arguments))
        except (redis.RedisError, OSError) as error:
            _asked_again_at = time.monotonic() + LEFT_ALONE_SECONDS
            logger.warning("Redis is left alone for %s s: %r", LEFT_ALONE_SECONDS, error)
            raise Away from error


def tell(channel: str, message: str) -> bool:
    """Publish; False when Redis is away, and nobody hears it."""
    global _asked_again_at
    if time.monotonic() < _asked_again_at:
        return False
    try:
        client().publish(channel, message)
    except (redis.RedisError, OSError) as error:
        _asked_again_at = time.monotonic() + LEFT_ALONE_SECONDS
        logger.warning("Redis is left alone for %s s: %r", LEFT_ALONE_SECONDS, error)
        return False
    return True


def ask_again() -> None:
    """Forget that the server didn't answer, and the connections to it: tests change servers."""
    global _asked_again_at
    _asked_again_at = 0.0
    client.cache_clear()
