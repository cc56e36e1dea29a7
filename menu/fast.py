"""The fast door for reading a menu: `GET /api/v1/shops/{id}/menu/` from the near cache, on the event loop.

What isn't there (a menu that nobody has read yet, or that was just edited) goes the long way, which puts it there.
"""

from __future__ import annotations

from menu.services import prepared_menus
from waimai.infra.entry import Ahead
from waimai.infra.fast_door import App, Call, Heard, Receive, Scope, Send, answers, reply
from waimai.infra.http import caller

OK, NOT_MODIFIED = 200, 304
_heard = Heard()
_ahead = Ahead()


async def read_menu(scope: Scope, receive: Receive, send: Send, long_way: App, *, shop_id: str) -> None:
    """Serve one request, or leave it to the long way."""
    call = Call.of(scope)
    if call is None:
        await long_way(scope, receive, send)
        return
    document = prepared_menus.get(int(shop_id))
    asked = call.headers.get(b"if-none-match")
    status = NOT_MODIFIED if document is not None and asked == document.etag.encode() else OK
    heard = _heard.get((call.kind, status))
    odd = status == OK and asked is not None
    if document is None or heard is None or odd or not await _let_in(call):
        listening = _heard.listening(
            call, send, statuses=(OK, NOT_MODIFIED), kind_of=lambda status: (call.kind, status)
        )
        await long_way(scope, receive, listening)
        return
    answers.labels("menu", str(status)).inc()
    body = document.body if status == OK else b""
    await reply(send, call, heard, status=status, body=body, more={"ETag": document.etag})


async def _let_in(call: Call) -> bool:
    return await _ahead.admitted(caller(call.connected, call.text(b"x-forwarded-for")))
