"""The rows of amendments, and what they make of an order's lines. Pure but for reading and closing; see ADR 23."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from orders.models import Amendment, Order, OrderLine
from waimai.infra import timers
from waimai.infra.rows import new

# The kind of the timer that ends an open proposal; its number is the order's.
TIMER = "order.amend"


def of(orders: Iterable[Order], *, using: str) -> defaultdict[int, list[Amendment]]:
    """The amendments of several orders of one shard, oldest first, in one query: none if no shop accepted any."""
    # Only what was accepted was ever promised: most of what is told of or shown is asked for nothing.
    wanted = [order.pk for order in orders if order.promised_at]
    grouped: defaultdict[int, list[Amendment]] = defaultdict(list)
    if wanted:
        for row in Amendment.objects.on(using).filter(order_id__in=wanted).order_by("order_id", "n"):
            grouped[row.order_id].append(row)
    return grouped


def net_lines(lines: Sequence[OrderLine], amended: Sequence[Amendment]) -> list[OrderLine]:
    """The lines as they are to be cooked: every accepted amendment applied, what comes instead at the end.

    What an amendment brings is a line as well, with a number after those of the order: it may be amended again.
    """
    left = {line.n: line for line in lines}
    for asked in amended:
        if asked.state != Amendment.State.ACCEPTED:
            continue
        line = left[asked.line_n]
        left[line.n] = _with_quantity(line, line.quantity - asked.quantity)
        if (instead := replacement_of(asked, lines)) is not None:
            left[instead.n] = instead
    return [line for line in left.values() if line.quantity]


def replacement_of(asked: Amendment, lines: Sequence[OrderLine]) -> OrderLine | None:
    """The line that an amendment brings to an order of these lines; None when it only takes something away."""
    if asked.replacement is None:
        return None
    price = Decimal(asked.replacement["unit_price"])
    return new(
        OrderLine,
        **asked.replacement
        | {
            "order_id": asked.order_id,
            "n": _number(asked, lines),
            "bucket": asked.bucket,
            "unit_price": price,
            "amount": price * asked.replacement["quantity"],
        },
    )


def names(lines: Sequence[OrderLine], amended: Sequence[Amendment]) -> dict[int, str]:
    """What stands in each line, those that amendments bring included, by its number."""
    brought = {_number(asked, lines): asked.replacement["name"] for asked in amended if asked.replacement}
    return {line.n: line.name for line in lines} | brought


def close(order_ids: Iterable[int], state: str, *, using: str, at: datetime) -> None:
    """End the open proposals of these orders, if they have any, and their timers.

    Belongs in a transaction on `using` that holds the orders.
    """
    wanted = list(order_ids)
    open_ones = Amendment.objects.on(using).filter(order_id__in=wanted, state=Amendment.State.PROPOSED)
    open_ones.update(state=state, answered_at=at)
    timers.cancel(TIMER, wanted, using=using)


def _number(asked: Amendment, lines: Sequence[OrderLine]) -> int:
    return max(line.n for line in lines) + asked.n


def _with_quantity(line: OrderLine, quantity: int) -> OrderLine:
    values = {name: value for name, value in vars(line).items() if not name.startswith("_")}
    return new(OrderLine, **values | {"quantity": quantity, "amount": line.unit_price * quantity})
