"""The one web application of the embedded default: it serves long-lived connections, and hands all else to Django.

Before Django there is a gate (`waimai.infra.gate`), which lets a request have a thread when its turn has come. Django
answers through its WSGI application in a bounded pool of threads: several times cheaper than its own ASGI
handler, which hops between threads for every synchronous view and middleware.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, cast

from a2wsgi import WSGIMiddleware

from waimai.wsgi import application as wsgi_application  # isort: skip - sets Django up for the imports below

import menu.fast
import orders.fast
from orders.desk.live import board_events, screen_events
from orders.live import order_events, page_events
from waimai.infra.gate import Gate, Threads

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Called with the named groups of its pattern as keywords.
LiveHandler = Callable[..., Awaitable[None]]

WEB_THREADS = int(os.environ.get("WAIMAI_WEB_THREADS", "16"))
# As many as the entry lets in at once; each may wait about as long as a person does.
WEB_WAITING = int(os.environ.get("WAIMAI_WEB_WAITING", "200"))
WEB_PATIENCE_SECONDS = float(os.environ.get("WAIMAI_WEB_PATIENCE_SECONDS", "10"))
MENU = re.compile(r"/api/v1/shops/(?P<shop_id>[0-9]{1,16})/menu/")
# Paths served by a coroutine, tried in order with `fullmatch` before Django sees the request.
LIVE_ROUTES: list[tuple[re.Pattern[str], LiveHandler]] = [
    (re.compile(r"/api/v1/orders/(?P<order_id>[0-9]{1,16})/events/"), order_events),
    (re.compile(r"/orders/(?P<order_id>[0-9]{1,16})/events/"), page_events),
    (re.compile(r"/api/v1/staff/events/"), board_events),
    (re.compile(r"/board/events/"), screen_events),
]


def _telling_when_done(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Django, and a word to the gate when it is through: a slow reader then holds no thread."""
    # What the stubs call an HttpResponse is the iterable of bytes that WSGI asks for.
    answer: Any = wsgi_application(environ, start_response)
    try:
        yield from answer
    finally:
        answer.close()
        scope = environ["asgi.scope"]
        scope["waimai.loop"].call_soon_threadsafe(scope["waimai.thread_is_free"])


# With no end to what may wait for the network: what a slow reader hasn't taken yet is kept, and no thread waits for it.
django_pages: Any = WSGIMiddleware(cast(Any, _telling_when_done), workers=WEB_THREADS, send_queue_size=0)
gate = Gate(django_pages, Threads(WEB_THREADS, WEB_WAITING, WEB_PATIENCE_SECONDS))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection."""
    if scope["type"] == "http":
        if scope["path"] == orders.fast.PATH and scope["method"] == "POST":
            await orders.fast.place_order(scope, receive, send, _to_django)
            return
        if scope["method"] == "GET" and (found := MENU.fullmatch(scope["path"])):
            await menu.fast.read_menu(scope, receive, send, _to_django, **found.groupdict())
            return
        for pattern, handler in LIVE_ROUTES:
            if found := pattern.fullmatch(scope["path"]):
                await handler(scope, receive, send, **found.groupdict())
                return
        await _to_django(scope, receive, send)
        return
    await django_pages(scope, receive, send)


async def _to_django(scope: Scope, receive: Receive, send: Send) -> None:
    scope["headers"] = _without_underscores(scope["headers"])
    scope["waimai.loop"] = asyncio.get_running_loop()
    await gate(scope, receive, send)


def _without_underscores(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """WSGI can't tell `X_Forwarded_For` from `X-Forwarded-For`: only the spelling that proxies check may pass."""
    return [(name, value) for name, value in headers if b"_" not in name]
