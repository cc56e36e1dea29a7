"""Monthly partitions: which tables have them, and what the migrations made. More in tests/faults/test_partitions.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import models

from tests.factories import audit
from tests.support.months import this_month
from waimai.infra import ids, partitions
from waimai.infra.months import Month
from waimai.infra.sharding import shards

SHARD = "orders_0"


# --- months ---


@pytest.mark.once
@pytest.mark.parametrize(
    ("month", "by", "expected"),
    [("2026-11", 1, "2026-12"), ("2026-11", 2, "2027-01"), ("2026-01", -1, "2025-12"), ("2026-03", -27, "2023-12")],
)
def test_months_are_counted_over_the_year(month: str, by: int, expected: str) -> None:
    assert str(Month.parse(month).plus(by)) == expected


@pytest.mark.once
@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-1", "11-2026", "", "2026-11-01"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="not a month"):
        Month.parse(text)


@pytest.mark.once
def test_a_month_ends_where_the_next_begins() -> None:
    november = Month(2026, 11)
    last = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert ids.lowest_id(last) < november.below == ids.lowest_id(last + timedelta(seconds=1))
    assert Month.of_id(november.below - 1) == november
    assert Month.of_id(november.below) == Month(2026, 12)


# --- which tables ---


@pytest.mark.once
def test_the_growing_tables_are_partitioned() -> None:
    declared = {model._meta.label: model.partitioned_by for model in partitions.partitioned_models()}
    assert declared == {
        "orders.Order": "id",
        "orders.OrderLine": "order_id",
        "orders.OrderChange": "order_id",
        "payments.Payment": "id",
        "payments.LedgerEntry": "id",
    }


@pytest.mark.once
@pytest.mark.parametrize("model", partitions.partitioned_models(), ids=lambda model: model.__name__)
def test_no_key_of_a_partitioned_table_is_unique_but_one_with_its_ids(model: type[models.Model]) -> None:
    column = model.partitioned_by  # type: ignore[attr-defined]
    assert column in {field.column for field in model._meta.pk_fields}
    assert not [x for x in model._meta.constraints if isinstance(x, models.UniqueConstraint)]
    assert not [x.name for x in model._meta.local_concrete_fields if x.unique and not x.primary_key]


@pytest.mark.once
def test_what_leaves_with_a_month_is_found_by_an_index() -> None:
    for model in apps.get_models():
        if column := getattr(model, "archived_by", ""):
            first = [index.fields[0] for index in model._meta.indexes] + [model._meta.pk_fields[0].name]
            assert column in first, model


# --- SQLite ---


@pytest.mark.data
@pytest.mark.once
def test_on_sqlite_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert [partitions.keep_ahead(alias) for alias in shards()] == [0, 0]
    assert [*partitions.problems(SHARD)] == []
    for words in (
        ["look"],
        ["add"],
        ["archive", "--before", "2024-01", "--to", f"{tmp_path}"],
        ["restore", f"{tmp_path}"],
    ):
        call_command("partitions", *words)
        assert capsys.readouterr().out.count("SQLite has no partitions") == 2


# --- MariaDB ---


def later(monkeypatch: pytest.MonkeyPatch, by_months: int) -> None:
    """The databases' clocks are in a later month."""
    month = this_month().plus(by_months)
    monkeypatch.setattr(partitions, "db_now", lambda using: datetime(month.year, month.number, 15, tzinfo=UTC))


@pytest.mark.data
@pytest.mark.mariadb
def test_the_migrations_made_the_last_month_and_three_ahead() -> None:
    now = this_month()
    for alias in shards():
        for model in partitions.partitioned_models():
            parts = partitions.of_table(model, alias)
            assert [part.month for part in parts] == [*now.plus(-1).until(now.plus(3)), None]
            assert [part.below for part in parts[:-1]] == [part.month.below for part in parts[:-1] if part.month]
    assert audit() == []


@pytest.mark.data
@pytest.mark.mariadb
def test_too_few_months_ahead_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, 2)
    assert [*partitions.problems(SHARD)] == []
    later(monkeypatch, 3)
    last = this_month().plus(3)
    assert f"table orders_order: its last partition is that of {last}" in [*partitions.problems(SHARD)]


@pytest.mark.data
@pytest.mark.mariadb
def test_look_shows_every_partition(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("partitions", "look")
    shown = capsys.readouterr().out
    assert "orders_1 payments_ledgerentry" in shown
    assert shown.count("pmax") == 2 * len(partitions.partitioned_models())
    assert f"below {this_month().below}" in shown
