"""Loaded before Django's settings (`-p` in pyproject.toml): points them at parts of this process alone.

Each pytest process has a folder of its own, so `-n 2`, two runs at once, and a `bin/up` beside them never meet.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import canaries, mysql, processes, services

SHARDS = ("orders_0", "orders_1")
FOLDER = pytest.StashKey[Path]()
# What a developer's shell may hold and a test must not see.
FOREIGN = ("WAIMAI_DATABASE_URL", "WAIMAI_ORDER_SHARDS", "WAIMAI_REDIS_URL", "WAIMAI_BROKER_URL", "WAIMAI_DEBUG")
BUCKETS = ("ENTRY", "ADDRESS", "STAFF", "LOGIN", "PHONE", "ORDER", "PAY")
PREFIX = "waimai-test-"
BYTES_FOR_DATABASES = 1024**3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backend`, and how long the long fault tests go on."""
    parser.addoption(
        "--backend",
        choices=("sqlite", "mysql"),
        default="sqlite",
        help="which databases to run on; mysql makes and drops its own at 127.0.0.1:3306 (root, no password)",
    )
    parser.addoption("--rounds", type=int, default=None, help="rounds of the fault tests that race, instead of a few")
    parser.addoption(
        "--minutes", type=float, default=None, help="length of the fault tests that go on, instead of short"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Set the environment; pytest-django reads the settings right after this."""
    parent = _parent_folder()
    _remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    early_config.stash[FOLDER] = folder
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["DJANGO_SETTINGS_MODULE"] = "waimai.settings"
    os.environ["WAIMAI_DATA_DIR"] = str(folder)
    # A busy machine is no broken cache; tests of a cache that hangs set their own limit.
    os.environ["WAIMAI_CACHE_SECONDS"] = "5"
    # Tests knock as fast as they can; those about the token buckets fill some.
    os.environ |= {f"WAIMAI_RATE_{bucket}": "0" for bucket in BUCKETS}
    os.environ["WAIMAI_WEB_PATIENCE_SECONDS"] = "60"
    os.environ["WAIMAI_SECRET_KEY"] = "a-key-for-tests-" + "x" * 40
    if early_config.known_args_namespace.backend == "mysql":
        os.environ["WAIMAI_DATABASE_URL"] = mysql.url("default")
        os.environ["WAIMAI_ORDER_SHARDS"] = " ".join(mysql.url(shard) for shard in SHARDS)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Make passwords cheap; tidy up and make room on the server (once per run, not per worker)."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["tests.support.hashers.QuickArgon2", *settings.PASSWORD_HASHERS]
    config.pluginmanager.register(FromWorkers())
    if config.getoption("backend") == "mysql" and not hasattr(config, "workerinput"):
        mysql.drop_leftovers()
        mysql.make_room()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Look for personal data where it must not be, all through the run."""
    canaries.begin()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was found to the process that reports, and fail the run for it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["leaks"] = canaries.watch.found
    elif canaries.watch.found and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class FromWorkers:
    """Collects what the workers of pytest-xdist found."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended."""
        canaries.watch.found.extend(getattr(node, "workeroutput", {}).get("leaks", []))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder of this process."""
    if folder := config.stash.get(FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what doesn't depend on the databases to the run on SQLite, and what is MariaDB's alone to the other."""
    marker = "mariadb" if config.getoption("backend") == "sqlite" else "once"
    left_out = [item for item in items if item.get_closest_marker(marker)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(marker)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail what needs a server that doesn't answer."""
    canaries.listen()
    for mark in item.iter_markers("services"):
        services.require(*mark.args)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which service tests were skipped."""
    for leak in canaries.watch.found:
        terminalreporter.write_line(f"PERSONAL DATA (S14): {leak}", red=True)
    if line := services.skipped_line(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, red=True, bold=True)


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of test processes that were killed, and end the servers that still run in them."""
    for folder in parent.glob(f"{PREFIX}*-*"):
        if not processes.exists(folder.name.removeprefix(PREFIX).partition("-")[0]):
            processes.kill_all_of(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _parent_folder() -> Path:
    """Memory if there's room, as every commit of a test waits for its disk; else the usual temporary folder."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > BYTES_FOR_DATABASES:
        return memory
    return Path(tempfile.gettempdir())
