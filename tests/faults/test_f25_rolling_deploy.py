"""Fault 25: two releases at once, a migration half done, old processes told to stop: customers notice nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from tests import factories
from tests.factories import Person
from tests.support.fleet import Fleet, Program
from tests.support.load import CREATED, NO_ANSWER, Balanced, Caller, Load
from tests.support.processes import wait_until
from tests.support.source import ROOT
from waimai.infra import outbox
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]

CUSTOMERS = 4
WITHIN_SECONDS = 40.0
PLANNED, PAID = Decimal("1.00"), Decimal("0.50")
PARKED = OutboxMessage.State.PARKED
NOT_THE_PRODUCT = (".*", "var", "tests", "docs", "benchmarks", "__pycache__")

# What the next release adds: a column, a member of known news (with a default), and news nobody has heard of before.
COLUMN = """

Order.add_to_class("tip", models.DecimalField(max_digits=8, decimal_places=2, null=True))
"""
MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "{last}")]
    operations = [
        migrations.AddField("order", "tip", models.DecimalField(max_digits=8, decimal_places=2, null=True)),
    ]
"""
MEMBER = ("    snapshot: dict[str, Any]\n", '    snapshot: dict[str, Any]\n    tip: str = "0.50"\n')
NEWS = """

@dataclass(frozen=True, kw_only=True)
class OrderPlanned(OrderEvent):
    topic: ClassVar[str] = "order.planned"
"""
HEARERS = """

from orders.events import OrderPaid, OrderPlaced, OrderPlanned
from orders.models import Order
from waimai.infra.outbox import hear, hear_inside, publish


@hear_inside(OrderPlaced)
def plan(event, *, using):
    told = {name: getattr(event, name) for name in ("key", "version", "user_id", "shop_id", "status", "snapshot")}
    publish(OrderPlanned(**told, tip="1.00"), using=using)


@hear(OrderPlanned)
def on_planned(event, *, using):
    Order.objects.by_id(event.key).update(tip=event.tip)


@hear(OrderPaid)
def on_paid(event, *, using):
    Order.objects.by_id(event.key).filter(tip=None).update(tip=event.tip)
"""


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """A copy of the product with small changes, each by the rules for rolling deploys."""
    root = tmp_path / "next"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*NOT_THE_PRODUCT))
    migrations = root / "orders" / "migrations"
    last = max(file.stem for file in migrations.glob("0*.py"))
    (migrations / "9999_order_tip.py").write_text(MIGRATION.format(last=last))
    _append(root / "orders" / "models.py", COLUMN)
    events = root / "orders" / "events.py"
    assert MEMBER[0] in events.read_text()
    events.write_text(events.read_text().replace(*MEMBER))
    _append(events, NEWS)
    _append(root / "orders" / "handlers.py", HEARERS)
    return root


@dataclass
class Street(Load):
    """Customers behind a balancer that asks one web process after the other."""

    doors: list[Program] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def open(self, door: Program) -> None:
        """A web process is in service from now on."""
        self.doors.append(door)
        self.urls.append(door.url)

    def caller(self, person: Person) -> Caller:
        """A telephone that the balancer answers."""
        return Balanced(self.urls, person)


def test_f25_a_rolling_deploy_under_load_fails_nobody(fleet: Fleet, next_release: Path) -> None:
    stall, people = factories.stall(), [factories.person(f"1371111{n:04}") for n in range(CUSTOMERS)]
    street = Street("", people, stall, pause_seconds=0.1, pay_every=3, insist=True)
    for _ in range(2):
        street.open(fleet.start("web"))
    with street:
        roll_out(fleet, next_release, street)
    assert set(street.statuses()) <= {CREATED, NO_ANSWER}
    assert street.lost() == []
    assert street.differing() == []
    for alias in shards():
        outbox.revive(using=alias)
    wait_until(lambda: factories.audit() == [] and not waiting_news(), seconds=WITHIN_SECONDS, what="a clean audit")
    everything_was_heard(fleet)


def roll_out(fleet: Fleet, release: Path, street: Street) -> None:
    """As docs/operations.md has it, while customers order."""
    first, second = street.doors
    relay = fleet.start("events", WAIMAI_PUBLIC_URL=second.url)
    placed(street, more=10)
    # Half a migration: one shard has the column, the other doesn't, and the old release serves on both.
    fleet.manage("migrate", "--database", shards()[0], "--verbosity=0", root=release)
    placed(street, more=20)
    fleet.manage("migrate_all", root=release)
    street.open(fleet.start("web", root=release))
    retire(first, street)
    # The new web process tells news that the old relay doesn't understand.
    placed(street, more=20)
    unknown_news_is_parked()
    # Then a new relay hears what the old web process tells, without the member it doesn't know of.
    retire(relay, street)
    fleet.start("events", root=release, WAIMAI_PUBLIC_URL=street.urls[-1])
    placed(street, more=20)
    retire(second, street)
    placed(street, more=10)


def retire(program: Program, street: Street) -> None:
    """SIGTERM; the balancer learns of a web process's end when it refuses."""
    program.retire()
    if program in street.doors:
        street.urls.remove(program.url)


def unknown_news_is_parked() -> None:
    """Old relays give up what they can't understand, and say why."""

    def parked() -> list[str]:
        found: list[str] = []
        for alias in shards():
            news = OutboxMessage.objects.on(alias).filter(topic="order.planned")
            news.filter(state=OutboxMessage.State.PENDING).exclude(error="").update(next_at="2026-01-01T00:00:00Z")
            found += news.filter(state=PARKED).values_list("error", flat=True)
        return found

    wait_until(parked, seconds=WITHIN_SECONDS, what="news parked by relays that don't know it")
    assert all("this release doesn't understand order.planned" in error for error in parked())


def waiting_news() -> int:
    """How many messages aren't done."""
    return sum(OutboxMessage.objects.on(alias).exclude(state=OutboxMessage.State.DONE).count() for alias in shards())


def everything_was_heard(fleet: Fleet) -> None:
    """What the new release told was heard, parked or not; what the old one told was heard with the default."""
    tips: dict[int, Decimal | None] = {}
    news: set[int] = set()
    for alias in shards():
        tips |= dict(fleet.ask(alias, "SELECT id, tip FROM orders_order"))
        told = OutboxMessage.objects.on(alias).filter(topic="order.planned")
        news |= set(told.values_list("key", flat=True))
    assert news
    assert {tips[order_id] for order_id in news} == {PLANNED}
    assert PAID in {tip for order_id, tip in tips.items() if order_id not in news}


def placed(street: Street, *, more: int) -> None:
    """Wait until so many more orders are acknowledged."""
    wanted = len(street.acknowledged) + more
    wait_until(lambda: len(street.acknowledged) >= wanted, seconds=WITHIN_SECONDS, what=f"{more} more orders")


def _append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)
