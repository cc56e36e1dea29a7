"""Is the process alive, and is the system ready? A shard that is down is reported, not fatal."""

from __future__ import annotations

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from kombu import Connection

from waimai.infra.sharding import databases, unknown_shards

PROBE_SECONDS = 0.5


def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Each part by name; 503 only when `default` is down, as then nobody can be served."""
    parts = {alias: _state(lambda a=alias: _ask_database(a)) for alias in databases()}  # type: ignore[misc]
    parts |= dict.fromkeys(_missing_shards(), "down: not configured")
    parts["cache"] = _state(_ask_cache)
    parts["broker"] = _state(_ask_broker)
    ready = parts["default"] == "ok"
    return JsonResponse({"status": "ok" if ready else "unavailable", "parts": parts}, status=200 if ready else 503)


def _missing_shards() -> list[str]:
    try:
        return unknown_shards()
    except DatabaseError:
        return []


def _state(ask: Callable[[], None]) -> str:
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - whatever a part fails with, it is down
        return f"down: {type(error).__name__}"
    return "ok"


def _ask_database(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_cache() -> None:
    client = redis.Redis.from_url(
        settings.WAIMAI_REDIS_URL, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS
    )
    with client:
        client.ping()


def _ask_broker() -> None:
    # Those of Redis; its transport doesn't know the other one. RabbitMQ's knows no options.
    redis_limits = {"socket_timeout": PROBE_SECONDS, "socket_connect_timeout": PROBE_SECONDS}
    url = settings.CELERY_BROKER_URL
    options = {} if url.startswith(("amqp", "pyamqp")) else redis_limits
    with Connection(url, connect_timeout=PROBE_SECONDS, transport_options=options) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
