"""A group commit to look into: a writer that a test can hold up, and callers who come meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from waimai.infra.errors import NotFound
from waimai.infra.group_commit import GroupCommit


class Ledger:
    """Writes numbers. A batch with 13 in it fails as a whole; 404 is refused; the first batch can be made to wait."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.first_may_end = threading.Event()
        self.first_may_end.set()
        self.began = threading.Event()
        self.error: Exception = ValueError("thirteen")

    def write(self, jobs: Sequence[int]) -> list[int | Exception]:
        """As `GroupCommit` wants it."""
        self.began.set()
        self.first_may_end.wait(10)
        if 13 in jobs:
            raise self.error
        self.batches.append(list(jobs))
        return [NotFound() if job == 404 else -job for job in jobs]


@pytest.fixture
def ledger() -> Ledger:
    """A fresh one."""
    return Ledger()


@pytest.fixture
def group(ledger: Ledger) -> GroupCommit[int, int]:
    """Its group."""
    return GroupCommit("test", ledger.write)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Callers."""
    with ThreadPoolExecutor(40) as pool:
        yield pool


def behind_one_that_waits(ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor) -> Any:
    """Begin a batch of one that doesn't end before it may."""
    ledger.first_may_end.clear()
    first = threads.submit(group.run, 1)
    assert ledger.began.wait(5)
    return first


def gather(group: GroupCommit[int, int], threads: ThreadPoolExecutor, jobs: Sequence[int]) -> list[Any]:
    """Callers, one after the other, who all wait now."""
    found = []
    for n, job in enumerate(jobs, start=1):
        found.append(threads.submit(group.run, job))
        while len(group._queue) < n:
            pass
    return found
