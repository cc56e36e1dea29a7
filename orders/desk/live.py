"""The board as it happens: `GET /api/v1/staff/events/`, and for the screens `GET /board/events/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from orders.desk import services
from orders.live import caller_by_session, caller_by_token
from waimai.infra.errors import NotFound
from waimai.infra.live import NUMBER, Call, Feed, News, Receive, Scope, Send, serve
from waimai.infra.watching import Watch


async def board_events(scope: Scope, receive: Receive, send: Send) -> None:
    """What happens in the shops that this person works for; from now on, or after `Last-Event-ID`."""
    await serve(scope, receive, send, partial(_open, who=caller_by_token))


async def screen_events(scope: Scope, receive: Receive, send: Send) -> None:
    """The same for the screens, which know who asks by the session."""
    await serve(scope, receive, send, partial(_open, who=caller_by_session))


def _open(call: Call, *, who: Callable[[Call], Callable[[], int]]) -> Feed:
    caller = who(call)
    positions = services.board_positions(staff_id=caller())
    # A number beyond the last one is from before a restore: everything from now on is new to it.
    seen = {shop: min(n, positions[shop]) for shop, n in _seen(call.last_event_id).items() if shop in positions}
    return BoardFeed(positions | seen, caller)


def _seen(text: str) -> dict[int, int]:
    """`3:41,5:7` as shop → number; whatever isn't of that form is passed over."""
    pairs = (part.partition(":") for part in text.split(","))
    return {int(shop): int(n) for shop, _, n in pairs if NUMBER.fullmatch(shop) and NUMBER.fullmatch(n)}


class BoardFeed:
    """The numbered events of some shops. An event's id names the position in every one of them."""

    def __init__(self, positions: dict[int, int], caller: Callable[[], int]) -> None:
        self.positions, self.caller = positions, caller
        self.owner = caller()
        self.watch = Watch("board", tuple(positions), services.board_counters)

    def check(self) -> None:
        """Whether the person still works in all these shops. Raises what `caller` does, and NotFound."""
        if not self.positions.keys() <= services.board_positions(staff_id=self.caller()).keys():
            raise NotFound

    def read(self) -> Sequence[News]:
        """The events since the last call, shop by shop."""
        found = []
        for event in services.board_events_since(self.positions):
            self.positions[event.shop_id] = event.n
            found.append(News(self._id(), event.kind, services.board_event_document(event)))
        return found

    def _id(self) -> str:
        return ",".join(f"{shop}:{n}" for shop, n in sorted(self.positions.items()))
