"""What a list asks its database for, by which index it is read, and how much work that is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections
from django.test.utils import CaptureQueriesContext

T = TypeVar("T")


def statements(using: str, call: Callable[[], T]) -> tuple[T, list[str]]:
    """What a call returns, and the statements that it sends to a database."""
    with CaptureQueriesContext(connections[using]) as captured:
        found = call()
    return found, [query["sql"] for query in captured.captured_queries]


def ask(using: str, sql: str) -> list[dict[str, Any]]:
    """The rows that a statement brings, by column; sent as it stands."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql.replace("%", "%%"), [])
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []


def on_mariadb(using: str) -> bool:
    """Whether a database is one of MariaDB."""
    return connections[using].vendor == "mysql"


def work_of(sqls: list[str], using: str) -> int:
    """How many rows and index entries statements read on MariaDB; on SQLite how many steps they take."""
    if on_mariadb(using):
        ask(using, "FLUSH STATUS")
        for sql in sqls:
            ask(using, sql)
        counts = {row["Variable_name"]: int(row["Value"]) for row in ask(using, "SHOW SESSION STATUS LIKE 'Handler_%'")}
        # Entries that a condition on the index passes over count as looked at, not as read.
        return sum(n for name, n in counts.items() if name.startswith(("Handler_read_", "Handler_icp_attempts")))
    steps = itertools.count()
    connection = connections[using].connection
    connection.set_progress_handler(lambda: 0 * next(steps), 1)
    for sql in sqls:
        ask(using, sql)
    connection.set_progress_handler(None, 1)
    return next(steps)
