"""A Redis that a test of menus may stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.instances import Redis
from waimai.infra import short_redis


@pytest.fixture
def redis_server(tmp_path: Path, settings: Any) -> Iterator[Redis]:
    """A Redis of the test's own."""
    server = Redis(tmp_path / "redis", aof=False)
    server.spawn()
    server.wait_until_it_answers()
    settings.WAIMAI_REDIS_URL = server.url
    short_redis.ask_again()
    yield server
    server.kill()
    short_redis.ask_again()
