"""Django's MySQL backend, whose connections in web processes end when their server stands still."""

from __future__ import annotations

from typing import Any

import MySQLdb
from django.db.backends.mysql import base

from waimai.infra import outages, pulse

# What concerns the session, which a mere knock at the door doesn't need.
SESSION = ("init_command", "database")


class DatabaseWrapper(base.DatabaseWrapper):
    """The same, but it asks the server's pulse before it connects."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection. Raises OperationalError 2003 at once while the server is known to stand still."""
        beats = pulse.of(_address(conn_params), lambda: _knock(conn_params))
        if beats is None:
            return super().get_new_connection(conn_params)
        if beats.stopped:
            raise MySQLdb.OperationalError(2003, f"{beats.name} stands still; asked again when it moves")
        connection = super().get_new_connection(conn_params)
        beats.watch(connection)
        return connection


def _address(conn_params: dict[str, Any]) -> str:
    return str(conn_params.get("unix_socket") or f"{conn_params.get('host', '')}:{conn_params.get('port', 3306)}")


def _knock(conn_params: dict[str, Any]) -> None:
    """Connect and leave again. A server that refuses us, as it has no room or doesn't know us, is alive."""
    plain = {name: value for name, value in conn_params.items() if name not in SESSION}
    limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), pulse.ANSWERS_WITHIN_SECONDS)
    try:
        MySQLdb.connect(**plain | limits).close()
    except MySQLdb.OperationalError as error:
        if error.args[0] in outages.CLIENT_CODES:
            raise
