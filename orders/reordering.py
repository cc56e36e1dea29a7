"""The same again: an old order's lines back into the cart, and word of what is gone or costs something else now."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import menu.services
from menu.services import LineRequest
from orders import cart, documents, reading
from orders.cart import CartView
from orders.models import OrderLine
from waimai.infra.sharding import shard_of_id


@dataclass(frozen=True)
class Gone:
    """A line of the old order that can't be had now."""

    name: str
    reason: str


@dataclass(frozen=True)
class Repriced:
    """A line of the old order that costs something else now (yuan for one)."""

    name: str
    was: Decimal
    now: Decimal


@dataclass(frozen=True)
class Reordered:
    """The cart after the old lines went in, and what is different from then."""

    cart: CartView
    gone: tuple[Gone, ...]
    repriced: tuple[Repriced, ...]
    # How many of the old lines went in.
    found: int


def reorder(*, order_id: int, user_id: int) -> Reordered:
    """Put what can still be had of an old order into the cart, beside what is there. Raises NotFound, CartFull."""
    order = reading.own_order(order_id=order_id, user_id=user_id)
    old = documents.lines_of([order_id], using=shard_of_id(order_id))[order_id]
    wanted = [_request(line) for line in old]
    quote = menu.services.quote(shop_id=order.shop_id, lines=wanted)
    still = {line.index: line for line in quote.lines}
    view = cart.merge(user_id=user_id, shop_id=order.shop_id, lines=[wanted[index] for index in still])
    repriced = tuple(
        Repriced(line.name, old[index].unit_price, line.unit_price)
        for index, line in still.items()
        if line.unit_price != old[index].unit_price
    )
    gone = tuple(Gone(old[problem.index].name, problem.detail) for problem in quote.problems)
    return Reordered(view, gone, repriced, len(still))


def _request(line: OrderLine) -> LineRequest:
    return LineRequest(
        item_id=line.item_id, quantity=line.quantity, option_ids=tuple(option["id"] for option in line.options)
    )
