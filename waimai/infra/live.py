"""Server-Sent Events over plain ASGI (WHATWG HTML, section 9.2): what was missed, then what comes, from the database.

A stream reads its feed when what it watches has changed, which is asked once a second for all streams together
(`watching.py`). The database is the truth, so a stream that was cut off, or another process, goes on from
`Last-Event-ID` and misses nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

from django.db import close_old_connections
from django.utils.translation import gettext_lazy as _

from waimai.infra.entry import admit
from waimai.infra.errors import DomainError, RateLimited, ServiceUnavailable
from waimai.infra.http import as_domain_error, caller, problem, refusal_headers, request_id_for
from waimai.infra.watching import Watch, Watchers

# Proxies cut what is silent for a minute.
HEARTBEAT_AFTER_SECONDS = 15.0
# As many as one process keeps at some kilobytes each, and as many as somebody's screens and telephones need.
MOST_STREAMS = int(os.environ.get("WAIMAI_LIVE_STREAMS", "2000"))
MOST_STREAMS_OF_ONE = int(os.environ.get("WAIMAI_LIVE_STREAMS_PER_USER", "20"))
SERVER_ERROR = 500
# A stream then ends and its client comes again.
LONGEST_SECONDS = 300.0
# How long somebody who was logged out or switched off may still read.
CHECK_EVERY_SECONDS = 30.0
# What may be taken for a number in a `Last-Event-ID`.
NUMBER = re.compile(r"[0-9]{1,18}")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")
_readers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")
_open_streams = 0
# One task of each stream, which is done when nobody listens any more.
_listening: set[asyncio.Task[None]] = set()
_streams_of: Counter[int] = Counter()


@dataclass(frozen=True)
class News:
    """One event of a stream; `id` is what the client sends back to go on after it."""

    id: str
    kind: str
    data: dict[str, Any]


class Feed(Protocol):
    """Where a stream reads. Blocking; each call returns what came since the one before."""

    @property
    def owner(self) -> int:
        """Whose stream it is: a user's number."""

    @property
    def watch(self) -> Watch:
        """What tells that there is something to read."""

    def read(self) -> Sequence[News]:
        """What came since the last call."""

    def check(self) -> None:
        """Raise a DomainError when the caller may not read this any more."""


@dataclass(frozen=True)
class Call:
    """The request behind a stream: the caller's address, headers in lower case, each query parameter's first value."""

    path: str
    address: str
    headers: dict[str, str]
    query: dict[str, str]

    @property
    def last_event_id(self) -> str:
        """Where the client wants to go on; empty at its first connection."""
        return self.headers.get("last-event-id") or self.query.get("last_event_id", "")


async def serve(scope: Scope, receive: Receive, send: Send, open_feed: Callable[[Call], Feed]) -> None:
    """Answer one request with a stream. `open_feed` may refuse with a DomainError, which becomes a problem document."""
    global _open_streams
    call = _call(scope)
    send = _signed(send, request_id_for(call.headers.get("x-request-id", "")))
    if scope["method"] != "GET":
        await _refuse(send, _NotAllowed())
        return
    if _open_streams >= MOST_STREAMS:
        await _refuse(send, ServiceUnavailable(retry_after=5))
        return
    _open_streams += 1
    try:
        await _serve(receive, send, open_feed, call)
    finally:
        _open_streams -= 1


async def _serve(receive: Receive, send: Send, open_feed: Callable[[Call], Feed], call: Call) -> None:
    try:
        feed = await _in_thread(lambda: _let_in(call, open_feed))
    except Exception as error:
        refusal = as_domain_error(error)
        if refusal is None:
            raise
        await _refuse(send, refusal)
        return
    if _streams_of[feed.owner] >= MOST_STREAMS_OF_ONE:
        await _refuse(send, TooManyStreams(retry_after=30))
        return
    _streams_of[feed.owner] += 1
    try:
        await _stream(receive, send, feed)
    finally:
        _streams_of[feed.owner] -= 1
        if not _streams_of[feed.owner]:
            del _streams_of[feed.owner]


async def _stream(receive: Receive, send: Send, feed: Feed) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _headers("text/event-stream")})
    gone = asyncio.create_task(_until_gone(receive))
    _listening.add(gone)
    try:
        with _watchers().watching(feed.watch) as news:
            await _tell(send, feed, gone, news)
    finally:
        gone.cancel()
        _listening.discard(gone)


def end_all() -> None:
    """End every stream of this process, which is about to stop: their clients come again, to another one.

    Belongs on the streams' event loop.
    """
    for task in _listening:
        task.cancel()


async def _tell(send: Send, feed: Feed, gone: asyncio.Task[None], changed: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    await _write(send, b"retry: 2000\n\n")
    last_written = checked = clock()
    ends_at = clock() + LONGEST_SECONDS
    while not gone.done() and clock() < ends_at:
        if clock() - checked >= CHECK_EVERY_SECONDS:
            if not await _in_thread(lambda: _may_go_on(feed)):
                break
            checked = clock()
        changed.clear()
        news = await _in_thread(lambda: _read(feed))
        if news:
            # There may be more than is read at once.
            changed.set()
            await _write(send, b"".join(_encode(one) for one in news))
            last_written = clock()
        elif clock() - last_written >= HEARTBEAT_AFTER_SECONDS:
            await _write(send, b": still here\n\n")
            last_written = clock()
        await _until(gone, changed, last_written + HEARTBEAT_AFTER_SECONDS - clock())
    await send({"type": "http.response.body", "body": b""})


async def _until(gone: asyncio.Task[None], changed: asyncio.Event, seconds: float) -> None:
    """Until there may be news, or nobody listens any more, or it is time to show that we are still here."""
    waiting = asyncio.ensure_future(changed.wait())
    await asyncio.wait([gone, waiting], timeout=max(seconds, 0.01), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Watchers] = WeakKeyDictionary()


def _watchers() -> Watchers:
    loop = asyncio.get_running_loop()
    if loop not in _of_loop:
        _of_loop[loop] = Watchers(_in_thread)
    return _of_loop[loop]


def _may_go_on(feed: Feed) -> bool:
    try:
        feed.check()
    except Exception as error:  # noqa: BLE001 - what isn't an outage is raised again
        # A database that is down is no reason: whoever was let in stays.
        return _is_outage(error)
    return True


def _read(feed: Feed) -> Sequence[News]:
    """What came since the last call; nothing while a database is down."""
    try:
        return feed.read()
    except Exception as error:
        if _is_outage(error):
            return ()
        raise


def _is_outage(error: Exception) -> bool:
    refusal = as_domain_error(error)
    if refusal is None:
        raise error
    return refusal.status >= SERVER_ERROR


def _signed(send: Send, request_id: str) -> Send:
    """`send`, with `X-Request-ID` on the answer."""

    async def sign(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"].append((b"x-request-id", request_id.encode()))
        await send(message)

    return sign


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _in_thread(body: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_readers, _with_fresh_connections, body)


def _with_fresh_connections(body: Callable[[], T]) -> T:
    close_old_connections()
    return body()


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _encode(news: News) -> bytes:
    data = json.dumps(news.data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {news.id}\nevent: {news.kind}\ndata: {data}\n\n".encode()


async def _refuse(send: Send, error: DomainError) -> None:
    body = json.dumps(problem(error), ensure_ascii=False).encode()
    headers = _headers("application/problem+json")
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal_headers(error).items()]
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="api"'))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(content_type: str) -> list[tuple[bytes, bytes]]:
    # The last one tells nginx not to hold the stream back.
    return [
        (b"content-type", content_type.encode()),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]


def _let_in(call: Call, open_feed: Callable[[Call], Feed]) -> Feed:
    admit(call.path, call.address)
    return open_feed(call)


def _call(scope: Scope) -> Call:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
    forwarded = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
    connected = (scope.get("client") or ("",))[0]
    return Call(scope["path"], caller(connected, forwarded), headers, query)


class TooManyStreams(RateLimited):
    """This person has as many streams open as one may."""

    title = _("同时打开的实时连接过多")


class _NotAllowed(DomainError):
    """A stream is only read."""

    code, status, title = "method_not_allowed", 405, "GET only"
