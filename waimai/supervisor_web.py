"""The web child: uvicorn on the listening socket it inherits, so that a restart refuses nobody."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

GRACE_SECONDS = 4
HEADERS_SECONDS = 10.0
WANTED_FILES = 16_384
# The interpreter's own figure is 700; a batch of orders makes tens of thousands.
YOUNG_OBJECTS = 20_000


class ImpatientProtocol(HttpToolsProtocol):
    """A connection that ends when the headers of a request take too long; uvicorn itself would wait for ever."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody is there, and is waited for."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Something came: if it isn't the body of a request, a next one has begun."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._patience is None and (cycle is None or cycle.response_complete):
            self._wait()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The headers are all there."""
        self._wait_no_more()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEADERS_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class StreamsFirst(uvicorn.Server):
    """Ends live streams when it is told to stop; it would wait for them in vain."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let everybody go, then finish what is under way."""
        from waimai.infra import live

        live.end_all()
        await super().shutdown(sockets)


def allow_many_connections() -> None:
    """As many open files as the system lets us have: each connection is one, also of those who only sit there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spare_the_collector() -> None:
    """Let the garbage collector pass over what lives as long as the process, and look less often.

    Django's objects are looked at again and again for nothing: about a sixth of the time in a rush.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


def main() -> None:
    """Serve on the file descriptor named by the first argument until SIGTERM."""
    allow_many_connections()
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        "waimai.asgi:application",
        http=ImpatientProtocol,
        loop="asyncio",
        # Whose word about the client's address to take is decided by waimai.infra.http alone.
        proxy_headers=False,
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.load()
    spare_the_collector()
    StreamsFirst(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
