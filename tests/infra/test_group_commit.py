"""Group commit: one transaction for whoever comes at the same moment, and nobody pays for a neighbour."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor


from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.db import OperationalError
from prometheus_client import REGISTRY

from waimai.infra import group_commit
from waimai.infra.errors import NotFound, ServiceUnavailable
from waimai.infra.group_commit import GroupCommit

pytestmark = pytest.mark.once


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


def test_one_alone_is_written_in_its_own_thread(ledger: Ledger, group: GroupCommit[int, int]) -> None:
    assert group.run(7) == -7
    assert group._thread is None


def test_who_comes_meanwhile_is_written_together(
    ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor
) -> None:
    first = behind_one_that_waits(ledger, group, threads)
    others = gather(group, threads, [2, 3, 404, 5])
    ledger.first_may_end.set()
    assert first.result() == -1
    assert [others[n].result() for n in (0, 1, 3)] == [-2, -3, -5]
    with pytest.raises(NotFound):
        others[2].result()
    assert ledger.batches == [[1], [2, 3, 404, 5]]


def test_nobody_pays_for_a_neighbour(ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor) -> None:
    first = behind_one_that_waits(ledger, group, threads)
    others = gather(group, threads, [2, 13, 4, 5, 6])
    ledger.first_may_end.set()
    assert first.result() == -1
    assert [others[n].result() for n in (0, 2, 3, 4)] == [-2, -4, -5, -6]
    with pytest.raises(ValueError, match="thirteen"):
        others[1].result()


def test_a_database_that_is_down_is_asked_once_for_all(
    ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor
) -> None:
    ledger.error = OperationalError(2006, "gone away")
    first = behind_one_that_waits(ledger, group, threads)
    others = gather(group, threads, [2, 13, 4])
    ledger.first_may_end.set()
    assert first.result() == -1
    for each in others:
        with pytest.raises(ServiceUnavailable):
            each.result()
    assert group.run(5) == -5, "and afterwards it goes on"
    assert ledger.batches == [[1], [5]]


def test_a_full_queue_refuses_at_once(
    ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LONGEST_QUEUE", 2)
    first = behind_one_that_waits(ledger, group, threads)
    others = gather(group, threads, [2, 3])
    with pytest.raises(ServiceUnavailable) as refusal:
        group.run(4)
    assert refusal.value.retry_after == 1
    ledger.first_may_end.set()
    assert [first.result(), *(each.result() for each in others)] == [-1, -2, -3]


def test_who_waits_too_long_is_not_written_later(
    ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = behind_one_that_waits(ledger, group, threads)
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(ServiceUnavailable):
        group.run(2)
    monkeypatch.undo()
    ledger.first_may_end.set()
    assert first.result() == -1
    assert group.run(3) == -3
    assert [2] not in ledger.batches


def test_a_batch_has_an_end(
    ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MOST_AT_ONCE", 2)
    first = behind_one_that_waits(ledger, group, threads)
    others = gather(group, threads, [2, 3, 4])
    ledger.first_may_end.set()
    assert [first.result(), *(each.result() for each in others)] == [-1, -2, -3, -4]
    assert ledger.batches == [[1], [2, 3], [4]]


def test_an_event_loop_leaves_it_to_the_group(ledger: Ledger, group: GroupCommit[int, int]) -> None:
    assert group.submit(8).result(5) == -8
    assert group.run(9) == -9


def test_a_job_may_bring_another(ledger: Ledger) -> None:
    def write(jobs: Sequence[int]) -> list[int | Exception]:
        return [nested.run(job - 1) + 1 if job else 0 for job in jobs]

    nested: GroupCommit[int, int] = GroupCommit("nested", write)
    assert nested.run(3) == 3


class Stopped(BaseException):
    """What ends a thread."""


def test_a_leader_that_is_stopped_leaves_nobody_waiting(threads: ThreadPoolExecutor) -> None:
    may_end, began = threading.Event(), threading.Event()

    def write(jobs: Sequence[int]) -> list[int | Exception]:
        if 1 in jobs:
            began.set()
            may_end.wait(5)
            raise Stopped
        return list(jobs)

    group = GroupCommit("stopped", write)
    first = threads.submit(group.run, 1)
    assert began.wait(5)
    second = gather(group, threads, [2])[0]
    may_end.set()
    assert isinstance(first.exception(), Stopped)
    assert second.result(5) == 2


def test_a_child_begins_anew(ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor) -> None:
    """The fork of a process whose group is busy neither waits for its parent's writer nor writes its jobs."""
    first = behind_one_that_waits(ledger, group, threads)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        ledger.first_may_end = threading.Event()
        ledger.first_may_end.set()
        os.write(writer, str(group.run(6)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"-6"
    os.close(reader)
    os.close(writer)
    ledger.first_may_end.set()
    assert first.result() == -1


def test_before_each_batch_the_thread_has_gathered_what_came(group: GroupCommit[int, int], ledger: Ledger) -> None:
    late = iter([2, 3])
    futures: list[Future[int]] = []

    def gather() -> None:
        futures.extend(group.submit(job) for job in late)

    futures.append(group.submit(1, gather))
    assert futures[0].result(10) == -1
    assert sorted(future.result(10) for future in list(futures)) == [-3, -2, -1]
    assert ledger.batches == [[1, 2, 3]]


# --- what its metrics say ---


@pytest.fixture
def counted(ledger: Ledger, request: pytest.FixtureRequest) -> GroupCommit[int, int]:
    """A group whose metrics begin with the test."""
    return GroupCommit(request.node.name, ledger.write)


def told(group: GroupCommit[int, int], metric: str, **labels: str) -> float:
    """The value of a metric, as Prometheus hears it."""
    value = REGISTRY.get_sample_value(f"waimai_intake_{metric}", {"group": group.name} | labels)
    assert value is not None
    return value


def test_batches_are_counted_by_their_size(
    ledger: Ledger, counted: GroupCommit[int, int], threads: ThreadPoolExecutor
) -> None:
    first = behind_one_that_waits(ledger, counted, threads)
    others = gather(counted, threads, [2, 404, 4])
    ledger.first_may_end.set()
    wait([first, *others], timeout=5)
    assert (told(counted, "batch_count"), told(counted, "batch_sum")) == (2, 4)
    assert [told(counted, "batch_bucket", le=le) for le in ("1.0", "2.0", "4.0")] == [1, 1, 2]


def test_the_wait_is_that_from_asking_to_the_batch(
    ledger: Ledger, counted: GroupCommit[int, int], threads: ThreadPoolExecutor
) -> None:
    began = time.monotonic()
    first = behind_one_that_waits(ledger, counted, threads)
    assert told(counted, "waited_seconds_count") == 1
    alone = told(counted, "waited_seconds_sum")
    others = gather(counted, threads, [2, 3])
    all_ask = time.monotonic()
    time.sleep(0.2)
    released = time.monotonic()
    ledger.first_may_end.set()
    wait([first, *others], timeout=5)
    waited = told(counted, "waited_seconds_sum") - alone
    assert told(counted, "waited_seconds_count") == 3
    assert alone <= all_ask - began
    assert 2 * (released - all_ask) <= waited <= 2 * (time.monotonic() - began)


def test_who_waits_is_queued_until_the_batch_begins(
    ledger: Ledger, counted: GroupCommit[int, int], threads: ThreadPoolExecutor
) -> None:
    assert told(counted, "queued") == 0
    first = behind_one_that_waits(ledger, counted, threads)
    assert told(counted, "queued") == 0
    others = gather(counted, threads, [2, 3])
    assert told(counted, "queued") == 2
    ledger.first_may_end.set()
    wait([first, *others], timeout=5)
    assert told(counted, "queued") == 0


def test_refusals_are_counted_by_their_reason(
    ledger: Ledger, counted: GroupCommit[int, int], threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = behind_one_that_waits(ledger, counted, threads)
    monkeypatch.setattr(group_commit, "LONGEST_QUEUE", 1)
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.5)
    (late,) = gather(counted, threads, [2])
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            counted.run(3)
    assert isinstance(late.exception(5), ServiceUnavailable)
    assert [told(counted, "refused_total", why=why) for why in ("full", "waited")] == [2, 1]
    assert told(counted, "queued") == 0, "who was told so waits no longer"
    ledger.first_may_end.set()
    assert first.result(5) == -1
    assert told(counted, "batch_count") == 1
