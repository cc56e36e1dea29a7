"""The one place where orders change state: compare-and-set, history and news in one transaction.

Sources and targets come from `orders.states`. An order that was not in one of the sources simply doesn't move, and the
caller is told which did: of several that want to move the same order exactly one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import F

import payments.services
from orders import amendments, compensation, documents
from orders.errors import InvalidTransition
from orders.events import (
    OrderAccepted,
    OrderCancelled,
    OrderCompleted,
    OrderDelivering,
    OrderEvent,
    OrderPaid,
    OrderPlaced,
)
from orders.models import Amendment, Order, OrderChange
from orders.states import Actor, Move, Status, move_of
from waimai.infra import outbox
from waimai.infra.errors import NotFound
from waimai.infra.rows import insert_rows, new
from waimai.infra.sharding import shard_of_id

# Of an order, when it is placed.
FIRST_VERSION = 1
EVENT_OF: dict[str, type[OrderEvent]] = {
    Status.PENDING_PAYMENT: OrderPlaced,
    Status.PAID: OrderPaid,
    Status.ACCEPTED: OrderAccepted,
    Status.DELIVERING: OrderDelivering,
    Status.COMPLETED: OrderCompleted,
    Status.CANCELLED: OrderCancelled,
}


@dataclass(frozen=True)
class By:
    """Who makes a change, and why. A customer without a number is the order's own."""

    actor: Actor
    actor_id: int | None = None
    reason: str = ""


def change(order_id: int, method: Callable[[Any], None], *, by: By, at: datetime, **columns: Any) -> Order:
    """Move one order, in the caller's transaction on its shard; returns it as it stands now.

    `method` is a transition of `OrderStates`; `columns` are set along with the state. Raises NotFound when there is no
    such order and InvalidTransition when it is not in a state that the transition starts from.
    """
    using = shard_of_id(order_id)
    moved = change_many([order_id], method, using=using, by=by, at=at, **columns)
    if moved:
        return moved[0]
    status = Order.objects.by_id(order_id).values_list("status", flat=True).first()
    if status is None:
        raise NotFound
    raise InvalidTransition(order_status=status, transition=move_of(method).name)


def change_many(
    order_ids: Sequence[int],
    method: Callable[[Any], None],
    *,
    using: str,
    by: By,
    at: datetime,
    restock: bool | None = None,
    **columns: Any,
) -> list[Order]:
    """Move those of the orders that are in a source state of the transition; returns them as they stand now.

    Belongs inside a transaction on `using`. Rows are locked in the order of their ids, so that two callers never wait
    for each other in a circle. Whatever cancels an order also asks for its refund and sees to its portions
    (`restock` as in `compensation.undo`): there is no way to cancel that forgets either.
    """
    move = move_of(method)
    orders = _locked(order_ids, move, using)
    if not orders:
        return []
    sources = [order.status for order in orders]
    held = Order.objects.on(using).filter(pk__in=[order.pk for order in orders], status__in=move.sources)
    if held.update(status=move.target, version=F("version") + 1, **columns) != len(orders):
        raise InvalidTransition(transition=move.name)
    for order in orders:
        order.status, order.version = move.target, order.version + 1
        for name, value in columns.items():
            setattr(order, name, value)
    # Whatever leads on from there ends an open proposal: the order goes on as it is.
    if left := [order.pk for order, source in zip(orders, sources, strict=True) if source == Status.ACCEPTED]:
        amendments.close(left, Amendment.State.EXPIRED, using=using, at=at)
    if move.target == Status.CANCELLED:
        compensation.undo(orders, using=using, at=at, restock=restock, reason=by.reason)
    record(orders, sources, move, using=using, by=by, at=at)
    return orders


def move_new(
    orders: Sequence[Order], method: Callable[[Any], None], *, using: str, by: By, at: datetime
) -> list[OrderChange]:
    """`change_many` for orders that the caller has just written and knows in every value: none is read again.

    They are told that they moved; may be repeated. Returns the history rows. Raises InvalidTransition when one has been
    moved by somebody else: the transaction must then be rolled back.
    """
    move = move_of(method)
    held = Order.objects.on(using).filter(pk__in=[order.pk for order in orders], status__in=move.sources)
    if held.update(status=move.target, version=F("version") + 1) != len(orders):
        raise InvalidTransition(transition=move.name)
    for order in orders:
        order.status, order.version = move.target, FIRST_VERSION + 1
    return record(orders, list(move.sources) * len(orders), move, using=using, by=by, at=at)


def _locked(order_ids: Sequence[int], move: Move, using: str) -> list[Order]:
    """Those of the orders that can make the move, held until the transaction ends."""
    if move.target == Status.CANCELLED:
        # A captured payment locks its own row, then the order: in the same order here, or the two wait for each other.
        payments.services.lock_payments(order_ids=order_ids, using=using)
    rows = Order.objects.on(using).filter(pk__in=list(order_ids), status__in=move.sources)
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update()
    return list(rows.order_by("pk"))


def record(
    orders: Sequence[Order], sources: Sequence[str], move: Move, *, using: str, by: By, at: datetime
) -> list[OrderChange]:
    """Write the history rows of a change and tell its news; returns the rows."""
    rows = [history_row(order, source, move, by=by, at=at) for order, source in zip(orders, sources, strict=True)]
    insert_rows(OrderChange, list(map(vars, rows)), using=using)
    if (event := EVENT_OF.get(move.target)) is not None:
        tell(event, orders, using=using, by=by)
    return rows


def history_row(order: Order, source: str, move: Move, *, by: By, at: datetime) -> OrderChange:
    """The history row of a change that was made: `order` as it stands after it."""
    actor_id = order.user_id if by.actor == Actor.CUSTOMER and by.actor_id is None else by.actor_id
    return new(
        OrderChange,
        order_id=order.pk,
        n=order.version,
        bucket=order.bucket,
        transition=move.name,
        source=source,
        target=move.target,
        actor=by.actor,
        actor_id=actor_id,
        reason=by.reason[:200],
        at=at,
    )


def tell(event: type[OrderEvent], orders: Sequence[Order], *, using: str, by: By | None = None) -> None:
    """Publish one kind of news of several orders, each with the order as it stands."""
    lines = documents.lines_of([order.pk for order in orders if order.paid_at], using=using)
    amended = amendments.of(orders, using=using)
    outbox.publish_many(
        [
            event(
                key=order.pk,
                version=order.version,
                user_id=order.user_id,
                shop_id=order.shop_id,
                status=order.status,
                snapshot=documents.snapshot(order, lines.get(order.pk, []), amended.get(order.pk, [])),
                actor=by.actor if by else "",
                reason=by.reason if by else "",
            )
            for order in orders
        ],
        using=using,
    )
