"""The board as it happens: `GET /api/v1/staff/events/`."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.services import user_of_header
from orders.desk import services
from waimai.infra.errors import NotFound
from waimai.infra.live import NUMBER, Call, Feed, News, Receive, Scope, Send, serve


async def board_events(scope: Scope, receive: Receive, send: Send) -> None:
    """What happens in the shops that this person works for; from now on, or after `Last-Event-ID`."""
    await serve(scope, receive, send, _open)


def _open(call: Call) -> Feed:
    authorization = call.headers.get("authorization", "")
    positions = services.board_positions(staff_id=user_of_header(authorization))
    # A number beyond the last one is from before a restore: everything from now on is new to it.
    seen = {shop: min(n, positions[shop]) for shop, n in _seen(call.last_event_id).items() if shop in positions}
    return BoardFeed(positions | seen, authorization)


def _seen(text: str) -> dict[int, int]:
    """`3:41,5:7` as shop → number; whatever isn't of that form is passed over."""
    pairs = (part.partition(":") for part in text.split(","))
    return {int(shop): int(n) for shop, _, n in pairs if NUMBER.fullmatch(shop) and NUMBER.fullmatch(n)}


class BoardFeed:
    """The numbered events of some shops. An event's id names the position in every one of them."""

    def __init__(self, positions: dict[int, int], authorization: str) -> None:
        self.positions, self.authorization = positions, authorization

    def check(self) -> None:
        """Whether the person still works in all these shops. Raises what `user_of_header` does, and NotFound."""
        if not self.positions.keys() <= services.board_positions(staff_id=user_of_header(self.authorization)).keys():
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
