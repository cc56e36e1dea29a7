"""Fixtures every test may use; tests/support/plugin.py has pointed the settings at this process's own parts before."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support import valkey

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

    from tests.support.databases import Databases

pytest_plugins = ["tests.support.server"]


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[None]:
    """The Valkey behind the cache and the broker, started for this process."""
    from django.conf import settings

    from waimai.infra import parts

    server = valkey.start(parts.embedded_socket(settings.DATA_DIR))
    yield
    # Listeners outlive the last test, and what they would write to may be closed by then.
    logging.getLogger("waimai.infra.near_cache").disabled = True
    valkey.stop(server)


@pytest.fixture(scope="session")
def databases(django_db_blocker: DjangoDbBlocker) -> Iterator[Databases]:
    """All databases, migrated once."""
    from tests.support.databases import Databases

    made = Databases()
    with django_db_blocker.unblock():
        made.make()
    yield made
    with django_db_blocker.unblock():
        made.drop()


@pytest.fixture
def db_all(databases: Databases, valkey_server: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Databases]:
    """Every database, open to this test and its threads; emptied afterwards, and so are the caches."""
    with django_db_blocker.unblock():
        yield databases
        databases.empty()


@pytest.fixture(autouse=True)
def _windows_begin_with_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixed windows of rate limits end at fixed times of the day: now and then in the middle of a test."""
    began = int(time.time())
    monkeypatch.setattr("django_ratelimit.core._get_window", lambda _value, period: began + period)


@pytest.fixture(autouse=True)
def _data(request: pytest.FixtureRequest) -> None:
    """Give a test marked `data` the databases."""
    if request.node.get_closest_marker("data"):
        request.getfixturevalue("db_all")
