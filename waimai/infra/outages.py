"""Which database errors mean "not now": a part that is down, full or busy, and not a mistake in the program.

MySQL's driver raises the same class for both, so the number decides (MariaDB: Error Codes; MySQL: Error Reference);
SQLite has none and is known by its words.
"""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError

from waimai.infra.db import RETRIED_MYSQL_CODES

# The client's side: no server there, or the connection was lost on the way.
CLIENT_CODES = frozenset({2001, 2002, 2003, 2004, 2005, 2006, 2011, 2012, 2013, 2026, 2027, 2055})
FULL = frozenset({1021, 1026, 1030, 1114, 1878})
NO_ROOM = frozenset({1037, 1038, 1040, 1041, 1135, 1203, 1226})
# Starting, stopping, read-only, killed by an administrator, or not in step with its cluster.
NOT_SERVING = frozenset({1047, 1053, 1129, 1290, 1317, 1792, 1836, 1927, 1969, 3024, 3100, 3101, 3168})
BROKEN_OFF = frozenset({1152, 1158, 1159, 1160, 1161, 1180, 1181, 1184})
MYSQL_CODES = CLIENT_CODES | FULL | NO_ROOM | NOT_SERVING | BROKEN_OFF | RETRIED_MYSQL_CODES
SQLITE_WORDS = (
    "is locked",
    "disk is full",
    "disk I/O error",
    "unable to open database file",
    "readonly database",
    "locking protocol",
)


def is_outage(error: BaseException) -> bool:
    """Whether trying again later may help: then nothing is wrong with the request or with the program."""
    if isinstance(error, InterfaceError):
        return True  # The connection was closed under our feet.
    if not isinstance(error, DatabaseError):
        return False
    code = error.args[0] if error.args else None
    return code in MYSQL_CODES or any(words in str(error) for words in SQLITE_WORDS)
