"""In front of the threads: a request takes one only when it is whole, its turn has come and its client is still there.

Threads are few. A body that trickles in, a reader that takes a minute and a crowd that comes all at once must not hold
them. So bodies are read here, whole and within limits; then a request waits in a short line for a thread. A line that
is full answers 503 at once, as does waiting that takes too long; whose client has gone is not served at all. Staff,
webhooks and health have lines of their own and threads that customers never get, so that a shop can work off its
orders while customers storm in.

Load is shed as early as it is known to be too much: Nygard, "Release It!" (2007), "Shed Load" and "Bulkheads".
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Count
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from waimai.infra.entry import FREE_PATHS, STAFF_FOLDERS, WEBHOOKS
from waimai.infra.errors import BodyTooLarge, DomainError, RequestTooSlow, ServiceUnavailable
from waimai.infra.http import refused_directly

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY_BYTES = 1024 * 1024
# A form of the admin may carry a picture.
LARGEST_UPLOAD_BYTES = 8 * 1024 * 1024
BODY_SECONDS = 10.0
MOST_BODIES, MOST_BODIES_OF_ONE, MOST_BODY_BYTES = 200, 20, 64 * 1024 * 1024
_waiting = Gauge("waimai_web_waiting", "Requests in line for a thread", ("lane",))
_waited = Histogram("waimai_web_waited_seconds", "How long requests were in line", ("lane",))
_refused = Counter("waimai_web_refused", "Requests that got no thread", ("lane", "why"))


class Lane(IntEnum):
    """Who waits with whom; the lower goes first."""

    HEALTH, STAFF, CUSTOMERS = 0, 1, 2


def lane_of(path: str) -> Lane:
    """The line a request stands in."""
    if path in FREE_PATHS:
        return Lane.HEALTH
    return Lane.STAFF if path.startswith((*STAFF_FOLDERS, *WEBHOOKS)) else Lane.CUSTOMERS


class Gone(Exception):
    """The client has hung up."""


@dataclass
class Threads:
    """So many threads, and who may have how many. Belongs to one event loop."""

    count: int
    # How many may stand in each line, and for how many seconds.
    longest_line: int
    patience_seconds: float
    running: int = 0
    lines: dict[Lane, deque[asyncio.Future[None]]] = field(default_factory=lambda: {lane: deque() for lane in Lane})

    def limit(self, lane: Lane) -> int:
        """How many may run when the next of a lane begins: an eighth is kept from customers, one thread from staff."""
        kept = {Lane.HEALTH: 0, Lane.STAFF: 1, Lane.CUSTOMERS: 1 + max(1, self.count // 8)}
        return max(1, self.count - kept[lane])

    async def take(self, lane: Lane, gone: asyncio.Future[Any]) -> None:
        """Wait for a thread. Raises ServiceUnavailable (line full, or too long in it) and Gone."""
        line = self.lines[lane]
        if self.running < self.limit(lane) and not line:
            self.running += 1
            return
        if len(line) >= self.longest_line:
            raise _refuse(lane, "full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        _waiting.labels(lane.name.lower()).set(len(line))
        try:
            await asyncio.wait({turn, gone}, timeout=self.patience_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave(lane, turn)
        if not turn.done():
            if gone.done():
                _refused.labels(lane.name.lower(), "gone").inc()
                raise Gone
            raise _refuse(lane, "waited")

    def give_back(self) -> None:
        """A thread is free."""
        self.running -= 1
        for lane, line in self.lines.items():
            while line and self.running < self.limit(lane):
                turn = line.popleft()
                if not turn.done():
                    self.running += 1
                    turn.set_result(None)
            _waiting.labels(lane.name.lower()).set(len(line))

    def _leave(self, lane: Lane, turn: asyncio.Future[None]) -> None:
        """Out of the line; a turn that came while its owner was cancelled goes to the next."""
        with suppress(ValueError):
            self.lines[lane].remove(turn)
        task = asyncio.current_task()
        if turn.done() and task is not None and task.cancelling():
            self.give_back()


async def first_part(receive: Receive) -> Message:
    """What comes after the headers. Raises RequestTooSlow when nothing does: they may have promised a body."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await receive()
    except TimeoutError:
        raise RequestTooSlow from None


class Bodies:
    """The bodies that are being read now. Belongs to one event loop."""

    def __init__(self) -> None:
        self.bytes, self.of_address = 0, Count[str]()

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises BodyTooLarge, RequestTooSlow, ServiceUnavailable (too many at once) and Gone."""
        largest = LARGEST_UPLOAD_BYTES if scope["path"].startswith("/admin/") else LARGEST_BODY_BYTES
        if _announced(scope) > largest:
            raise BodyTooLarge
        first = await first_part(receive)
        if not first.get("more_body"):
            return _part(first, largest)
        address = (scope.get("client") or ("",))[0]
        if self.of_address[address] >= MOST_BODIES_OF_ONE or self.of_address.total() >= MOST_BODIES:
            raise _refuse(lane_of(scope["path"]), "bodies")
        self.of_address[address] += 1
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._rest(_part(first, largest), largest, receive)
        except TimeoutError:
            raise RequestTooSlow from None
        finally:
            self.of_address[address] -= 1
            self.of_address += Count()  # Forgets those who have none.

    async def _rest(self, first: bytes, largest: int, receive: Receive) -> bytes:
        body = bytearray(first)
        self.bytes += len(body)
        try:
            more = True
            while more:
                message = await receive()
                part = _part(message, largest - len(body))
                if self.bytes + len(part) > MOST_BODY_BYTES:
                    raise ServiceUnavailable
                body += part
                self.bytes += len(part)
                more = bool(message.get("more_body"))
            return bytes(body)
        finally:
            self.bytes -= len(body)


class Gate:
    """The ASGI application in front of one that serves each request in a thread.

    `app` finds in `scope["waimai.thread_is_free"]` what to call, from the event loop, when its thread is free again;
    the answer may still be on its way to a slow reader then.
    """

    def __init__(self, app: App, threads: Threads) -> None:
        self.app, self.threads, self.bodies = app, threads, Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            body = await self.bodies.read(scope, receive)
            gone = asyncio.ensure_future(_until_gone(receive))
            try:
                await self._serve(scope, body, gone, send)
            finally:
                gone.cancel()
        except Gone:
            return
        except DomainError as refusal:
            await refused_directly(scope, send, refusal)

    async def _serve(self, scope: Scope, body: bytes, gone: asyncio.Future[None], send: Send) -> None:
        lane, began = lane_of(scope["path"]), time.monotonic()
        await self.threads.take(lane, gone)
        _waited.labels(lane.name.lower()).observe(time.monotonic() - began)
        busy = True

        def thread_is_free() -> None:
            nonlocal busy
            if busy:
                busy = False
                self.threads.give_back()

        scope["waimai.thread_is_free"] = thread_is_free
        told = False

        async def receive() -> Message:
            nonlocal told
            if not told:
                told = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}

        try:
            await self.app(scope, receive, send)
        finally:
            thread_is_free()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(message: Message, room: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise Gone
    part: bytes = message.get("body", b"")
    if len(part) > room:
        raise BodyTooLarge
    return part


def _announced(scope: Scope) -> int:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


def _refuse(lane: Lane, why: str) -> ServiceUnavailable:
    _refused.labels(lane.name.lower(), why).inc()
    return ServiceUnavailable(retry_after=1)
