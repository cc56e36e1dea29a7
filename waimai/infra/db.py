"""Transactions that are tried again, and inserts that say whether they went in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import OperationalError, connections, models, transaction

from waimai.infra.crashpoints import Around
from waimai.infra.errors import ServiceUnavailable

T = TypeVar("T")
# Deadlock, lock wait timeout, record changed since last read: MySQL's and MariaDB's ways to say "once more".
RETRIED_MYSQL_CODES = frozenset({1213, 1205, 1020})
LONGEST_PAUSE_SECONDS = 0.1
AS_THEY_ARE = frozenset({int, str})
# SQLite takes 32,766 in one statement; MySQL as much as fits in a packet.
MOST_PARAMETERS = 30_000


def run_atomic(using: str, body: Callable[[], T], *, tries: int = 3, commit: Around | None = None) -> T:
    """Run `body` in one transaction on `using`, again (at most `tries` times) when the database asks for it.

    `body` must be safe to run again. Inside an open transaction on `using` it simply runs: only the outermost level
    can be repeated, as MySQL has rolled back more than the inner one. `commit` names the crash points on both sides of
    the commit. Raises ServiceUnavailable when all tries failed.
    """
    if connections[using].in_atomic_block:
        return body()
    if connections[using].errors_occurred:
        # Perhaps its connection broke outside a transaction, where Django leaves it to the end of the request.
        connections[using].close_if_unusable_or_obsolete()
    for attempt in range(tries):
        try:
            with transaction.atomic(using=using):
                return body() if commit is None else _between(commit, body, using)
        except OperationalError as error:
            if not _is_worth_another_try(error):
                raise
            if attempt + 1 == tries:
                raise ServiceUnavailable from error
            time.sleep(random.uniform(0.01, LONGEST_PAUSE_SECONDS))  # noqa: S311 - a pause, not a secret
    raise ServiceUnavailable


def _between(commit: Around, body: Callable[[], T], using: str) -> T:
    # The first hook of the transaction: right after the commit, before what waits for it.
    transaction.on_commit(commit.after, using=using)
    result = body()
    commit.before()
    return result


def _is_worth_another_try(error: OperationalError) -> bool:
    code = error.args[0] if error.args else None
    return code in RETRIED_MYSQL_CODES or "database is locked" in str(error)


def insert_rows(model: type[models.Model], rows: Sequence[models.Model], *, using: str) -> None:
    """Insert new rows whose keys are known, in statements of several: `bulk_create` at a fraction of its cost.

    It skips what such rows don't need: returned ids, relations, defaults of the database, a savepoint. What counts is
    that the values are prepared by the fields as everywhere else.
    """
    if not rows:
        return
    connection = connections[using]
    fields = model._meta.local_concrete_fields
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    places = "(" + ", ".join(["%s"] * len(fields)) + ")"
    at_once = max(1, MOST_PARAMETERS // len(fields))
    with connection.cursor() as cursor:
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            values = [_prepared(field, getattr(row, field.attname), connection) for row in part for field in fields]
            sql = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES {', '.join([places] * len(part))}"  # noqa: S608 - names of our own columns
            cursor.execute(sql, values)


def _prepared(field: Any, value: Any, connection: Any) -> Any:
    """The value as the driver takes it. Whole numbers and texts go as they are, which is most of them."""
    if value is None or (type(value) in AS_THEY_ARE and not isinstance(field, models.JSONField)):
        return value
    return field.get_db_prep_save(value, connection)


def insert_ignore(model: type[models.Model], rows: Sequence[Mapping[str, Any]], *, using: str) -> int:
    """Insert rows, passing over those whose unique key is taken; returns how many went in.

    `rows` map field names to values and all name the same fields. Django's `bulk_create(ignore_conflicts=True)` gives
    no count, and under `CLIENT.FOUND_ROWS` MySQL's `ON DUPLICATE KEY` can't tell an insert from a no-op. Only for
    models of numbers, short strings and times: IGNORE would also swallow a truncation.
    """
    if not rows:
        return 0
    connection = connections[using]
    fields = [model._meta.get_field(name) for name in rows[0]]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)  # type: ignore[union-attr]
    verb = "INSERT IGNORE" if connection.vendor == "mysql" else "INSERT OR IGNORE"
    places = "(" + ", ".join(["%s"] * len(fields)) + ")"
    values = [_prepared(field, row[field.name], connection) for row in rows for field in fields]
    sql = f"{verb} INTO {quote(model._meta.db_table)} ({columns}) VALUES {', '.join([places] * len(rows))}"
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)
