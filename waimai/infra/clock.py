"""The database's clock: what is due, late or expired is decided by it, never by the application's."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connections

NOW_SQL = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    "mysql": "SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%d %H:%i:%s.%f')",
}


def db_now(using: str) -> datetime:
    """The present by the clock of the database `using`: aware, UTC, to the millisecond or better."""
    connection = connections[using]
    with connection.cursor() as cursor:
        # No parameters: the driver then leaves the per cent signs of the format alone.
        cursor.execute(NOW_SQL[connection.vendor])
        return datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=UTC)
