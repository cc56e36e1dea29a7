"""Tests that need a server on this machine: skipped with one loud line, or failed when they are required."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence

import pytest

ADDRESSES = {"mysql": ("127.0.0.1", 3306), "redis": ("127.0.0.1", 6379), "rabbitmq": ("127.0.0.1", 5672)}
# A program instead of a server: the browser that looks at pages, and what a test starts as a server of its own.
PROGRAMS = {
    "chromium": "chromium",
    "mariadbd": "mariadbd",
    "redis-server": "redis-server",
    "rabbitmq-server": "rabbitmq-server",
    "node": "node",
    "npm": "npm",
}
REASON = "missing here: "
ANSWER_WITHIN_SECONDS = 2.0


def answers(name: str) -> bool:
    """Whether anything accepts connections at the usual address of `name`, or such a program is installed."""
    if name in PROGRAMS:
        return shutil.which(PROGRAMS[name]) is not None
    try:
        with socket.create_connection(ADDRESSES[name], timeout=ANSWER_WITHIN_SECONDS):
            return True
    except OSError:
        return False


def require(*names: str) -> None:
    """Skip the running test unless all of `names` answer; fail it instead when WAIMAI_TEST_SERVICES=required."""
    missing = [_described(name) for name in names if not answers(name)]
    if not missing:
        return
    if os.environ.get("WAIMAI_TEST_SERVICES") == "required":
        pytest.fail(REASON + ", ".join(missing), pytrace=False)
    pytest.skip(REASON + ", ".join(missing))


def skipped_line(reports: Sequence[pytest.TestReport]) -> str:
    """One line for the summary of a run, empty when no service test was skipped."""
    reasons = [str(r.longrepr[2]) for r in reports if isinstance(r.longrepr, tuple) and REASON in r.longrepr[2]]
    if not reasons:
        return ""
    servers = sorted({reason.split(REASON, 1)[1] for reason in reasons})
    return f"!!! {len(reasons)} SERVICE TESTS DID NOT RUN, missing here: {'; '.join(servers)} !!!"


def _described(name: str) -> str:
    return "{} at {}:{}".format(name, *ADDRESSES[name]) if name in ADDRESSES else name
