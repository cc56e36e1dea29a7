"""An owner stands still for longer than its lease and another takes over: what it still does then changes nothing."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connections

import menu.services
from orders import saga, services
from orders.desk.models import DeskOrder
from orders.models import Order, OrderChange, Saga
from payments.models import Refund, SandboxRefund
from tests import factories
from tests.factories import Person, Stall, audit, crash_before, history, order, orders_of, place, saga_of, stock
from tests.support.fleet import Fleet, Program
from tests.support.pausing import WENT_ON
from tests.support.processes import wait_until
from tests.support.source import ROOT
from waimai.infra import outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer
from waimai.infra.sharding import shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]
WITHIN_SECONDS = 120.0


class Paused(Program):
    """An `events` process that stands still right before a function, once."""

    def __init__(self, fleet: Fleet, before: str) -> None:
        super().__init__(fleet, "events", len(fleet.programs), {}, ROOT)
        fleet.programs.append(self)
        self.before = before
        self.start()
        wait_until(self.stands_still, seconds=WITHIN_SECONDS, what=f"a pause before {before}")

    def stands_still(self) -> bool:
        """Whether the kernel says that it is stopped."""
        assert self.process is not None
        assert self.running, self.said()[-3000:]
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def goes_on(self) -> None:
        """It wakes up, and does what it still does."""
        self.go_on()
        wait_until(lambda: WENT_ON in self.said(), seconds=WITHIN_SECONDS, what=f"{self.before} goes on")
        time.sleep(1)

    def _arguments(self) -> list[str]:
        return ["-m", "tests.support.pausing", self.before, "events"]


@pytest.fixture
def people(fleet: Fleet) -> tuple[Person, Person, Stall]:
    """Mei, the shop's manager, and the shop with ten fish; on the fleet's databases."""
    stall = factories.stall()
    menu.services.set_stock(item_id=stall.fish, available=10)
    return factories.person(), factories.works_at(stall.shop_id, "manager", "lan"), stall


def unfinished(who: Person, at: Stall, key: str) -> int:
    """An order whose request died after writing it down; recovery may look at it."""
    with crash_before(saga, "reserve"):
        place(who, at, key=key)
    order_id = orders_of(who)[-1]
    factories.saga_due(order_id)
    return order_id


def leases_end(fleet: Fleet) -> None:
    """Half a minute later. MariaDB has ended the transactions that stood still, and let go of what they had locked."""
    for (thread,) in fleet.ask("default", "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"):
        with suppress(Exception):  # It may have ended by itself.
            fleet.ask("default", f"KILL {thread}")
    for alias in shards():
        now = db_now(alias)
        Saga.objects.on(alias).filter(next_at__isnull=False).update(next_at=now)
        OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).update(next_at=now)
        Timer.objects.on(alias).filter(kind="refund.send").update(due_at=now)


def facts(who: Person) -> dict[str, list[tuple[object, ...]]]:
    """Everything that a second effect, or a late note, would change."""
    using = who.shard
    return {
        "sagas": list(Saga.objects.on(using).order_by("pk").values_list()),
        "orders": list(Order.objects.on(using).order_by("pk").values_list()),
        "changes": list(OrderChange.objects.on(using).order_by("order_id", "n").values_list()),
        "messages": list(OutboxMessage.objects.on(using).order_by("pk").values_list()),
        "refunds": list(Refund.objects.on(using).order_by("pk").values_list()),
        "desk": list(DeskOrder.objects.order_by("pk").values_list()),
    }


@pytest.mark.usefixtures("fleet")
def test_f21_a_transaction_that_stands_still_is_ended_before_the_leases_are() -> None:
    with connections["orders_0"].cursor() as cursor:
        cursor.execute("SELECT @@session.idle_transaction_timeout")
        assert 0 < cursor.fetchone()[0] < min(saga.LEASE_SECONDS, outbox.CLAIM_SECONDS, timers.NETWORK_LEASE_SECONDS)


def test_f21_what_a_paused_owner_does_late_changes_nothing(fleet: Fleet, people: tuple[Person, Person, Stall]) -> None:
    mei, lan, stall = people
    # One is about to hold portions, having claimed two orders.
    first, second = unfinished(mei, stall, "first"), unfinished(mei, stall, "second")
    holding = Paused(fleet, "orders.saga:_go_on")
    # One is about to tell the desk that an order was paid.
    told = factories.paid(mei, stall, key="told")
    telling = Paused(fleet, "waimai.infra.outbox:_deliver")
    # One is about to ask the provider for a refund.
    refunded = factories.paid(mei, stall, key="refunded")
    services.reject(order_id=refunded, staff_id=lan.id, reason="太忙了")
    asking = Paused(fleet, "payments.services:send_refund")
    # One is about to fail, for the tenth time.
    given_up = unfinished(mei, stall, "given up")
    Saga.objects.by_id(given_up).update(attempts=9)
    failing = Paused(fleet, "orders.saga:_go_on!")
    paused = [holding, telling, asking, failing]
    assert all(program.stands_still() for program in paused)
    leases_end(fleet)

    fleet.start("events")
    wait_until(
        lambda: (
            [order(one).status for one in (first, second, given_up)] == ["pending_payment"] * 3
            and order(refunded).payment_status == "refunded"
            and DeskOrder.objects.filter(order_id__in=[told, refunded]).count() == 2
            and not OutboxMessage.objects.on(mei.shard).exclude(state=OutboxMessage.State.DONE).exists()
        ),
        seconds=WITHIN_SECONDS,
        what="another does all of it",
    )
    before = facts(mei)
    for program in paused:
        program.goes_on()

    assert facts(mei) == before
    assert [history(one) for one in (first, second, given_up)] == [["placing", "pending_payment"]] * 3
    assert saga_of(given_up).error == ""
    assert [status for _, _, status in factories.refunds_of(refunded)] == ["succeeded"]
    assert SandboxRefund.objects.on(mei.shard).count() == 1
    assert stock(stall.fish) == (6, 3, 1)
    assert audit() == []
