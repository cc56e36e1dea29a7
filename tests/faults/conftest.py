"""Who is there when things fail, and servers of their own to fail."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fixtures import lan, mei, stall, tao

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

    from tests.support.fleet import Fleet

__all__ = ["lan", "mei", "stall", "tao"]

# Fault tests start servers and processes, and wait for clocks; none of them may wait for ever.
LONGEST_SECONDS = 240
Fleets = Callable[..., "Fleet"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time than other tests have, unless a test says how much it needs."""
    for item in items:
        if "tests/faults/" in str(item.path) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many rounds a racing test goes: `--rounds`, or a few."""
    return int(request.config.getoption("rounds") or 20)


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    """How long an enduring test goes on: `--minutes`, or a third of one."""
    return float(request.config.getoption("minutes") or 0.35)


@pytest.fixture(scope="session")
def own_folder() -> Iterator[Path]:
    """Where servers of this process keep their files: in memory, as every commit waits for its disk."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=f"waimai-test-{os.getpid()}-fleet-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_mariadb(own_folder: Path, valkey_server: None, django_db_blocker: DjangoDbBlocker) -> Path:
    """A migrated MariaDB, to be copied."""
    from tests.support.fleet import make_template

    with django_db_blocker.unblock():
        return make_template(own_folder / "template")


@pytest.fixture
def fleets(own_folder: Path, migrated_mariadb: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Fleets]:
    """Start a system on servers of its own (one per test) and point this process's Django at its databases.

    `separate`: a MariaDB for each database; `broker`: "redis" or "rabbitmq"; `aof`: Redis keeps its data.
    """
    from tests.support.fleet import Fleet, django_on

    with ExitStack() as stack, django_db_blocker.unblock():

        def make(*, separate: bool = False, broker: str = "redis", aof: bool = False) -> Fleet:
            fleet = Fleet(
                Path(tempfile.mkdtemp(dir=own_folder)) / "fleet",
                migrated_mariadb,
                separate=separate,
                broker=broker,
                aof=aof,
            )
            stack.callback(fleet.close)
            fleet.open()
            stack.enter_context(django_on({alias: fleet.database_url(alias) for alias in fleet.aliases}))
            return fleet

        yield make


@pytest.fixture
def fleet(fleets: Fleets) -> Fleet:
    """A system on one MariaDB and one Redis of its own; no process of ours runs yet."""
    return fleets()
