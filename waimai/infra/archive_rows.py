"""The rows of a month in the database: read in batches, put back, thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections, transaction

from waimai.infra import partitions
from waimai.infra.archive_files import Row, TableFile, describe, line_of
from waimai.infra.months import Month

AT_ONCE = 500


def archived_models() -> list[Any]:
    """The partitioned tables, and those whose rows leave with a month that way."""
    return partitions.partitioned_models() + [model for model in apps.get_models() if getattr(model, "archived_by", "")]


@dataclass(frozen=True)
class Slice:
    """What a table holds of one month. Of a partitioned table that is the month's partition, to the row."""

    model: Any
    using: str
    month: Month

    @property
    def table(self) -> str:
        """The table's name."""
        return str(self.model._meta.db_table)

    @property
    def column(self) -> str:
        """The column that tells a row's month."""
        return str(self.model.partitioned_by or self.model.archived_by)

    @property
    def keys(self) -> list[str]:
        """The columns of the primary key."""
        return [str(field.column) for field in self.model._meta.pk_fields]

    def columns(self) -> list[str]:
        """Every column that the table has now."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(f"SELECT * FROM {self.table} LIMIT 0")  # noqa: S608 - names of our own, here and below
            return [column[0] for column in cursor.description]

    def batches(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        """These columns of all its rows, by primary key."""
        if (source := self._source()) is None:
            return
        last = (0 if self.model.partitioned_by else self.month.lowest_id) - 1
        below = self.month.below
        names, order = ", ".join(columns), ", ".join(self.keys)
        while True:
            upto = self._ask(
                f"SELECT MAX(k) FROM (SELECT {self.column} AS k FROM {source} WHERE {self.column} > %s "  # noqa: S608
                f"AND {self.column} < %s ORDER BY {self.column} LIMIT {AT_ONCE}) AS x",
                last,
                below,
            )[0][0]
            if upto is None:
                return
            where = f"{self.column} > %s AND {self.column} <= %s"
            yield self._ask(f"SELECT {names} FROM {source} WHERE {where} ORDER BY {order}", last, upto)  # noqa: S608
            last = upto

    def describe(self, columns: Sequence[str]) -> TableFile:
        """What a manifest would say of its rows as they are now."""
        return describe(self.table, columns, self.batches(columns))

    def is_empty(self) -> bool:
        """Whether it has no rows."""
        return next(iter(self.batches(self.keys)), None) is None

    def put_back(self, rows: Sequence[dict[str, Any]]) -> None:
        """Insert those of the rows that aren't there."""
        names = list(rows[0])
        there = set(self._of(self.keys, rows))
        missing = [tuple(row.values()) for row in rows if tuple(row[key] for key in self.keys) not in there]
        if not missing:
            return
        places = ", ".join([f"({', '.join(['%s'] * len(names))})"] * len(missing))
        with transaction.atomic(using=self.using), connections[self.using].cursor() as cursor:
            values = [value for row in missing for value in row]
            cursor.execute(f"INSERT INTO {self.table} ({', '.join(names)}) VALUES {places}", values)  # noqa: S608

    def delete(self, rows: Sequence[dict[str, Any]]) -> None:
        """Delete those of the rows that stand there to the letter."""
        names = list(rows[0])
        written = {line_of(names, list(row.values())) for row in rows}
        place = [names.index(key) for key in self.keys]
        same = [tuple(row[n] for n in place) for row in self._of(names, rows) if line_of(names, row) in written]
        if not same:
            return
        with transaction.atomic(using=self.using), connections[self.using].cursor() as cursor:
            cursor.execute(f"DELETE FROM {self.table} WHERE ({', '.join(self.keys)}) IN %s", [same])  # noqa: S608

    def _of(self, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Sequence[Row]:
        """These columns of the rows that belong to the same orders or payments as those given."""
        wanted = sorted({row[self.column] for row in rows})
        return self._ask(f"SELECT {', '.join(columns)} FROM {self.table} WHERE {self.column} IN %s", wanted)  # noqa: S608

    def _source(self) -> str | None:
        if not self.model.partitioned_by:
            return self.table
        name = partitions.name_of(self.month)
        there = any(part.name == name for part in partitions.of_table(self.model, self.using))
        return f"{self.table} PARTITION ({name})" if there else None

    def _ask(self, sql: str, *arguments: Any) -> Sequence[Row]:
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())
