"""The databases of one test process: migrated once, emptied after each test with plain DELETEs.

No transaction is rolled back and nothing is truncated: tests see committed rows, as other connections and threads do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command, get_commands
from django.db import connections

from tests.support import canaries, mysql
from waimai.infra import breaker, ratelimit, short_redis

# Rows that live as long as the process does, though no migration wrote them.
KEPT_TABLES = {"infra_workerlease", "infra_worker"}
AFTER_EACH_TEST: list[Callable[[], None]] = [
    cache.clear,
    ratelimit.own_buckets.clear,
    short_redis.ask_again,
    breaker.forget_all,
]


def after_each_test(forget: Callable[[], None]) -> Callable[[], None]:
    """Call `forget` after each test that touched data: for caches inside the process. Usable as a decorator."""
    AFTER_EACH_TEST.append(forget)
    return forget


class Databases:
    """Every database the settings name."""

    def __init__(self) -> None:
        self.aliases = list(settings.DATABASES)
        self.on_mysql = settings.DATABASES["default"]["ENGINE"].endswith("mysql")
        self.emptied: dict[str, list[str]] = {}

    def make(self) -> None:
        """Create and migrate all of them, and note which tables the migrations filled: those stay."""
        if self.on_mysql:
            mysql.make(self.aliases)
        _migrate(self.aliases)
        for alias in self.aliases:
            tables = connections[alias].introspection.table_names()
            kept = KEPT_TABLES | set(self._filled(alias, tables))
            self.emptied[alias] = [table for table in tables if table not in kept]

    def empty(self) -> None:
        """Delete every row that the migrations didn't write, and what the process remembers of them."""
        self._look_at_the_admins_log()
        for alias in self.aliases:
            if filled := self._filled(alias, self.emptied[alias]):
                self._delete(alias, filled)
        for forget in AFTER_EACH_TEST:
            forget()

    def drop(self) -> None:
        """Close the connections of this thread and drop what the server keeps; the files go with their folder."""
        connections.close_all()
        if self.on_mysql:
            mysql.drop(self.aliases)

    def _look_at_the_admins_log(self) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT object_repr, change_message FROM django_admin_log")
            for row in cursor.fetchall():
                canaries.watch.look("the admin's log", " ".join(map(str, row)))

    def _filled(self, alias: str, tables: list[str]) -> list[str]:
        if not tables:
            return []
        quote = connections[alias].ops.quote_name
        probes = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})" for table in tables)
        with connections[alias].cursor() as cursor:
            cursor.execute(" UNION ALL ".join(probes))
            return [row[0] for row in cursor.fetchall()]

    def _delete(self, alias: str, tables: list[str]) -> None:
        connection = connections[alias]
        with connection.constraint_checks_disabled(), connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


def _migrate(aliases: list[str]) -> None:
    quiet: dict[str, Any] = {"verbosity": 0, "interactive": False}
    if "migrate_all" in get_commands():
        call_command("migrate_all", verbosity=0)
        return
    for alias in aliases:
        call_command("migrate", database=alias, **quiet)
