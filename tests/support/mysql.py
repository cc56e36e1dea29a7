"""The MariaDB databases of one test process: made, dropped, and swept up after a run that was killed."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from tests.support import processes

HOST, PORT, USER = "127.0.0.1", 3306, "root"
CONNECTIONS = 600
PREFIX = "waimai_test_"


def name(alias: str) -> str:
    """The database behind `alias` in this process: the process id tells runs apart."""
    return f"{PREFIX}{os.getpid()}_{alias}"


def url(alias: str) -> str:
    """The URL the settings read."""
    return f"mysql://{USER}@{HOST}:{PORT}/{name(alias)}"


def make(aliases: list[str]) -> None:
    """Create this process's databases, empty."""
    _execute([f"CREATE DATABASE `{name(alias)}` CHARACTER SET utf8mb4" for alias in aliases])


def drop(aliases: list[str]) -> None:
    """Drop this process's databases."""
    _execute([f"DROP DATABASE IF EXISTS `{name(alias)}`" for alias in aliases])


def make_room() -> None:
    """Let in more connections than a fresh server does (151): fifty customers at once have two each, and several test
    processes run side by side."""
    _execute([f"SET GLOBAL max_connections = {CONNECTIONS}"])


def drop_leftovers() -> None:
    """Drop the databases of test processes that are no more."""
    with closing(_connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SHOW DATABASES LIKE %s", [PREFIX.replace("_", r"\_") + "%"])
        names = [row[0] for row in cursor.fetchall()]
    _execute([f"DROP DATABASE IF EXISTS `{found}`" for found in names if not processes.exists(_owner(found))])


def _owner(database: str) -> str:
    return database.removeprefix(PREFIX).partition("_")[0]


def _execute(statements: list[str]) -> None:
    with closing(_connect()) as connection, closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)


def _connect() -> Any:
    import MySQLdb  # An extra: a run on SQLite does without.

    return MySQLdb.connect(host=HOST, port=PORT, user=USER)
