"""What group commit tells of itself: its metrics, and whose requests a line of the log is about."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from prometheus_client import REGISTRY

from tests.infra.ledger import Ledger, behind_one_that_waits, gather
from waimai.infra import group_commit
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.group_commit import GroupCommit
from waimai.infra.http import RequestIdFilter, logged_as

pytestmark = pytest.mark.once
logger = logging.getLogger(__name__)
Lines = Callable[[], list[tuple[str, str]]]


# --- metrics ---


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


# --- the log ---


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """Request ids and texts of the lines so far, as the log has them."""
    caplog.handler.addFilter(told := RequestIdFilter())
    yield lambda: [(line.__dict__["request_id"], line.getMessage()) for line in caplog.records]
    caplog.handler.removeFilter(told)


def of_two_requests(ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor) -> None:
    """A batch of thirteen, who breaks it, and four."""
    first = behind_one_that_waits(ledger, group, threads)
    with logged_as("unlucky"):
        thirteen = group.submit(13)
    with logged_as("lucky"):
        four = group.submit(4)
    ledger.first_may_end.set()
    wait([first, thirteen, four], timeout=5)


def test_a_line_about_a_batch_names_its_requests(
    ledger: Ledger, group: GroupCommit[int, int], threads: ThreadPoolExecutor, lines: Lines
) -> None:
    of_two_requests(ledger, group, threads)
    assert lines() == [("unlucky lucky", "test: a batch of 2 failed, halved: ValueError('thirteen')")]


def test_what_is_said_while_one_is_written_is_about_that_one(
    ledger: Ledger, threads: ThreadPoolExecutor, lines: Lines
) -> None:
    def write(jobs: Sequence[int]) -> list[int | Exception]:
        logger.warning("writing %s", jobs)
        return ledger.write(jobs)

    of_two_requests(ledger, GroupCommit("test", write), threads)
    assert [line for line in lines() if line[1].startswith("writing")] == [
        ("-", "writing [1]"),
        ("unlucky lucky", "writing [13, 4]"),
        ("unlucky", "writing [13]"),
        ("lucky", "writing [4]"),
    ]
