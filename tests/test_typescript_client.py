"""The TypeScript client: made of the present API, compiled, and good for a whole order."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections
from pytest_django import Settings

from tests.accounts.factories import PASSWORD
from tests.factories import Person, Stall, order, orders_of, settle
from tests.fixtures import mei, stall
from tests.support.server import WebProcess
from tests.support.source import ROOT

__all__ = ["mei", "stall"]
SOURCE = ROOT / "clients" / "typescript"
pytestmark = [
    pytest.mark.once,
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.services("node", "npm"),
]


@contextmanager
def the_clock_running() -> Iterator[None]:
    """The sandbox's calls and the news are seen to, as by the `events` process."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.2):
            settle()
        connections.close_all()

    clock = threading.Thread(target=run, name="clock")
    clock.start()
    try:
        yield
    finally:
        stop.set()
        clock.join()


def test_the_document_in_the_client_is_the_present_one(tmp_path: Path) -> None:
    # In a process of its own: tests make kinds of refusals that aren't the product's.
    command = [sys.executable, "manage.py", "spectacular", "--format", "openapi-json"]
    subprocess.run([*command, "--file", str(tmp_path / "openapi.json")], cwd=ROOT, check=True, timeout=60)
    assert (tmp_path / "openapi.json").read_text() == (SOURCE / "openapi.json").read_text(), (
        "clients/typescript/README.md says how to make it anew"
    )


def test_the_client_is_made_of_it_compiles_and_orders(
    stall: Stall, mei: Person, web_processes: Callable[..., WebProcess], tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "client"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "build"))

    def npm(*command: str) -> str:
        done = subprocess.run(["npm", *command], cwd=folder, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    npm("ci", "--no-fund", "--no-audit")
    npm("run", "generate")
    assert (folder / "src/schema.d.ts").read_text() == (SOURCE / "src/schema.d.ts").read_text()
    npm("run", "build")
    mei.user.set_password(PASSWORD)
    mei.user.save()
    web = web_processes()
    settings.WAIMAI_PUBLIC_URL = web.url
    with the_clock_running():
        said = npm("run", "-s", "order", "--", web.url, str(mei.user.phone), PASSWORD)
    (number,) = orders_of(mei)
    assert said.split() == [str(number), "paid", str(order(number).total)]
