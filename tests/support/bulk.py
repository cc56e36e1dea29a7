"""Orders by the thousand: copies of a few that were placed in the usual way, with all their rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Model

from menu.models import Stock, StockHold
from orders import services
from orders.compensation import EXPIRE
from orders.models import Order, OrderChange, OrderLine, Saga
from orders.states import Status
from waimai.infra import ids
from waimai.infra.models import Barrier, IdempotencyKey, Timer
from waimai.infra.sharding import DEFAULT, bucket_of_user, shard_of_bucket, shard_of_id, shards

AT_ONCE = 500
# The users exist as numbers only: nothing that the clock does to an order looks them up.
FIRST_USER = 10_000_000
Rows = dict[tuple[str, type[Model]], list[Any]]


def unpaid(count: int, like: Sequence[int], *, first_due: datetime, over_seconds: float) -> list[int]:
    """`count` orders that wait for their payment, copied from these in turn, due evenly over a time; their numbers."""
    originals = [_rows_of(order_id) for order_id in like]
    step = timedelta(seconds=over_seconds / count)
    made: list[int] = []
    for start in range(0, count, AT_ONCE):
        copies: Rows = defaultdict(list)
        for n in range(start, min(start + AT_ONCE, count)):
            made.append(_copy(originals[n % len(like)], FIRST_USER + n, first_due + n * step, copies))
        _store(copies)
    return made


def cancel(order_ids: Iterable[int]) -> None:
    """Their customers don't want these any more: the copies stay."""
    for order_id in order_ids:
        services.cancel(order_id=order_id, user_id=Order.objects.by_id(order_id).get().user_id)


def put_off(by: timedelta) -> None:
    """Move the end of the time to pay of every unpaid order, and its timer."""
    for using in shards():
        Order.objects.on(using).filter(status=Status.PENDING_PAYMENT).update(expires_at=F("expires_at") + by)
        Timer.objects.on(using).filter(kind=EXPIRE).update(due_at=F("due_at") + by)


def _rows_of(order_id: int) -> list[Any]:
    using = shard_of_id(order_id)
    return [
        *Order.objects.on(using).filter(pk=order_id),
        *OrderLine.objects.on(using).filter(order_id=order_id),
        *OrderChange.objects.on(using).filter(order_id=order_id),
        *Saga.objects.on(using).filter(order_id=order_id),
        *Timer.objects.on(using).filter(ref_id=order_id),
        *IdempotencyKey.objects.on(using).filter(ref_id=order_id),
        *StockHold.objects.filter(order_id=order_id),
        *Barrier.objects.on(DEFAULT).filter(saga_id=order_id),
    ]


def _copy(originals: Sequence[Any], user_id: int, due_at: datetime, copies: Rows) -> int:
    """Add the rows of one more order to the copies; its number."""
    bucket = bucket_of_user(user_id)
    order_id, shard = ids.new_id(bucket), shard_of_bucket(bucket)
    own = {"user_id": user_id, "bucket": bucket, "expires_at": due_at, "due_at": due_at}
    own |= dict.fromkeys(("order_id", "ref_id", "saga_id"), order_id)
    for row in originals:
        model = type(row)
        values = {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
        values |= {name: value for name, value in own.items() if name in values}
        if model is Order:
            values["id"] = order_id
        copies[row._state.db if row._state.db == DEFAULT else shard, model].append(model(**values))
    return order_id


def _store(copies: Rows) -> None:
    for (using, model), rows in copies.items():
        model._default_manager.using(using).bulk_create(rows)
    held: Counter[int] = Counter()
    for hold in copies.get((DEFAULT, StockHold), []):
        held[hold.item_id] += hold.quantity
    for item_id, quantity in held.items():
        stock = Stock.objects.filter(item_id=item_id)
        stock.update(available=F("available") - quantity, held=F("held") + quantity)
