"""Servers of the benchmarks' own, fresh for each comparison."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.fleet import Fleet


@contextmanager
def fleets(parent: Path) -> Iterator[Callable[[], AbstractContextManager[Fleet]]]:
    """Django on a folder of our own below `parent`; what opens a fleet there that Django is pointed at."""
    with tempfile.TemporaryDirectory(prefix="waimai-benchmark-", dir=parent) as name:
        folder = Path(name)
        os.environ |= {"DJANGO_SETTINGS_MODULE": "waimai.settings", "WAIMAI_DATA_DIR": name}
        # What is measured in this process, too, is heavier than any customer.
        os.environ |= {"WAIMAI_SECRET_KEY": secrets.token_hex(32), "WAIMAI_RATELIMIT": "0"}
        import django

        django.setup()
        from tests.support import valkey
        from tests.support.fleet import make_template
        from waimai.infra import parts

        cache = valkey.start(parts.embedded_socket(folder))
        try:
            template = make_template(folder / "template")
            yield lambda: _opened(folder / "fleet", template)
        finally:
            valkey.stop(cache)


@contextmanager
def _opened(folder: Path, template: Path) -> Iterator[Fleet]:
    from tests.support.fleet import Fleet, django_on

    fleet = Fleet(folder, template, separate=False, broker="redis", aof=False)
    try:
        fleet.open()
        with django_on({alias: fleet.database_url(alias) for alias in fleet.aliases}):
            yield fleet
    finally:
        fleet.close()


def database_pid(fleet: Fleet) -> int:
    """The number of MariaDB's process."""
    return int((fleet.database.folder / "pid").read_text())
