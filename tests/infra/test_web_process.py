"""The web process: who sends headers slowly is let go; who sends a body, or reads, slowly holds up nobody."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import uvicorn

from tests.support.processes import wait_until
from tests.support.server import Server
from waimai import supervisor_web
from waimai.asgi import WEB_THREADS, gate
from waimai.supervisor_web import ImpatientProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/v1/auth/login/ HTTP/1.1\r\nHost: x\r\n"
LARGE_FILE = b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
HALF = b"GET / HTTP/1.1\r\nHost: "


async def slow_app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body, then answers in two parts, the second when the test says so."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": True})
    await asyncio.to_thread(finish.wait)
    await send({"type": "http.response.body", "body": b"ok"})


finish = threading.Event()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Where a web process listens that waits 0.4 s for headers."""
    monkeypatch.setattr(supervisor_web, "HEADERS_SECONDS", 0.4)
    finish.clear()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(slow_app, http=ImpatientProtocol, lifespan="off", log_config=None)
    web = uvicorn.Server(config)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    finish.set()
    web.should_exit = True
    thread.join(10)
    listener.close()


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end hangs up, in its time."""
    connection.settimeout(20)
    return connection.recv(100) == b""


@pytest.mark.once
@pytest.mark.parametrize("sent", [b"", HALF])
def test_headers_that_do_not_come_are_not_waited_for(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        assert is_closed(connection)


@pytest.mark.once
def test_nor_are_those_of_a_second_request(address: tuple[str, int]) -> None:
    finish.set()
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"okok"):
            answer += connection.recv(1000)
        connection.sendall(HALF)
        assert is_closed(connection)


@pytest.mark.once
def test_an_answer_may_take_longer(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(REQUEST)
        time.sleep(0.9)  # Longer than headers may take: nothing must happen.
        finish.set()
        connection.settimeout(20)
        answer = b""
        while not answer.endswith(b"okok"):
            piece = connection.recv(1000)
            assert piece, "cut off"
            answer += piece


@pytest.mark.data
def test_slow_bodies_hold_up_nobody(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = (
        b"POST /api/v1/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
    )
    slow = [socket.create_connection((host, int(port))) for _ in range(WEB_THREADS + 3)]
    try:
        for connection in slow:
            connection.sendall(head)
        for path in ("/healthz", "/", "/api/v1/shops/"):
            assert requests.get(server.url + path, timeout=20).ok, path
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.data
def test_slow_readers_hold_no_thread(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    readers = []
    for _reader in range(WEB_THREADS + 3):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect((host, int(port)))
        connection.sendall(
            b"GET /static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        readers.append(connection)
    try:
        wait_until(lambda: gate.threads.running == 0, seconds=30, what="all threads are free")
        assert requests.get(f"{server.url}/healthz", timeout=20).ok
    finally:
        for connection in readers:
            connection.close()
