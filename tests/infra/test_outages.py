"""What is told apart: a database that can't serve now, and a mistake in the program."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connections,
)

from waimai.infra.http import as_domain_error
from waimai.infra.outages import is_outage


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(2002, "Can't connect to local server through socket"),
        OperationalError(2003, "Can't connect to MySQL server"),
        OperationalError(2006, "Server has gone away"),
        OperationalError(2013, "Lost connection to server during query"),
        OperationalError(1040, "Too many connections"),
        OperationalError(1203, "User has already more than 'max_user_connections' active connections"),
        OperationalError(1290, "The MariaDB server is running with the --read-only option"),
        InternalError(1290, "as older drivers say it"),
        OperationalError(1021, "Disk full"),
        OperationalError(1114, "The table 'orders_order' is full"),
        OperationalError(3100, "Error on observer while running replication hook"),
        OperationalError(1205, "Lock wait timeout exceeded"),
        OperationalError(1213, "Deadlock found"),
        OperationalError(1053, "Server shutdown in progress"),
        OperationalError("database or disk is full"),
        OperationalError("disk I/O error"),
        OperationalError("unable to open database file"),
        OperationalError("attempt to write a readonly database"),
        OperationalError("database is locked"),
        InterfaceError(0, ""),
    ],
    ids=str,
)
def test_a_part_that_is_down_or_full_is_unavailable(error: Exception) -> None:
    refusal = as_domain_error(error)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after) == (503, "service_unavailable", 2)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(1054, "Unknown column 'nmae' in 'field list'"),
        OperationalError("no such table: orders_order"),
        OperationalError(),
        ProgrammingError(1064, "You have an error in your SQL syntax"),
        IntegrityError(1062, "Duplicate entry"),
        DatabaseError("Save with update_fields did not affect any rows"),
        ValueError(2006),
    ],
    ids=str,
)
def test_a_mistake_in_the_program_is_none(error: Exception) -> None:
    assert as_domain_error(error) is None


def test_sqlite_says_it_in_these_words(tmp_path: Path) -> None:
    def locked() -> None:
        with closing(sqlite3.connect(path)) as holder, closing(sqlite3.connect(path, timeout=0)) as other:
            holder.execute("BEGIN IMMEDIATE")
            other.execute("BEGIN IMMEDIATE")

    def full() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a)")
            connection.execute("PRAGMA max_page_count=2")
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")

    def missing() -> None:
        sqlite3.connect(tmp_path / "nowhere" / "db").execute("SELECT 1")

    path = tmp_path / "db"
    for fails in (locked, full, missing):
        assert is_outage(OperationalError(_words(fails)))


def _words(fails: Callable[[], None]) -> str:
    with pytest.raises(sqlite3.OperationalError) as caught:
        fails()
    return str(caught.value)


@pytest.mark.data
def test_an_unknown_column_is_a_mistake_on_every_backend() -> None:
    with pytest.raises(DatabaseError) as caught, connections["default"].cursor() as cursor:
        cursor.execute("SELECT nmae FROM menu_shop")
    assert not is_outage(caught.value)
