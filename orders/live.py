"""An order's changes as they happen: `GET /api/v1/orders/{id}/events/`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from accounts.services import user_of_header
from orders import services
from waimai.infra.live import NUMBER, Call, News, Receive, Scope, Send, serve


async def order_events(scope: Scope, receive: Receive, send: Send, *, order_id: str) -> None:
    """Every change of one's own order, the first one first; `Last-Event-ID` is the number of the last one seen."""
    await serve(scope, receive, send, partial(_open, order_id=int(order_id)))


def _open(call: Call, *, order_id: int) -> OrderFeed:
    seen = call.last_event_id
    feed = OrderFeed(order_id, int(seen) if NUMBER.fullmatch(seen) else 0, call.headers.get("authorization", ""))
    feed.check()
    return feed


class OrderFeed:
    """The history of an order, from a change on."""

    def __init__(self, order_id: int, seen: int, authorization: str) -> None:
        self.order_id, self.seen, self.authorization = order_id, seen, authorization

    def check(self) -> None:
        """Whether it is still the caller's. Raises what `user_of_header` does, and NotFound."""
        services.own_order(order_id=self.order_id, user_id=user_of_header(self.authorization))

    def read(self) -> Sequence[News]:
        """The changes since the last call; an order that is overdue is found expired."""
        rows = services.changes_since(order_id=self.order_id, seen=self.seen)
        if rows:
            self.seen = rows[-1][0]
        return [News(str(n), kind, document) for n, kind, document in rows]
