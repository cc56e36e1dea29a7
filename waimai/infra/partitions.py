"""Monthly partitions of the tables that grow with every order, on MySQL and MariaDB.

A model names in `partitioned_by` the column that holds its ids; that list is all there is. Ids are ordered by time, so
RANGE partitions of that column are months (UTC): `p202611` holds what is below the first id of December. The first
partition takes everything older, the last one, `pmax`, everything newer: it is split while it is still empty.
On SQLite there is nothing to partition, and everything here does nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.apps import apps
from django.db import OperationalError, connections, models

from waimai.infra.clock import db_now
from waimai.infra.db import RETRIED_MYSQL_CODES
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.months import Month

logger = logging.getLogger(__name__)

PMAX = "pmax"
MONTHS_AHEAD = 3
LEAST_MONTHS_AHEAD = 1
# A change of partitions needs the table for itself. While it waits for the transactions on it, whoever comes after
# waits for the change: so it first looks for a moment when there are none (on MariaDB; MySQL knows no shorter wait than
# a second), and only then stands in line, not for long.
LOCK_WAIT_SECONDS = 1
TRIES = [(0, 0.05)] * 8 + [(LOCK_WAIT_SECONDS, 0.5)] * 20  # Seconds to wait in line, and to pause after that.
# Shorter than what a statement may take (20 s), or the wait would end as a lost connection.
OTHERS_END_WITHIN_SECONDS = 10
SIZES = """
    SELECT partition_name, partition_description, table_rows, data_length + index_length
    FROM information_schema.partitions
    WHERE table_schema = DATABASE() AND table_name = %s AND partition_name IS NOT NULL
    ORDER BY partition_ordinal_position
"""


class Partition(NamedTuple):
    """One partition: ids from the end of the one before up to `below` (None: no end). `rows` is an estimate."""

    name: str
    below: int | None
    rows: int
    bytes: int

    @property
    def month(self) -> Month | None:
        """The month it ends with; None for `pmax`."""
        return None if self.below is None else Month.of_id(self.below - 1)


def name_of(month: Month) -> str:
    """What the partition of a month is called."""
    return f"p{month.year:04}{month.number:02}"


def partitioned_models() -> list[Any]:
    """The models whose tables are partitioned by month."""
    return [model for model in apps.get_models() if getattr(model, "partitioned_by", "")]


def applies_to(using: str) -> bool:
    """Whether a database can be partitioned at all."""
    return connections[using].vendor == "mysql"


def of_table(model: type[models.Model], using: str) -> list[Partition]:
    """The partitions of a model's table, oldest first; empty when it isn't partitioned (yet)."""
    with connections[using].cursor() as cursor:
        cursor.execute(SIZES, [model._meta.db_table])
        return [
            Partition(name, None if below == "MAXVALUE" else int(below), int(rows or 0), int(size or 0))
            for name, below, rows, size in cursor.fetchall()
        ]


# --- making them ---


def partition_app(app_label: str) -> Callable[[Any, Any], None]:
    """For a migration's RunPython: partition those tables of an app that are there and aren't partitioned yet."""

    def run(historical: Any, schema_editor: Any) -> None:
        using = schema_editor.connection.alias
        there = {model._meta.model_name for model in historical.get_app_config(app_label).get_models()}
        if not applies_to(using):
            return
        for model in partitioned_models():
            label, name = model._meta.app_label, model._meta.model_name
            if label == app_label and name in there and not of_table(model, using):
                partition(model, using)

    return run


def partition(model: Any, using: str) -> None:
    """Partition a table from the month of its oldest row, or the last one, to three months ahead. Copies its rows."""
    now = Month.of(db_now(using))
    oldest = _one(using, f"SELECT MIN({model.partitioned_by}) FROM {model._meta.db_table}")  # noqa: S608 - own names
    first = now.plus(-1) if oldest is None else min(now.plus(-1), Month.of_id(oldest))
    parts = _definitions(first.until(now.plus(MONTHS_AHEAD)), end=PMAX, below=None)
    _alter(model, using, f"PARTITION BY RANGE ({model.partitioned_by}) ({parts})")


def keep_ahead(using: str, months: int = MONTHS_AHEAD) -> int:
    """Split months off `pmax` until so many are ahead; returns how many were made. Twice, or two at once, is harmless.

    A `pmax` that has rows in it is left to `manage.py partitions add`: splitting it copies them under a lock.
    """
    return _add(using, months, even_filled=False)


def add(using: str, months: int) -> int:
    """`keep_ahead`, also where `pmax` has rows: nobody can write to a table while its rows are copied.

    Waits for whoever is changing partitions now: a person who asks for months wants them made.
    """
    return _add(using, months, even_filled=True, wait_seconds=OTHERS_END_WITHIN_SECONDS)


def _add(using: str, months: int, *, even_filled: bool, wait_seconds: int = 0) -> int:
    if not applies_to(using):
        return 0
    made = 0
    with alone(using, wait_seconds=wait_seconds) as mine:
        for model in partitioned_models() if mine else ():
            wanted = _missing(model, using, months)
            if wanted and not even_filled and _has_rows(model, using, PMAX):
                logger.error("%s: %s has rows in pmax: run manage.py partitions add", using, model._meta.db_table)
            elif wanted:
                split(model, using, PMAX, wanted)
                made += len(wanted)
    return made


def _missing(model: Any, using: str, months: int) -> list[Month]:
    """The months between the last that has a partition and the last that should have one."""
    present = [part.month for part in of_table(model, using) if part.month]
    return present[-1].plus(1).until(Month.of(db_now(using)).plus(months)) if present else []


def split(model: Any, using: str, part: str, months: Sequence[Month]) -> None:
    """Split partitions of their own for these months, oldest first, off the lower end of a partition."""
    (whole,) = [each for each in of_table(model, using) if each.name == part]
    parts = _definitions(months, end=part, below=whole.below)
    _alter(model, using, f"REORGANIZE PARTITION {part} INTO ({parts})")


def empty(model: Any, using: str, month: Month) -> None:
    """Throw away the rows of a month, whole, and the partitions before it, which are empty already.

    The month's own partition stays, empty, as the one that takes everything older: were it dropped, its range would
    fall to the month after it, and splitting it off again would copy that month's rows under a lock.
    """
    present = of_table(model, using)
    if name_of(month) not in [part.name for part in present]:
        return
    before = [part.name for part in present if part.month and part.month < month]
    if filled := [name for name in before if _has_rows(model, using, name)]:
        raise ValueError(f"{model._meta.db_table}: {', '.join(filled)} still has rows")
    if _has_rows(model, using, name_of(month)):
        _alter(model, using, f"TRUNCATE PARTITION {name_of(month)}")
    if before:
        _alter(model, using, f"DROP PARTITION {', '.join(before)}")


def make_room(model: Any, using: str, month: Month) -> None:
    """Make the partition of a month that was dropped again, and an empty one below it for what is older still."""
    present = of_table(model, using)
    names = {part.name for part in present}
    if name_of(month) in names:
        return
    following = next(part for part in present if part.below is None or part.below > month.below)
    split(model, using, following.name, [m for m in (month.plus(-1), month) if name_of(m) not in names])


@contextmanager
def alone(using: str, *, wait_seconds: int = 0) -> Iterator[bool]:
    """Whether nobody else is changing partitions of this database, and nobody will while this lasts."""
    lock = f"partitions of {connections[using].settings_dict['NAME']}"[:64]
    got = _one(using, "SELECT GET_LOCK(%s, %s)", lock, wait_seconds) == 1
    try:
        yield got
    finally:
        if got:
            _one(using, "SELECT RELEASE_LOCK(%s)", lock)


# --- what is wrong with them ---


def problems(using: str) -> Iterator[str]:
    """What somebody has to look after: tables that are not partitioned, few months ahead, rows beyond the last one."""
    if not applies_to(using):
        return
    now = Month.of(db_now(using))
    for model in partitioned_models():
        table = model._meta.db_table
        months = [part.month for part in of_table(model, using) if part.month]
        if not months:
            yield f"table {table}: is not partitioned"
            continue
        if months[-1] < now.plus(LEAST_MONTHS_AHEAD):
            yield f"table {table}: its last partition is that of {months[-1]}"
        if _has_rows(model, using, PMAX):
            yield f"table {table}: rows lie in pmax"


def _has_rows(model: Any, using: str, part: str) -> bool:
    return _one(using, f"SELECT 1 FROM {model._meta.db_table} PARTITION ({part}) LIMIT 1") is not None  # noqa: S608 - own names


# --- SQL ---


def _definitions(months: Sequence[Month], *, end: str, below: int | None) -> str:
    """The partitions of some months, and then one called `end` up to `below`."""
    parts = [f"PARTITION {name_of(month)} VALUES LESS THAN ({month.below})" for month in months]
    last = "MAXVALUE" if below is None else f"({below})"
    return ", ".join([*parts, f"PARTITION {end} VALUES LESS THAN {last}"])


def _alter(model: Any, using: str, change: str) -> None:
    """ALTER TABLE, tried again when the table was busy. Raises ServiceUnavailable when it always is."""
    for wait_seconds, pause_seconds in TRIES:
        try:
            _alter_once(model, using, change, wait_seconds)
        except OperationalError as error:
            if error.args[0] not in RETRIED_MYSQL_CODES:
                raise
            if wait_seconds:
                logger.warning("%s: %s is busy", using, model._meta.db_table)
            time.sleep(pause_seconds)
        else:
            return
    raise ServiceUnavailable


def _alter_once(model: Any, using: str, change: str, wait_seconds: int) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {wait_seconds}")
        try:
            cursor.execute(f"ALTER TABLE {model._meta.db_table} {change}")
        finally:
            cursor.execute("SET SESSION lock_wait_timeout = DEFAULT")


def _one(using: str, sql: str, *arguments: Any) -> Any:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, arguments)
        row = cursor.fetchone()
        return row[0] if row else None
