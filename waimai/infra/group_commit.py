"""Group commit: what many callers write at the same moment goes in one transaction; each is answered after it.

After the write groups of RocksDB and InnoDB's group commit. Whoever comes while nobody writes leads: it writes its own
job at once, in its own thread, so that a single caller pays for no hand-over. What has gathered meanwhile is written
by the group's thread, batch after batch, until nothing waits. There is no timer: a batch is what came during the last.

When a batch fails for one job's sake it is halved until the bad one stands alone: nobody pays for a neighbour. When
the database is down everybody is told so, and nothing is left that could be stuck: the thread lives per rush only.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from django.db import connections
from prometheus_client import Counter, Gauge, Histogram

from waimai.infra.errors import ServiceUnavailable
from waimai.infra.http import current_request_id, logged_as
from waimai.infra.outages import is_outage

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 256
LONGEST_QUEUE = 2000
# Longer than a lock wait and a reconnect; who waits longer is told "unknown, ask again with the same key".
PATIENCE_SECONDS = 15.0
J = TypeVar("J")
R = TypeVar("R")
_batches = Histogram(
    "waimai_intake_batch", "Jobs written in one batch", ("group",), buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
_waited = Histogram("waimai_intake_waited_seconds", "How long a job waited for its batch", ("group",))
_queued = Gauge("waimai_intake_queued", "Jobs that wait for their batch", ("group",))
_refused = Counter("waimai_intake_refused", "Jobs that found the queue full, or waited too long", ("group", "why"))


@dataclass(eq=False)
class _Slot(Generic[J, R]):
    job: J
    gather: Callable[[], None] | None = None
    future: Future[R] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    request_id: str = field(default_factory=current_request_id.get)


class GroupCommit(Generic[J, R]):
    """One group: its jobs are written together.

    `write(jobs)` writes them in transactions of its own and returns, for each job in its order, a result or the
    exception to raise for it. It raises only when nothing of the batch was written.
    """

    def __init__(self, name: str, write: Callable[[Sequence[J]], Sequence[R | Exception]]) -> None:
        self.name, self._write = name, write
        self._lock = threading.Lock()
        self._queue: deque[_Slot[J, R]] = deque()
        # Whether somebody writes, and which thread does at this moment.
        self._led, self._leader = False, 0
        self._thread: ThreadPoolExecutor | None = None
        _queued.labels(name).set_function(lambda: len(self._queue))
        _groups.add(self)

    def run(self, job: J) -> R:
        """Write a job and wait for its commit.

        Raises ServiceUnavailable at once when the queue is full; later, when it took too long, it means "unknown".
        """
        if self._leader == threading.get_ident():
            # Called from inside a batch, which would wait for itself.
            (outcome,) = self._write([job])
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        slot, leads = self._join(job)
        if leads:
            try:
                self._write_batch()
            finally:
                self._pass_on()
        try:
            return slot.future.result(PATIENCE_SECONDS)
        except TimeoutError:
            self._withdraw(slot)
            raise ServiceUnavailable from None

    def submit(self, job: J, gather: Callable[[], None] | None = None) -> Future[R]:
        """Have a job written by the group's thread: for event loops, which must not wait. Raises like `run`.

        `gather`, called by that thread, waits until its caller has handed in what has come meanwhile: a busy writer
        holds the interpreter, and would else find hardly more than what it left behind.
        """
        slot, leads = self._join(job, gather)
        if leads:
            self._pass_on()
        return slot.future

    def _join(self, job: J, gather: Callable[[], None] | None = None) -> tuple[_Slot[J, R], bool]:
        """Stand in the queue; True when nobody writes, so that it is the caller's turn to see to it."""
        with self._lock:
            if len(self._queue) >= LONGEST_QUEUE:
                _refused.labels(self.name, "full").inc()
                raise ServiceUnavailable(retry_after=1)
            slot: _Slot[J, R] = _Slot(job, gather)
            self._queue.append(slot)
            leads, self._led = not self._led, True
        return slot, leads

    def _pass_on(self) -> None:
        """Leave the rest to the group's thread; nobody leads when there is none."""
        with self._lock:
            if not self._queue:
                self._led = False
                return
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"intake {self.name}")
            self._thread.submit(self._write_all)

    def _write_all(self) -> None:
        for connection in connections.all(initialized_only=True):
            # Between two rushes the server may have closed it, as at the beginning of a request.
            connection.close_if_unusable_or_obsolete()
        try:
            while self._queue:
                self._gather()
                self._write_batch()
        finally:
            self._pass_on()

    def _gather(self) -> None:
        with self._lock:
            gather = self._queue[0].gather if self._queue else None
        if gather is None:
            return
        try:
            gather()
        except Exception:
            # Whoever handed it in may be gone; what was handed in is written all the same.
            logger.exception("%s: nothing was gathered", self.name)

    def _write_batch(self) -> None:
        with self._lock:
            slots = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_AT_ONCE))]
        _batches.labels(self.name).observe(len(slots))
        for connection in connections.all(initialized_only=True):
            # A rush may go on for long: what broke in one batch must not break the next.
            if connection.errors_occurred:
                connection.close_if_unusable_or_obsolete()
        now, self._leader = time.monotonic(), threading.get_ident()
        try:
            for slot in slots:
                _waited.labels(self.name).observe(now - slot.since)
            self._settle(slots)
        finally:
            self._leader = 0
            for slot in slots:
                # The leader itself was stopped (a time limit, Ctrl-C): nobody may wait for it.
                if not slot.future.done():
                    slot.future.set_exception(ServiceUnavailable())

    def _settle(self, slots: Sequence[_Slot[J, R]]) -> None:
        # What is logged meanwhile may be about any of these requests.
        with logged_as(" ".join(dict.fromkeys(slot.request_id for slot in slots))):
            try:
                outcomes = self._write([slot.job for slot in slots])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those whom it concerns
                self._settle_failure(slots, error)
                return
        for slot, outcome in zip(slots, outcomes, strict=True):
            if isinstance(outcome, Exception):
                slot.future.set_exception(outcome)
            else:
                slot.future.set_result(outcome)

    def _settle_failure(self, slots: Sequence[_Slot[J, R]], error: Exception) -> None:
        if len(slots) == 1:
            slots[0].future.set_exception(error)
        elif isinstance(error, ServiceUnavailable) or is_outage(error):
            logger.error("%s: %s jobs not written: %r", self.name, len(slots), error)
            for slot in slots:
                slot.future.set_exception(ServiceUnavailable())
        else:
            logger.warning("%s: a batch of %s failed, halved: %r", self.name, len(slots), error)
            middle = len(slots) // 2
            self._settle(slots[:middle])
            self._settle(slots[middle:])

    def _withdraw(self, slot: _Slot[J, R]) -> None:
        _refused.labels(self.name, "waited").inc()
        with self._lock:
            if slot in self._queue:
                self._queue.remove(slot)

    def begin_anew(self) -> None:
        """Forget threads and jobs: those of a parent that we are a fork of."""
        self._lock, self._queue = threading.Lock(), deque()
        self._led, self._leader, self._thread = False, 0, None


_groups: WeakSet[GroupCommit[Any, Any]] = WeakSet()


def _after_fork() -> None:
    """A child has neither its parent's threads nor its parent's jobs."""
    for group in _groups:
        group.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
