"""Monthly partitions on a MariaDB of their own: made for filled tables, kept ahead, split by hand, by two at once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from orders.models import Order
from tests.factories import at_once, audit, completed
from tests.support import months
from tests.support.fleet import Fleet
from tests.support.months import Town, this_month
from waimai.infra import housekeeping, partitions
from waimai.infra.sharding import shards

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]
SHARD = "orders_0"
HELD_SECONDS = 3.0


@pytest.fixture(autouse=True)
def town(fleet: Fleet) -> Town:
    """Somebody who orders, and a shop; on a MariaDB of this test's own."""
    return Town.make()


def later(monkeypatch: pytest.MonkeyPatch, by_months: int) -> None:
    """The databases' clocks are in a later month."""
    month = this_month().plus(by_months)
    monkeypatch.setattr(partitions, "db_now", lambda using: datetime(month.year, month.number, 15, tzinfo=UTC))


def test_a_filled_table_keeps_its_rows_when_it_is_partitioned(town: Town) -> None:
    now = this_month()
    for alias in shards():
        for model in partitions.partitioned_models():
            partitions._alter(model, alias, "REMOVE PARTITIONING")
    assert "I4 table orders_order: is not partitioned [orders_0]" in audit()
    with months.ids_made_in(now.plus(-3)):
        completed(town.mei, town.stall, town.lan, key="k-1")
    completed(town.mei, town.stall, town.lan, key="k-2")
    before = months.everything()
    with connections[SHARD].schema_editor() as editor:
        for app in ("orders", "payments"):
            partitions.partition_app(app)(apps, editor)
            partitions.partition_app(app)(apps, editor)
    assert months.names(Order, SHARD)[0] == partitions.name_of(now.plus(-3))
    assert months.everything() == before
    assert months.misplaced() == []


def test_months_are_made_ahead_once(monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 2)
    assert partitions.keep_ahead(SHARD) == 2 * len(partitions.partitioned_models())
    assert partitions.keep_ahead(SHARD) == 0
    assert months.names(Order, SHARD)[-2:] == [partitions.name_of(this_month().plus(5)), "pmax"]


def test_two_at_once_make_each_month_once(monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 1)
    found = at_once(*[lambda: partitions.keep_ahead(SHARD)] * 4)
    assert sorted(str(made) for made in found) == ["0", "0", "0", str(len(partitions.partitioned_models()))]
    assert months.names(Order, SHARD)[-2:] == [partitions.name_of(this_month().plus(4)), "pmax"]


def test_a_person_waits_for_whoever_changes_them_now() -> None:
    held = threading.Event()

    def hold() -> int:
        with partitions.alone(SHARD) as mine:
            held.set()
            time.sleep(0.5)
            return int(mine)

    def ask() -> int:
        held.wait()
        return partitions.add(SHARD, 4)

    assert at_once(hold, ask) == [1, len(partitions.partitioned_models())]


def test_the_house_is_kept_a_month_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 1)
    assert housekeeping.keep_house() == 2 * len(partitions.partitioned_models())


def test_rows_beyond_the_last_month_are_reported_and_split_by_hand(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with months.ids_made_in(this_month().plus(5)):
        completed(town.mei, town.stall, town.lan)
    before = months.everything()
    line = "I4 table orders_order: rows lie in pmax [orders_0]"
    assert line in audit()
    with pytest.raises(CommandError, match="rows lie in pmax"):
        call_command("partitions", "look")
    later(monkeypatch, 1)
    # The ledger's and the others' pmax is left alone: only a person may lock a table for as long as copying takes.
    assert partitions.keep_ahead(SHARD) == 0
    call_command("partitions", "add", "--months", "6")
    assert "orders_0: 20 partitions made" in capsys.readouterr().out
    assert (months.everything(), months.misplaced()) == (before, [])
    assert line not in audit()


def test_a_busy_table_is_waited_for_and_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that stays open for long: whoever comes after the ALTER waits for it one second at most."""
    monkeypatch.setattr(partitions, "TRIES", [(0, 0.01)] * 3 + [(partitions.LOCK_WAIT_SECONDS, 0.1)] * 20)
    later(monkeypatch, 1)
    waits: list[float] = []
    reading, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using=SHARD):
            list(Order.objects.on(SHARD)[:1])
            reading.set()
            time.sleep(HELD_SECONDS)

    def others() -> None:
        while not done.wait(0.01):
            started = time.monotonic()
            list(Order.objects.on(SHARD)[:1])
            waits.append(time.monotonic() - started)

    def change() -> int:
        reading.wait(5)
        try:
            return partitions.keep_ahead(SHARD)
        finally:
            done.set()

    _held, _others, made = at_once(hold, others, change)
    assert made == len(partitions.partitioned_models())
    assert 0.5 < max(waits) < HELD_SECONDS - 1
