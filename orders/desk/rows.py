"""The desk's rows: written from snapshots of orders, newer ones only, and made anew from the shards."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils.dateparse import parse_date, parse_datetime

import orders.services
from orders.desk.models import DeskOrder, PickupCounter
from orders.services import Document
from waimai.infra import archive
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.rows import insert_ignore, update_or_insert
from waimai.infra.sharding import DEFAULT, shards

COPIED = (
    "shop_id",
    "shop_name",
    "user_id",
    "version",
    "status",
    "payment_status",
    "total",
    "contact_name",
    "phone",
    "address_text",
    "note",
    "tableware",
    "lines",
)
# Absent from news that an older release wrote.
ADDED = ("latitude", "longitude", "courier_id", "proposal", "net_total")
ROWS_AT_ONCE = 500
NOBODY = {"contact_name": "", "phone": "", "address_text": "", "note": "", "latitude": None, "longitude": None}
MOMENTS = ("deliver_at", "placed_at", "paid_at", "promised_at", "reminded_at")


def apply(snapshot: Document) -> bool:
    """Bring the row of an order up to a snapshot; False when the row is as new already, or the order was never paid."""
    return bool(snapshot["paid_at"]) and run_atomic(DEFAULT, lambda: write(snapshot))


def write(snapshot: Document) -> bool:
    """`apply` for a paid order, in the caller's transaction on default."""
    order_id, facts = snapshot["id"], _facts(snapshot)
    older = DeskOrder.objects.filter(order_id=order_id, version__lt=facts["version"])
    if older.update(**facts) or _inserted(order_id, facts):
        return True
    # Somebody else put a row in between the two: it may be an older one.
    return bool(older.update(**facts))


def _inserted(order_id: int, facts: dict[str, Any]) -> bool:
    """Put in the row of an order that has none, under the shop's next pick-up number of its business day."""
    if not insert_ignore(DeskOrder, [{"order_id": order_id, **facts}], using=DEFAULT):
        return False
    day = {"shop_id": facts["shop_id"], "business_date": facts["business_date"]}
    update_or_insert(PickupCounter, day, {"n": 0}, {"n": F("n") + 1}, using=DEFAULT)
    number = PickupCounter.objects.filter(**day).values_list("n", flat=True).get()
    DeskOrder.objects.filter(order_id=order_id).update(number=number)
    return True


def _facts(snapshot: Document) -> dict[str, Any]:
    facts = {name: snapshot[name] for name in COPIED} | {name: snapshot.get(name) for name in ADDED}
    facts |= {name: snapshot[name] and parse_datetime(snapshot[name]) for name in MOMENTS}
    return facts | {"business_date": parse_date(snapshot["business_date"]), "applied_at": db_now(DEFAULT)}


def rebuild() -> int:
    """Make every row anew from the shards, and drop rows of orders that aren't there; returns how many there are."""
    started = db_now(DEFAULT)
    count = 0
    for alias in shards():
        for batch in orders.services.paid_snapshots(using=alias):
            rows = {snapshot["id"]: _facts(snapshot) for snapshot in batch}
            run_atomic(DEFAULT, lambda rows=rows: _overwrite(rows))  # type: ignore[misc]
            count += len(rows)
    with transaction.atomic(using=DEFAULT):
        # Of an archived order the row stays: it is the last that a database has.
        DeskOrder.objects.filter(applied_at__lt=started, order_id__gte=archive.oldest_living_id()).delete()
    return count


def erase_archived(*, user_id: int) -> None:
    """Take the person out of the rows of archived orders, whose shard can't tell of it."""
    # Looked for without locks: no index leads to them, and the desk must not wait for that.
    rows = DeskOrder.objects.filter(order_id__lt=archive.oldest_living_id(), user_id=user_id)
    found = list(rows.values_list("pk", flat=True))
    for start in range(0, len(found), ROWS_AT_ONCE):
        some = found[start : start + ROWS_AT_ONCE]
        DeskOrder.objects.filter(pk__in=some).update(**NOBODY)


def _overwrite(rows: dict[int, dict[str, Any]]) -> None:
    for order_id, facts in rows.items():
        if not DeskOrder.objects.filter(order_id=order_id, version__lte=facts["version"]).update(**facts):
            _inserted(order_id, facts)
            DeskOrder.objects.filter(order_id=order_id).update(applied_at=facts["applied_at"])
