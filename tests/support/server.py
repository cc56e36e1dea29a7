"""Web servers on the databases of the test: in a thread for journeys; a process of its own for what ends one."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.processes import wait_until
from tests.support.source import ROOT

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.support.databases import Databases

STARTS_WITHIN_SECONDS = 40.0


@dataclass(frozen=True)
class Server:
    """Where the journey begins."""

    url: str


@pytest.fixture(scope="session")
def _web_server() -> Iterator[str]:
    import uvicorn

    from waimai.asgi import application

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        loop="asyncio",
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    web = uvicorn.Server(config)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, name="web")
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    web.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def server(db_all: Databases, _web_server: str, settings: Settings) -> Server:
    """A running web server for one test; what the sandbox gateway calls back reaches it too."""
    settings.WAIMAI_PUBLIC_URL = _web_server
    return Server(url=_web_server)


class WebProcess:
    """A web process as `bin/up` starts it, on the databases of the test; nobody else holds its listening socket."""

    def __init__(self, **environment: str) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address: tuple[str, int] = listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "waimai.supervisor_web", str(listener.fileno())],
            cwd=ROOT,
            env=os.environ | {"WAIMAI_RATELIMIT": "0", "WAIMAI_LOG_LEVEL": "WARNING"} | environment,
            pass_fds=[listener.fileno()],
        )
        listener.close()

    def answers(self) -> bool:
        """Whether it takes calls."""
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    def metric(self, name: str, shard: str) -> float:
        """What it says of a shard's intake; 0 before there was anything to say."""
        line = re.escape(f'waimai_intake_{name}{{group="{shard}"}} ')
        found = re.search(rf"^{line}(\S+)$", requests.get(f"{self.url}/metrics", timeout=5).text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture
def web_processes(db_all: Databases) -> Iterator[Callable[..., WebProcess]]:
    """Start web processes; those that still run after the test are killed."""
    started: list[WebProcess] = []

    def start(**environment: str) -> WebProcess:
        started.append(web := WebProcess(**environment))
        wait_until(web.answers, seconds=STARTS_WITHIN_SECONDS, what="the web process answers")
        return web

    yield start
    for web in started:
        web.process.kill()
        web.process.wait()
