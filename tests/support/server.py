"""The web server of journeys: the ASGI application that `bin/up` serves, on a free port, in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.support.databases import Databases


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
