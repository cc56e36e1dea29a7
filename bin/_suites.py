"""The runs of `bin/test`: on SQLite files, and again on MariaDB where a server answers. Standard library only."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence

import _bootstrap

MYSQL = ("127.0.0.1", 3306)
# One more than the processors of a small machine: tests wait for browsers, servers and clocks.
WORKERS = "3"
INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run pytest once, or once per kind of database when no `--backend` is named. Returns the worst exit status."""
    if any(argument.startswith("--backend") for argument in arguments):
        if any("mysql" in argument for argument in arguments):
            _bootstrap.ensure("mysql")
        return _pytest(arguments)
    why_not = _no_mysql()
    if why_not:
        print(f"!!! NOT TESTED ON MARIADB: {why_not} !!!", flush=True)
    statuses = [_pytest([*arguments, "--backend=sqlite"])]
    if not why_not:
        print(f"On SQLite: {'passed' if statuses[0] == 0 else 'FAILED'}. Now on MariaDB.", flush=True)
        statuses.append(_pytest([*arguments, "--backend=mysql"]))
    elif _required():
        statuses.append(1)
    return max(statuses)


def _no_mysql() -> str:
    """Why the second run can't be, or nothing."""
    try:
        socket.create_connection(MYSQL, timeout=2).close()
    except OSError:
        return f"no server answers at {MYSQL[0]}:{MYSQL[1]}"
    try:
        _bootstrap.ensure("mysql")
    except _bootstrap.SetupError:
        return "mysqlclient can't be built here (Debian: default-libmysqlclient-dev pkg-config build-essential)"
    return ""


def _required() -> bool:
    return os.environ.get("WAIMAI_TEST_SERVICES") == "required"


def _pytest(arguments: Sequence[str]) -> int:
    chosen = any(argument.startswith(("-n", "--numprocesses", "--pdb")) for argument in arguments)
    spread = [] if chosen else ["-n", WORKERS]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [str(_bootstrap.PYTHON), "-m", "pytest", *spread, *arguments]
    try:
        return abs(subprocess.run(command, env=environment, check=False).returncode)
    except KeyboardInterrupt:
        return INTERRUPTED
