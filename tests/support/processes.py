"""Processes of this machine, seen from outside, as an operator would."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def alive(process_id: int) -> bool:
    """Whether the process runs; one that ended and awaits its parent doesn't."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def exists(process_id: str) -> bool:
    """Whether a process with this number exists; anything that isn't a number counts as one that does."""
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        pass
    return True


def children_of(process_id: int) -> dict[int, str]:
    """Ids and command lines of the direct children."""
    found = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return {int(child): _command(int(child)) for child in found if alive(int(child))}


def kill_all_of(folder: Path) -> None:
    """End every process that works in a folder, or was started with a path inside it."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # It ended meanwhile, or is none of ours.
            if entry.name.isdecimal() and f"{folder}/" in f"{os.readlink(entry / 'cwd')}/ {_command(int(entry.name))}":
                os.kill(int(entry.name), signal.SIGKILL)


def wait_until(true: Callable[[], object], *, seconds: float, what: str) -> float:
    """Wait for something to come true; returns the seconds it took. Raises AssertionError when it doesn't."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - started


def _command(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
