"""Three relays at once on one backlog, and one of them is killed: every message is heard, and takes effect once."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from orders import documents
from orders.desk.models import BoardCounter, BoardEvent, DeskOrder
from orders.states import Status
from tests import factories
from tests.faults.clockwork import unheard
from tests.support.fleet import Fleet
from tests.support.processes import wait_until
from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import shard_of_id, shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

# An order's news from `paid` on, in the order of its versions.
NEWS = ("order.paid", "order.accepted", "order.delivering", "order.completed")
ORDERS_A_ROUND = 10
AT_ONCE = 500
SHOP = 7_000_000


def backlog(orders: int, snapshot: dict[str, Any]) -> None:
    """All news of so many orders, no message where its version would have it."""
    messages: dict[str, list[OutboxMessage]] = {alias: [] for alias in shards()}
    now = db_now("default")
    for n in range(orders):
        order_id = ids.new_id(n % 1024)
        for version, topic in enumerate(NEWS, start=2):
            facts = {"id": order_id, "version": version, "status": topic.split(".")[1], "shop_id": SHOP + n % 5}
            event: dict[str, Any] = {"key": order_id, "version": version, "user_id": 1, "shop_id": SHOP + n % 5}
            event |= {"status": facts["status"], "snapshot": snapshot | facts}
            row = OutboxMessage(topic=topic, key=order_id, version=version, bucket=n % 1024, payload=event)
            row.next_at = row.created_at = now
            messages[shard_of_id(order_id)].append(row)
    for alias, rows in messages.items():
        random.Random(orders).shuffle(rows)
        for row in rows:
            row.id = OutboxMessage._meta.pk.get_default()
        OutboxMessage.objects.on(alias).bulk_create(rows, batch_size=AT_ONCE)


def done() -> int:
    return sum(OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.DONE).count() for alias in shards())


def test_f22_three_relays_share_a_backlog(fleet: Fleet, rounds: int) -> None:
    """800 messages; `--rounds 2500` makes it 100,000, and prints how fast they go."""
    stall = factories.stall()
    paid = factories.order(factories.paid(factories.person(), stall))
    orders = rounds * ORDERS_A_ROUND
    backlog(orders, documents.snapshot_of(paid))
    relays = [fleet.start("events") for _ in range(3)]
    wait_until(lambda: done() > 0, seconds=120, what="they are at work")
    started, first = time.monotonic(), done()
    relays[0].kill()
    # What it held comes back when its claim has run out: we don't wait a minute for that.
    for alias in shards():
        OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).update(next_at=db_now(alias))
    wait_until(lambda: not unheard(), seconds=60 + orders / 5, what="all news is heard")
    print(f"{(done() - first) / (time.monotonic() - started):.0f} messages/s, two relays")
    rows = DeskOrder.objects.filter(shop_id__gte=SHOP)
    assert rows.count() == orders
    assert set(rows.values_list("version", "status")) == {(5, Status.COMPLETED)}
    events = BoardEvent.objects.filter(shop_id__gte=SHOP)
    assert events.count() == len(NEWS) * orders
    assert len(set(events.values_list("subject_id", "data__version"))) == len(NEWS) * orders
    assert sum(BoardCounter.objects.filter(shop_id__gte=SHOP).values_list("n", flat=True)) == len(NEWS) * orders
    rows.delete()  # Of orders that never were.
    assert factories.audit() == []
