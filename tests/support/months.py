"""Orders of other months, and the partitions they lie in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import pytest
from django.db import connections

from tests.factories import Person, Stall, neighbour_of, person, stall, works_at
from waimai.infra import ids, partitions, sharding
from waimai.infra.archive_rows import archived_models
from waimai.infra.clock import db_now
from waimai.infra.months import Month

_numbers = itertools.count()
Tables = dict[tuple[str, str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Town:
    """A shop, its manager, and a customer on either shard."""

    stall: Stall
    lan: Person
    mei: Person
    tao: Person

    @classmethod
    def make(cls) -> Self:
        """Mei's orders lie on orders_0, Tao's on orders_1."""
        at, mei = stall(), person()
        tao = neighbour_of(mei, same_shard=False)
        if mei.shard != "orders_0":
            mei, tao = tao, mei
        return cls(at, works_at(at.shop_id, "manager"), mei, tao)


def this_month() -> Month:
    return Month.of(db_now("default"))


@contextmanager
def ids_made_in(month: Month, *, after: timedelta = timedelta(days=9)) -> Iterator[None]:
    """Whatever this process makes now gets the ids of another month, of so long after its beginning."""
    start = month.lowest_id + (int(after.total_seconds()) << ids.SECONDS_SHIFT)

    def new_id(bucket: int) -> int:
        seconds, number = divmod(next(_numbers), 4096)
        return start + (seconds << ids.SECONDS_SHIFT) + (bucket << 12) + number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "new_id", new_id)
        yield


def have_months(months: Sequence[Month]) -> None:
    """Partition every table anew, as a system that is as old as the first of these months."""
    parts = partitions._definitions(months, end=partitions.PMAX, below=None)
    for alias in sharding.shards():
        for model in partitions.partitioned_models():
            partitions._alter(model, alias, f"PARTITION BY RANGE ({model.partitioned_by}) ({parts})")


def names(model: Any, alias: str) -> list[str]:
    return [part.name for part in partitions.of_table(model, alias)]


def everything() -> Tables:
    """Every row of every table that months leave, by shard and table."""
    found: Tables = {}
    for alias in sharding.shards():
        for model in archived_models():
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SELECT * FROM {model._meta.db_table}")
                found[alias, model._meta.db_table] = sorted(cursor.fetchall())
    return found


def count(tables: Tables) -> int:
    return sum(map(len, tables.values()))


def misplaced() -> list[str]:
    """Partitions with rows that aren't of their month; `+ 0` keeps the database from believing its own pruning."""
    found = []
    for alias in sharding.shards():
        for model in partitions.partitioned_models():
            low = 0
            for part in partitions.of_table(model, alias):
                key, table = model.partitioned_by, model._meta.db_table
                high = part.below if part.below is not None else 1 << 62
                elsewhere = f"{key} + 0 < {low} OR {key} + 0 >= {high}"
                sql = f"SELECT COUNT(*) FROM {table} PARTITION ({part.name}) WHERE {elsewhere}"
                with connections[alias].cursor() as cursor:
                    cursor.execute(sql)
                    if cursor.fetchone()[0]:
                        found.append(f"{alias} {table} {part.name}")
                low = high
    return found
