"""An order's changes as they happen: `GET /api/v1/orders/{id}/events/`, and for its page `GET /orders/{id}/events/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from http.cookies import SimpleCookie

from django.conf import settings

from accounts.services import caller_of_ticket, user_of_header, user_of_session
from orders import services
from waimai.infra.live import NUMBER, Call, News, Receive, Scope, Send, serve
from waimai.infra.sharding import shard_of_id
from waimai.infra.watching import Watch


async def order_events(scope: Scope, receive: Receive, send: Send, *, order_id: str) -> None:
    """Every change of one's own order, the first one first; `Last-Event-ID` is the number of the last one seen."""
    await serve(scope, receive, send, partial(_open, order_id=int(order_id), who=caller_by_token))


async def page_events(scope: Scope, receive: Receive, send: Send, *, order_id: str) -> None:
    """The same for the order's page, which knows who asks by its session: `GET /orders/{id}/events/`."""
    await serve(scope, receive, send, partial(_open, order_id=int(order_id), who=caller_by_session))


def caller_by_token(call: Call) -> Callable[[], int]:
    """What tells who asks, by the `Authorization` header or the `ticket` of the address. Raises Unauthenticated."""
    if "authorization" not in call.headers and (ticket := call.query.get("ticket")):
        return caller_of_ticket(ticket)
    return partial(user_of_header, call.headers.get("authorization", ""))


def caller_by_session(call: Call) -> Callable[[], int]:
    """What tells who asks, by the session of the pages; it raises Unauthenticated."""
    found = SimpleCookie(call.headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME)
    return partial(user_of_session, found.value if found else "")


def _open(call: Call, *, order_id: int, who: Callable[[Call], Callable[[], int]]) -> OrderFeed:
    seen = call.last_event_id
    feed = OrderFeed(order_id, int(seen) if NUMBER.fullmatch(seen) else 0, who(call))
    feed.check()
    return feed


class OrderFeed:
    """The history of an order, from a change on. `caller` says who reads it."""

    def __init__(self, order_id: int, seen: int, caller: Callable[[], int]) -> None:
        self.order_id, self.seen, self.caller = order_id, seen, caller
        self.owner = 0
        using = shard_of_id(order_id)
        self.watch = Watch(("orders", using), (order_id,), partial(services.states_of, using=using))

    def check(self) -> None:
        """Whether it is still the caller's. Raises Unauthenticated, what else `caller` does, and NotFound."""
        self.owner = self.caller()
        services.own_order(order_id=self.order_id, user_id=self.owner)

    def read(self) -> Sequence[News]:
        """The changes since the last call; an order that is overdue is found expired."""
        rows = services.changes_since(order_id=self.order_id, seen=self.seen)
        if rows:
            self.seen = rows[-1][0]
        return [News(str(n), kind, document) for n, kind, document in rows]
