"""Placed, paid at the sandbox, on the desk: through the processes of production, and in the customer's own thread.

A closed loop: each customer orders again once the last order is on the desk.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Meter, Row, Table, alternate, quantile
from benchmarks.fleets import database_pid

if TYPE_CHECKING:
    from tests.support.fleet import Fleet, Program

# In our own way everybody waits for others; inline more threads than this only wait for each other's locks.
CUSTOMERS, INLINE = 64, 4
# The processes read their modules before anything is measured.
SETTLED_SECONDS = 8
LOOK_SECONDS = 0.05
GIVEN_UP_AFTER_SECONDS = 60
Take = Callable[[int], None]
_keys = itertools.count()


def compare(fleet: Fleet, *, rounds: int, seconds: float) -> Table:
    """Orders a second from placed to the desk, the lag of the desk behind the payment, and processor time."""
    from tests import factories

    stall = factories.stall("saga")
    people = [factories.person(f"135{n:08}") for n in range(CUSTOMERS)]
    programs = [fleet.start(kind) for kind in ("web", "events", "worker", "beat")]
    _stop(programs)
    targets = {
        "web, events, worker, beat": partial(_through_processes, fleet, programs, people, stall, seconds),
        f"inline, {INLINE} threads": partial(_measure, fleet, [], _inline, people[:INLINE], stall, seconds),
        "inline, one by one": partial(_measure, fleet, [], _inline, people[:1], stall, seconds),
    }
    return alternate(rounds, targets)


def _through_processes(fleet: Fleet, programs: list[Program], people: Any, stall: Any, seconds: float) -> Row:
    for program in programs:
        program.start()
    try:
        programs[0].wait_until_ready()
        time.sleep(SETTLED_SECONDS)
        with _Desk() as desk:
            _crowd(desk.take, people[:4], stall, 1)
            return _measure(fleet, programs, desk.take, people, stall, seconds)
    finally:
        _stop(programs)


def _stop(programs: Iterable[Program]) -> None:
    for program in programs:
        program.stop()


def _measure(fleet: Fleet, programs: Sequence[Program], take: Take, people: Any, stall: Any, seconds: float) -> Row:
    pids = [program.process.pid for program in programs if program.process]
    meter = Meter(ours=[os.getpid(), *pids], database=[database_pid(fleet)])
    order_ids = _crowd(take, people, stall, seconds)
    row = meter.row("orders_per_second", len(order_ids))
    desk, outbox = _desk_lag(order_ids), _outbox_lag(order_ids)
    lags = {"desk_p50_s": quantile(desk, 0.5), "desk_p99_s": quantile(desk, 0.99)}
    lags |= {"outbox_p50_s": quantile(outbox, 0.5), "outbox_p99_s": quantile(outbox, 0.99)}
    return row | lags | {"errors": len(order_ids) - len(desk)}


def _crowd(take: Take, people: Sequence[Any], stall: Any, seconds: float) -> list[int]:
    """Every customer orders again and again; the orders."""
    ends_at = time.monotonic() + seconds

    def customer(who: Any) -> list[int]:
        from django.db import connections

        from tests import factories

        made = []
        while time.monotonic() < ends_at:
            order_id = factories.placed(who, stall, key=f"saga-{next(_keys)}")
            take(order_id)
            made.append(order_id)
        connections.close_all()
        return made

    with ThreadPoolExecutor(len(people)) as pool:
        return [order_id for made in pool.map(customer, people) for order_id in made]


def _inline(order_id: int) -> None:
    """Pay, take the provider's notice and run the hearers, all here; somebody else may have this one's news."""
    from orders.desk.models import DeskOrder
    from tests import factories
    from waimai.infra import outbox
    from waimai.infra.sharding import shard_of_id

    factories.capture(factories.start_payment(order_id))
    outbox.relay(shard_of_id(order_id))
    while not DeskOrder.objects.filter(order_id=order_id).exists():
        time.sleep(LOOK_SECONDS)
        outbox.relay(shard_of_id(order_id))


class _Desk:
    """Looks at the desk for all customers, and tells each when their order is there."""

    def __init__(self) -> None:
        self.waiting: dict[int, threading.Event] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Desk:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join()

    def take(self, order_id: int) -> None:
        """Pay at the sandbox's till, and wait for the desk; given up after a minute."""
        import payments.services
        from tests import factories

        there = self.waiting[order_id] = threading.Event()
        payment_id = factories.start_payment(order_id)
        owner = factories.order(order_id).user_id
        payments.services.tell_sandbox(payment_id=payment_id, user_id=owner, outcome=_success())
        there.wait(GIVEN_UP_AFTER_SECONDS)

    def _look(self) -> None:
        from django.db import connections

        from orders.desk.models import DeskOrder

        while not self.over.wait(LOOK_SECONDS):
            rows = DeskOrder.objects.filter(order_id__in=list(self.waiting))
            for order_id in rows.values_list("order_id", flat=True):
                self.waiting.pop(order_id).set()
        connections.close_all()


def _success() -> Any:
    from payments.providers.sandbox import SandboxOutcome

    return SandboxOutcome.SUCCESS


def _desk_lag(order_ids: Sequence[int]) -> list[float]:
    """Seconds from the payment's transaction to the desk's, by the database's clock."""
    from orders.desk.models import DeskOrder

    rows = DeskOrder.objects.filter(order_id__in=order_ids).values_list("paid_at", "applied_at")
    return [(applied - paid).total_seconds() for paid, applied in rows]


def _outbox_lag(order_ids: Sequence[int]) -> list[float]:
    """Seconds from the news to the mark that every hearer has committed."""
    from waimai.infra.models import OutboxMessage
    from waimai.infra.sharding import shards

    found: list[float] = []
    for using in shards():
        rows = OutboxMessage.objects.on(using).filter(topic="order.paid", key__in=order_ids, done_at__isnull=False)
        found += [(done - made).total_seconds() for made, done in rows.values_list("created_at", "done_at") if done]
    return found
