"""Group commit: one transaction for whoever comes at the same moment, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import OperationalError

from tests.infra.ledger import Ledger, behind_one_that_waits, gather
from waimai.infra import group_commit
from waimai.infra.errors import NotFound, ServiceUnavailable
from waimai.infra.fast_door import Mailbox
from waimai.infra.group_commit import GroupCommit

pytestmark = pytest.mark.once


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


def test_who_hands_in_and_is_gone_holds_up_nobody(group: GroupCommit[int, int], ledger: Ledger) -> None:
    loop = asyncio.new_event_loop()
    box = Mailbox(loop)
    loop.close()
    futures = [group.submit(job, box.catch_up) for job in (1, 2)]
    assert sorted(future.result(10) for future in futures) == [-2, -1]
