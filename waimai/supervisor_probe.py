"""Asks the web child whether the system is ready, without ever blocking the supervisor."""

from __future__ import annotations

import socket
import time

from waimai.supervisor_children import Supervisor

ASK_AGAIN_AFTER_SECONDS = 0.3
REQUEST = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"


class Probe:
    """`ready` turns true once `/readyz` has answered 200."""

    def __init__(self, supervisor: Supervisor, address: tuple[str, int]) -> None:
        self.ready = False
        self._supervisor = supervisor
        self._address = address
        self._client: socket.socket | None = None
        self._ask_at = 0.0

    def ask(self) -> None:
        """Send a question unless one is under way, was answered or was asked a moment ago."""
        if self.ready or self._client or time.monotonic() < self._ask_at:
            return
        # The supervisor itself holds the listening socket: a question asked before the web child is up waits there.
        self._client = socket.create_connection(self._address, timeout=1)
        self._client.sendall(REQUEST)
        self._client.settimeout(0)
        self._supervisor.watch(self._client.fileno(), self._hear)

    def _hear(self) -> None:
        assert self._client is not None
        try:
            answer = self._client.recv(64)
        except OSError:
            answer = b""
        self._supervisor.unwatch(self._client.fileno())
        self._client.close()
        self._client = None
        self._ask_at = time.monotonic() + ASK_AGAIN_AFTER_SECONDS
        self.ready = answer[:20].partition(b" ")[2].startswith(b"200")
