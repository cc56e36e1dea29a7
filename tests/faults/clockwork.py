"""Unpaid orders that fall due while things break, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import menu.services
from orders.models import Order, OrderChange
from orders.states import Status
from tests import factories
from tests.factories import Stall
from tests.support import bulk
from tests.support.fleet import Fleet
from tests.support.processes import wait_until
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer
from waimai.infra.sharding import shards

PORTIONS = 10_000
FAR = timedelta(days=1)
LATENESS = """SELECT TIMESTAMPDIFF(MICROSECOND, o.expires_at, c.at) FROM orders_order o
    JOIN orders_orderchange c ON c.order_id = o.id AND c.transition = 'expire'"""


class Orders:
    """Many unpaid orders, half of them of a dish that is counted, due evenly over some seconds."""

    def __init__(self, fleet: Fleet, count: int, *, first_seconds: float, over_seconds: float) -> None:
        self.fleet, self.count, self.stall = fleet, count, factories.stall()
        menu.services.set_stock(item_id=self.stall.tofu, available=PORTIONS)
        like = _two(self.stall)
        far = db_now("default") + FAR
        bulk.unpaid(count, like, first_due=far, over_seconds=over_seconds)
        bulk.cancel(like)
        bulk.put_off(db_now("default") + timedelta(seconds=first_seconds) - far)

    def waiting(self) -> int:
        """How many still wait for their payment."""
        return sum(Order.objects.on(alias).filter(status=Status.PENDING_PAYMENT).count() for alias in shards())

    def wait_until_all_are_cancelled(self, *, seconds: float = 60) -> None:
        """By the clock, whoever serves it."""
        wait_until(lambda: self.waiting() == 0, seconds=seconds, what="the clock cancels every order")

    def lateness(self) -> list[float]:
        """How late each was cancelled, in seconds by the databases' clocks, the latest one last."""
        return sorted(late / 1e6 for alias in shards() for (late,) in self.fleet.ask(alias, LATENESS))

    def assert_each_cancelled_once(self) -> None:
        """One change and one message each, every portion back, no timer left, and the audit finds nothing."""
        assert len(self.lateness()) == self.count
        assert (
            sum(OrderChange.objects.on(alias).filter(transition="expire").count() for alias in shards()) == self.count
        )
        wait_until(lambda: factories.stock(self.stall.tofu) == (PORTIONS, 0, 0), seconds=40, what="portions are back")
        wait_until(lambda: not unheard(), seconds=90, what="all news is heard")
        assert not any(Timer.objects.on(alias).filter(kind="order.expire").exists() for alias in shards())
        wait_until(lambda: factories.audit() == [], seconds=40, what="the audit finds nothing")


def _two(stall: Stall) -> Sequence[int]:
    mei = factories.person()
    return [
        factories.placed(mei, stall, (stall.tofu, 2), key="limited"),
        factories.placed(mei, stall, (stall.fish, 1), key="unlimited"),
    ]


def unheard() -> bool:
    """Whether there is news that nobody has heard."""
    waiting = [OutboxMessage.objects.on(alias).exclude(state=OutboxMessage.State.DONE) for alias in shards()]
    return any(each.exists() for each in waiting)


def held(fleet: Fleet) -> int:
    """The messages that a worker has and hasn't acknowledged: the broker is database 1."""
    with fleet.redis.client() as client:
        client.select(1)
        return int(client.hlen("unacked"))
