"""The gateway of the original article, rebuilt in Go outside this project: `--peer DIR` names its folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.orders import Run, watch, wrk

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

MODES = {
    "go, gateway": ("-mode", "gateway"),
    "go, durable tuned": ("-mode", "durable", "-style", "tuned"),
}
GOPATH = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
DISHES, PEOPLE = 200, 400


def measure(fleet: Fleet, folder: Path, *, seconds: float) -> Iterator[tuple[str, Run]]:
    """Each mode of the peer on the database server that we use. Raises RuntimeError without Go."""
    binary, wishes = _build(folder, fleet.folder), fleet.folder / "wishes-peer"
    with wishes.open("w") as file:
        for n in range(PEOPLE):
            items = [{"sku": (n * 3 + k) % DISHES + 1, "qty": 1} for k in range(3)]
            file.write(f"-\t{json.dumps({'user_id': n + 1, 'items': items})}\n")
    for name, arguments in MODES.items():
        yield name, _run(fleet, binary, folder, arguments, wishes, seconds)


def _build(folder: Path, into: Path) -> Path:
    if shutil.which("go") is None:
        raise RuntimeError("--peer needs Go: Debian's golang-go golang-github-go-sql-driver-mysql-dev")
    binary = into / "go-gateway"
    if not binary.exists():
        import os

        command = ["go", "build", "-o", str(binary), str(folder / "main.go")]
        subprocess.run(command, check=True, env=os.environ | GOPATH)
    return binary


def _run(fleet: Fleet, binary: Path, folder: Path, mode: tuple[str, ...], wishes: Path, seconds: float) -> Run:
    database = fleet.database
    database.ask("DROP DATABASE IF EXISTS perf")
    database.ask("CREATE DATABASE perf CHARACTER SET utf8mb4")
    for statement in (folder / "schema.sql").read_text().split(";"):
        if statement.strip():
            database.ask(statement, database="perf")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    where = database.url.removeprefix("mysql://")
    user, _, host = where.rpartition("@")
    dsn = f"{user}@tcp({host})/perf?interpolateParams=true&multiStatements=true"
    process = subprocess.Popen([str(binary), *mode, "-addr", f"127.0.0.1:{port}", "-dsn", dsn])
    try:
        _wait(port)

        def count() -> int:
            return int(database.ask("SELECT COUNT(*) FROM orders", database="perf")[0][0])

        return watch(fleet, partial(wrk, port, "/order", wishes), count, process.pid, connections=128, seconds=seconds)
    finally:
        process.kill()
        process.wait()


def _wait(port: int) -> None:
    import time

    for _try in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
