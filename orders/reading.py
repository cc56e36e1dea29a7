"""Reading orders. An order past its time counts as expired, whether or not the clock has come by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import cast

from django.db.models import QuerySet

from orders import amendments, documents, timing
from orders.models import BY_USER, Order, OrderChange
from orders.states import Status
from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.db import by_index
from waimai.infra.errors import NotFound
from waimai.infra.sharding import shard_of_id, shard_of_user


def own_order(*, order_id: int, user_id: int) -> Order:
    """A customer's own order. Raises NotFound, also for someone else's."""
    order = cast("Order | None", Order.objects.by_id(order_id).filter(user_id=user_id).first())
    if order is None:
        raise NotFound
    return _expired_if_due([order])[0]


def get_order(*, order_id: int, user_id: int) -> documents.Document:
    """A customer's own order as a document, timeline included. Raises NotFound."""
    return documents.full_document(own_order(order_id=order_id, user_id=user_id))


def document_of(order_id: int) -> documents.Document:
    """An order's document for those who may see it whoever they are. Raises NotFound."""
    order = cast("Order | None", Order.objects.by_id(order_id).first())
    if order is None:
        raise NotFound
    return documents.full_document(_expired_if_due([order])[0])


def states_of(order_ids: Collection[int], *, using: str) -> dict[int, object]:
    """Of each of these orders of a shard something that changes whenever `changes_since` has more to tell."""
    now = db_now(using)
    rows = Order.objects.on(using).filter(pk__in=order_ids).values_list("pk", "version", "status", "expires_at")
    return {pk: (version, _is_over(status, expires_at, now)) for pk, version, status, expires_at in rows}


def _is_over(status: str, expires_at: datetime, now: datetime) -> bool:
    return status == Status.PENDING_PAYMENT and expires_at <= now


def last_change(order_id: int) -> OrderChange:
    """The last change of an order's state. Raises NotFound."""
    row = cast("OrderChange | None", OrderChange.objects.of_order(order_id).order_by("-n").first())
    if row is None:
        raise NotFound
    return row


def changes_since(*, order_id: int, seen: int) -> list[tuple[int, str, documents.Document]]:
    """(version, kind, document) of what happened to an order after the version `seen`, oldest first.

    Kind `status` is a change of its state; `update` tells of the rest (a refund, a reminder) as it stands now.
    """
    order = _expired_if_due([Order.objects.by_id(order_id).get()])[0]
    rows = documents.history_of([order_id], using=shard_of_id(order_id))[order_id]
    found = [(row.n, "status", documents.change_document(row)) for row in rows if row.n > seen]
    if order.version > max(seen, rows[-1].n if rows else 0):
        found.append((order.version, "update", documents.money_document(order)))
    return found


def orders_of(*, user_id: int, status: str | None = None, refused: bool = False) -> QuerySet[Order]:
    """A customer's orders for paging; those still being placed are not shown. Order it by `-id`.

    Nor are those that were refused while they were placed, unless asked for: to their customer they never were orders.
    """
    rows: QuerySet[Order] = by_index(Order.objects.for_user(user_id), BY_USER).exclude(status=Status.PLACING)
    if not refused:
        rows = rows.filter(sold_out__isnull=True)
    if not status:
        return rows
    _expire_overdue(user_id)
    return rows.filter(status=status)


def newest_orders(
    *, user_id: int, before: int | None = None, limit: int, statuses: Collection[str] = (), refused: bool = False
) -> list[Order]:
    """A customer's newest orders, at most `limit`, of those with ids below `before` and (if any are named) `statuses`.

    The last two months are looked at first, and all only when they have too few: on MySQL the months stand apart.
    """
    rows = orders_of(user_id=user_id, refused=refused).order_by("-id")
    if statuses:
        _expire_overdue(user_id)
        rows = rows.filter(status__in=statuses)
    if before is not None:
        rows = rows.filter(id__lt=before)
    start = ids.now_id() if before is None else before
    found = list(rows.filter(id__gte=start - ids.TWO_MONTHS)[:limit])
    return found if len(found) == limit else list(rows[:limit])


def _expire_overdue(user_id: int) -> None:
    """A list by status is read from the rows, so what is past its time has to move first."""
    using = shard_of_user(user_id)
    # None of them is old: the clock ends them within seconds. The bound spares the database the other months.
    recent = Order.objects.for_user(user_id).filter(id__gte=ids.now_id() - ids.TWO_MONTHS)
    late = recent.filter(status=Status.PENDING_PAYMENT, expires_at__lte=db_now(using))
    if order_ids := list(late.values_list("pk", flat=True)):
        timing.expire_now(order_ids, using=using)


def documents_of(orders: Iterable[Order], *, user_id: int) -> list[documents.Document]:
    """The documents of one user's orders, in four queries however many they are."""
    using = shard_of_user(user_id)
    fresh = _expired_if_due(list(orders))
    numbers = [order.pk for order in fresh]
    lines, history = documents.lines_of(numbers, using=using), documents.history_of(numbers, using=using)
    amended = amendments.of(fresh, using=using)
    return [documents.order_document(order, lines[order.pk], history[order.pk], amended[order.pk]) for order in fresh]


def paid_snapshots(*, using: str, batch: int = 500) -> Iterator[list[documents.Document]]:
    """Every order of a shard that was ever paid, as snapshots, in batches by id: what the desk is rebuilt from."""
    last = 0
    while True:
        rows = Order.objects.on(using).filter(pk__gt=last, paid_at__isnull=False).order_by("pk")[:batch]
        orders = list(rows)
        if not orders:
            return
        last = orders[-1].pk
        lines = documents.lines_of([order.pk for order in orders], using=using)
        amended = amendments.of(orders, using=using)
        yield [documents.snapshot(order, lines[order.pk], amended[order.pk]) for order in orders]


def _expired_if_due(orders: list[Order]) -> list[Order]:
    """The orders, those past their time expired first."""
    open_ones = [order for order in orders if order.status == Status.PENDING_PAYMENT]
    if not open_ones:
        return orders
    using = shard_of_id(open_ones[0].pk)
    now = db_now(using)
    late = [order.pk for order in open_ones if order.expires_at <= now]
    if not late:
        return orders
    timing.expire_now(late, using=using)
    fresh = {order.pk: order for order in Order.objects.on(using).filter(pk__in=late)}
    return [fresh.get(order.pk, order) for order in orders]
