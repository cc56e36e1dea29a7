"""Transactions that are tried again when the database asks for it, and reading by a named index."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import OperationalError, connections, models, transaction
from django.db.models.sql.datastructures import BaseTable

from waimai.infra.crashpoints import Around
from waimai.infra.errors import ServiceUnavailable

T = TypeVar("T")
M = TypeVar("M", bound=models.Model)
# Deadlock, lock wait timeout, record changed since last read: MySQL's and MariaDB's ways to say "once more".
RETRIED_MYSQL_CODES = frozenset({1213, 1205, 1020})
LONGEST_PAUSE_SECONDS = 0.1


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


def by_index(rows: models.QuerySet[M], name: str) -> models.QuerySet[M]:
    """The rows, read by this index from the place where they begin; for lists that are paged by keyset.

    MariaDB and MySQL like to look at a keyset's other column on every row instead, and so read all that comes before
    the page in its month. SQLite chooses well by itself.
    """
    found = rows.all()
    alias = found.query.get_initial_alias()
    table = found.query.alias_map[alias] = _ByIndex(rows.model._meta.db_table, alias)
    table.index = name
    return found


class _ByIndex(BaseTable):
    index: str

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """The table as FROM names it."""
        sql, params = super().as_sql(compiler, connection)
        return (f"{sql} FORCE INDEX ({self.index})" if connection.vendor == "mysql" else sql), params
