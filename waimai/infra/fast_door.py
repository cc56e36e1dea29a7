"""Fast doors: what they are certain of they answer themselves; everything else goes on to Django, as if they weren't.

A fast door is an ASGI callable before Django's request stack, for the few calls where speed matters. It must answer
byte for byte what Django would. Two rules make that simple: it takes only requests of the plainest shape, so that every
refusal of a malformed one is Django's own; and the headers that it sends are those that Django was heard to send, to a
request that differs in nothing the middleware looks at. The first of each kind therefore goes the long way.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from types import SimpleNamespace
from typing import Any, Self, TypeVar, cast
from weakref import WeakKeyDictionary

import msgspec
from django.http import HttpRequest
from django.utils.translation import get_language_from_request, override
from prometheus_client import Counter

from waimai.infra.errors import DomainError
from waimai.infra.group_commit import PATIENCE_SECONDS
from waimai.infra.http import problem, refusal_headers, request_id_for

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

T = TypeVar("T")
MOST_KINDS = 1000
# Turns of the loop until what lies in its sockets is read, has become a request, and was handed in.
TURNS_TO_HAND_IN = 4
LONGEST_CATCH_UP_SECONDS = 0.05
PATIENCE_WATCHED_EVERY_SECONDS = 0.5
# What the middleware, the language and the form of an answer depend on.
TELLING = (b"host", b"x-forwarded-proto", b"accept-language", b"accept")
PLAIN_ACCEPT = (b"", b"*/*", b"application/json")
# Of each answer its own.
OWN = frozenset({b"content-length", b"x-request-id", b"date"})
answers = Counter("waimai_fast_answers", "Requests that a fast door answered", ("door", "status"))


@dataclass(frozen=True)
class Call:
    """A plain request: no query, no cookie, no header twice."""

    headers: dict[bytes, bytes]
    connected: str

    @classmethod
    def of(cls, scope: Scope) -> Self | None:
        """None for a request that isn't plain."""
        if scope["query_string"]:
            return None
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            # WSGI can't tell `_` from `-`: such headers are dropped on the long way, too.
            if b"_" in name:
                continue
            if name in headers:
                return None
            headers[name] = value
        if b"cookie" in headers or headers.get(b"accept", b"") not in PLAIN_ACCEPT:
            return None
        return cls(headers, (scope.get("client") or ("",))[0])

    def text(self, name: bytes) -> str:
        """A header, empty when absent."""
        return self.headers.get(name, b"").decode("latin-1")

    @cached_property
    def request_id(self) -> str:
        """The id under which it is answered and logged."""
        return request_id_for(self.text(b"x-request-id"))

    @property
    def kind(self) -> tuple[bytes | None, ...]:
        """Requests of one kind have the same headers in their answers."""
        return tuple(map(self.headers.get, TELLING))

    @property
    def language(self) -> str:
        """The language that Django would choose."""
        return _language_of(self.text(b"accept-language"))


@lru_cache(512)
def _language_of(accepted: str) -> str:
    request = SimpleNamespace(COOKIES={}, META={"HTTP_ACCEPT_LANGUAGE": accepted})
    return get_language_from_request(cast(HttpRequest, request))


class Heard:
    """The headers that Django sent with one kind of answer."""

    def __init__(self) -> None:
        self._headers: dict[Any, Headers] = {}

    def get(self, kind: Any) -> Headers | None:
        """None for a kind that wasn't heard yet."""
        return self._headers.get(kind)

    def listening(self, call: Call, send: Send, *, statuses: Iterable[int], kind_of: Callable[[int], Any]) -> Send:
        """`send`, while the headers of answers with these statuses are noted."""
        wanted = frozenset(statuses)

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in wanted:
                self._note(kind_of(message["status"]), list(message["headers"]))
            await send(message)

        return heard

    def _note(self, kind: Any, headers: Headers) -> None:
        names = [name.lower() for name, _ in headers]
        # What only one caller should hear is nobody else's.
        if kind in self._headers or b"idempotent-replayed" in names or b"set-cookie" in names:
            return
        if len(self._headers) >= MOST_KINDS:
            self._headers.clear()
        self._headers[kind] = [(name, value) for name, value in headers if name.lower() not in OWN]


class Mailbox:
    """Brings what other threads have done to one event loop: together, not each with a knock of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        # Until when each is waited for, the longest first.
        self._waiting: dict[asyncio.Future[Any], float] = {}
        self._watch: asyncio.TimerHandle | None = None

    async def wait_for(self, done: Future[T]) -> T:
        """The result of a future of another thread. Raises what it raises; TimeoutError after `PATIENCE_SECONDS`."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        done.add_done_callback(partial(self._put, waiter))
        self._waiting[waiter] = self._loop.time() + PATIENCE_SECONDS
        if self._watch is None:
            self._watch = self._loop.call_later(PATIENCE_WATCHED_EVERY_SECONDS, self._lose_patience)
        try:
            return await waiter
        finally:
            del self._waiting[waiter]

    def _lose_patience(self) -> None:
        """One timer for all of them: one for each would cost more than it waits for."""
        now = self._loop.time()
        for waiter, until in self._waiting.items():
            if until > now:
                break
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        self._watch = None
        if self._waiting:
            self._watch = self._loop.call_later(PATIENCE_WATCHED_EVERY_SECONDS, self._lose_patience)

    def catch_up(self) -> None:
        """For other threads: wait until the loop has seen to what had come by now; a moment at most."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._after_turns, TURNS_TO_HAND_IN, done)
        done.wait(LONGEST_CATCH_UP_SECONDS)

    def _after_turns(self, turns: int, done: threading.Event) -> None:
        if turns == 0:
            done.set()
        else:
            self._loop.call_soon(self._after_turns, turns - 1, done)

    def _put(self, waiter: asyncio.Future[Any], done: Future[Any]) -> None:
        with self._lock:
            first = not self._arrived
            self._arrived.append((waiter, done))
        if first:
            # Else somebody has knocked already, and isn't heard yet.
            self._loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        while self._arrived:
            waiter, done = self._arrived[0]
            if not waiter.done():
                error = done.exception()
                waiter.set_result(done.result()) if error is None else waiter.set_exception(error)
            # Last, so that who puts something meanwhile either is seen here or knocks.
            self._arrived.popleft()


_mailboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = WeakKeyDictionary()


def mailbox() -> Mailbox:
    """The one of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _mailboxes:
        _mailboxes[loop] = Mailbox(loop)
    return _mailboxes[loop]


async def reply(
    send: Send, call: Call, heard: Headers, *, status: int, body: bytes, more: dict[str, str] | None = None
) -> None:
    """An answer with the headers that Django gives to such ones; those in `more` are added or take their places."""
    changed = {name.lower().encode(): value.encode() for name, value in (more or {}).items()}
    headers = [(name, value) for name, value in heard if name.lower() not in changed]
    headers += changed.items()
    headers.append((b"x-request-id", call.request_id.encode()))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, call: Call, heard: Headers, error: DomainError) -> None:
    """A refusal as the REST framework's doors word it."""
    with override(call.language):
        body = encoded(problem(error))
    more = {"Content-Type": "application/problem+json"} | refusal_headers(error)
    if error.replayed:
        more["Idempotent-Replayed"] = "true"
    await reply(send, call, heard, status=error.status, body=body, more=more)


def encoded(document: Any) -> bytes:
    """JSON in the very bytes of the REST framework's renderer."""
    return msgspec.json.encode(document).replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def replaying(first: Message, receive: Receive) -> Receive:
    """`receive` for the long way, which gets to see what was received already."""
    told = False

    async def again() -> Message:
        nonlocal told
        if not told:
            told = True
            return first
        return await receive()

    return again
