"""What `bin/up` refuses, and how it says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once


def supervisor(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Start the system and wait for it to give up."""
    environment = os.environ | {"WAIMAI_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "waimai.supervisor", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = supervisor("--port", str(port), data_dir=tmp_path)
    assert ended.returncode == 1
    said = f"waimai can't start: port {port} is taken by another program; name another one with --port\n"
    assert ended.stderr == said
    assert not (tmp_path / "valkey").exists()


def test_a_data_folder_in_use_is_named_with_its_holder(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        ended = supervisor("--port", "0", data_dir=tmp_path)
    assert ended.returncode == 1
    assert "another bin/up (process 4711) already runs on the data folder" in ended.stderr


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = supervisor("--port", "0", data_dir=tmp_path / "file" / "data")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"waimai can't start: the data folder {tmp_path}/file/data can't be used")


def test_databases_that_cannot_be_prepared_end_it_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "default.sqlite3").write_text("not a database at all, though long enough to look at" * 40)
    ended = supervisor("--port", "0", data_dir=tmp_path)
    assert ended.returncode == 1
    assert "prepare| django.db.utils.DatabaseError: file is not a database" in ended.stdout
    assert ended.stderr == "waimai can't start: the databases could not be prepared; the reason stands above\n"
