"""How fast and how late unpaid orders are cancelled: the sweep's rate, and the lateness with our processes running.

Orders are copied by the thousand onto two shards. Lateness is read from their history, by the clock of the database, as
everything about time is.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.figures import Meter, Row, Table, alternate, quantile
from benchmarks.fleets import database_pid

if TYPE_CHECKING:
    from tests.support.fleet import Fleet, Kind

ALL: tuple[Kind, ...] = ("events", "worker", "beat")
RATES = (100, 500)
TICK_SECONDS = 0.05
# The processes start, and beat's window is filled, before the first one is due.
LEAD = timedelta(seconds=20)
FAR = timedelta(hours=2)
PORTIONS = 1_000_000
LIMITED_PER_CENT = 25
# One by one takes this many times as long.
FEWER = 20
_numbers = itertools.count(1)


def compare_sweep(fleet: Fleet, *, rounds: int, count: int) -> Table:
    """One thread of one process cancels what is overdue: together, and one after the other by the same service."""
    targets = {
        "sweep": partial(_sweep, fleet, count, timedelta()),
        # What was due before the process began may be what ended the last one: it is claimed before it is tried.
        "sweep after a restart": partial(_sweep, fleet, count, timedelta(hours=1)),
        "one by one": partial(_one_by_one, fleet, max(1, count // FEWER)),
    }
    return alternate(rounds, targets)


def _sweep(fleet: Fleet, count: int, ago: timedelta) -> Row:
    from waimai.infra import timers
    from waimai.infra.sharding import shards

    _overdue(count, ago)
    meter = Meter(worker=[os.getpid()], database=[database_pid(fleet)])
    row = meter.row("cancellations_per_second", sum(timers.sweep(using) for using in shards()))
    _forget_news()
    return row


def _one_by_one(fleet: Fleet, count: int) -> Row:
    from orders import timing
    from waimai.infra.sharding import shard_of_id

    order_ids = _overdue(count, timedelta())
    meter = Meter(worker=[os.getpid()], database=[database_pid(fleet)])
    for order_id in order_ids:
        timing.expire_now([order_id], using=shard_of_id(order_id))
    row = meter.row("cancellations_per_second", len(order_ids))
    _forget_news()
    return row


def _forget_news() -> None:
    """What the relay would still be busy with while the next one is measured; the desk never had these orders."""
    from waimai.infra.models import OutboxMessage
    from waimai.infra.sharding import shards

    for using in shards():
        OutboxMessage.objects.on(using).filter(topic="order.cancelled").delete()


def _overdue(count: int, ago: timedelta) -> list[int]:
    from tests.support import bulk
    from waimai.infra.clock import db_now

    like = _originals()
    order_ids = bulk.unpaid(count, like, first_due=db_now("default") - ago, over_seconds=0.001)
    bulk.cancel(set(like))
    return order_ids


def compare_window(fleet: Fleet, *, rounds: int, seconds: int) -> Table:
    """Seconds from due to cancelled, at so many due each second: with everything running, and by the sweep alone."""
    setups: dict[str, tuple[Kind, ...]] = {"window and sweep": ALL, "sweep alone": ("events",)}
    targets = {
        f"{rate}/s, {name}": partial(_window, fleet, kinds, rate, seconds)
        for rate in RATES
        for name, kinds in setups.items()
    }
    return alternate(rounds, targets)


def _window(fleet: Fleet, kinds: Sequence[Kind], rate: int, seconds: int) -> Row:
    from tests.support import bulk
    from waimai.infra.clock import db_now
    from waimai.infra.sharding import shards

    like, far = _originals(), db_now("default") + FAR
    bulk.unpaid(rate * seconds, like, first_due=far, over_seconds=seconds)
    bulk.cancel(set(like))
    programs = [fleet.start(kind) for kind in kinds]
    try:
        due = db_now("default") + LEAD
        bulk.put_off(due - far)
        _wait_until(due)
        ours = [program.process.pid for program in programs if program.process]
        meter = Meter(ours=ours, database=[database_pid(fleet)])
        seen = _watch(due + timedelta(seconds=seconds))
        late = [value for using in shards() for value in _lateness(fleet, using, due)]
        row = meter.row("cancelled_per_second", len(late))
    finally:
        for program in programs:
            program.stop()
        _forget_news()
    lateness = {"p50_s": quantile(late, 0.5), "p99_s": quantile(late, 0.99), "seen_p99_s": quantile(seen, 0.99)}
    return lateness | row | {"errors": rate * seconds - len(late)}


def _originals() -> list[int]:
    """A hundred orders' worth of what to copy: a quarter of them of a dish that is counted."""
    import menu.services
    from tests import factories

    number = next(_numbers)
    stall, who = factories.stall(f"timers {number}"), factories.person(f"136{number:08}")
    unlimited = factories.placed(who, stall, (stall.fish, 1), (stall.rice, 2), key=f"unlimited-{number}")
    menu.services.set_stock(item_id=stall.tofu, available=PORTIONS)
    counted = factories.placed(who, stall, (stall.tofu, 2), key=f"limited-{number}")
    share = LIMITED_PER_CENT
    return [counted if n * share // 100 != (n + 1) * share // 100 else unlimited for n in range(100)]


def _wait_until(moment: datetime) -> None:
    from waimai.infra.clock import db_now

    while db_now("default") < moment:
        time.sleep(TICK_SECONDS)


def _watch(end: datetime) -> list[float]:
    """Until the last one is gone: how late, at each look, the oldest timer was that anybody could still see."""
    from orders.compensation import EXPIRE
    from waimai.infra.clock import db_now
    from waimai.infra.models import Timer
    from waimai.infra.sharding import shards

    found: list[float] = []
    while True:
        now = db_now("default")
        rows = [Timer.objects.on(using).filter(kind=EXPIRE).order_by("due_at") for using in shards()]
        first = [due for each in rows if (due := each.values_list("due_at", flat=True).first())]
        found.append(max(0.0, (now - min(first)).total_seconds()) if first else 0.0)
        if not first or now > end + timedelta(seconds=60):
            return found
        time.sleep(TICK_SECONDS)


def _lateness(fleet: Fleet, using: str, since: datetime) -> list[float]:
    sql = """SELECT TIMESTAMPDIFF(MICROSECOND, o.expires_at, c.at) FROM orders_order o
             JOIN orders_orderchange c ON c.order_id = o.id AND c.transition = 'expire' WHERE o.expires_at >= %s"""
    return [microseconds / 1e6 for (microseconds,) in fleet.ask(using, sql, since.replace(tzinfo=None))]
