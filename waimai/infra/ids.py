"""Ids below 2^53 that are ordered by time and know their bucket.

`31 bits of seconds since 2024-01-01 | 10 bits of bucket | 6 bits of worker | 6 bits of sequence`, after Twitter's
Snowflake, cut to what JavaScript's numbers hold. A worker number is leased per process from `default`: the row keeps
`issued_until`, raised before use, and whoever takes the number next starts after it, so that no restart and no slower
clock issues a second twice. Seconds come from the database's clock plus a monotonic offset.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connections
from django.utils import timezone

from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.rows import insert_ignore

logger = logging.getLogger(__name__)

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
BUCKET_BITS, WORKER_BITS, SEQUENCE_BITS = 10, 6, 6
BUCKETS, WORKERS, SEQUENCES = 1 << BUCKET_BITS, 1 << WORKER_BITS, 1 << SEQUENCE_BITS
SECONDS_SHIFT = BUCKET_BITS + WORKER_BITS + SEQUENCE_BITS
LEASE_SECONDS = 60
# A database clock that went back further than this gets a fresh worker number; a smaller step is waited out.
TOLERATED_STEP_BACK_SECONDS = 5
# How far apart ids are that were made two months from each other: what a list looks at first.
TWO_MONTHS = 62 * 24 * 3600 << SECONDS_SHIFT


def new_id(bucket: int) -> int:
    """A fresh id for a bucket (0 to 1023). Raises ServiceUnavailable when all 64 worker numbers are taken."""
    return _generator().next(bucket)


def bucket_of(any_id: int) -> int:
    """The bucket an id was made for."""
    return (any_id >> (WORKER_BITS + SEQUENCE_BITS)) % BUCKETS


def made_at(any_id: int) -> datetime:
    """When the id was made, to the second (a busy bucket may run a few seconds ahead)."""
    return EPOCH + timedelta(seconds=any_id >> SECONDS_SHIFT)


def lowest_id(at: datetime) -> int:
    """The smallest id that can have been made at or after `at`: a bound that lets the database skip older months."""
    return max(0, int((at - EPOCH).total_seconds())) << SECONDS_SHIFT


def now_id() -> int:
    """About the id that would be made now, by this process's own clock: where a look back begins."""
    return lowest_id(timezone.now())


class IdGenerator:
    """Makes ids for one process; safe to share between threads."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._owner = secrets.token_hex(16)
        self._worker = -1
        self._issued_until = -1
        self._offset = 0.0
        self._last: dict[int, tuple[int, int]] = {}

    def next(self, bucket: int) -> int:
        """The next id of a bucket. Raises ServiceUnavailable when no worker number is free."""
        with self._lock:
            second, sequence = self._slot(bucket)
            if second > self._issued_until:
                self._lease(second)
                second, sequence = self._slot(bucket)
            self._last[bucket] = (second, sequence)
            worker = self._worker
        return ((second << BUCKET_BITS | bucket) << WORKER_BITS | worker) << SEQUENCE_BITS | sequence

    def _slot(self, bucket: int) -> tuple[int, int]:
        """The second and sequence to use now; a used-up second, or a clock behind it, runs into the next."""
        now = int(time.monotonic() + self._offset)
        second, sequence = self._last.get(bucket, (-1, 0))
        if now > second:
            return now, 0
        return (second, sequence + 1) if sequence + 1 < SEQUENCES else (second + 1, 0)

    def _lease(self, needed: int) -> None:
        """Raise `issued_until` of the number held, or take another: always committed before a second is used."""
        if connections["default"].in_atomic_block:
            raise RuntimeError("Make ids before opening a transaction on default: its rollback would undo the lease.")

        def body() -> tuple[int, float, int]:
            clock = _seconds_now()
            now = int(clock)
            until = max(now, needed) + LEASE_SECONDS
            if self._keeps_its_number(now, until):
                return self._worker, clock, until
            return self._take_a_number(now, now + LEASE_SECONDS), clock, now + LEASE_SECONDS

        number, clock, until = run_atomic("default", body)
        if number != self._worker:
            self._last.clear()
        self._worker, self._issued_until = number, until
        self._offset = clock - time.monotonic()

    def _keeps_its_number(self, now: int, until: int) -> bool:
        from waimai.infra.models import WorkerLease

        went_back = int(time.monotonic() + self._offset) - now
        if self._worker < 0 or went_back > TOLERATED_STEP_BACK_SECONDS:
            return False
        return WorkerLease.objects.filter(number=self._worker, owner=self._owner).update(issued_until=until) == 1

    def _take_a_number(self, now: int, until: int) -> int:
        from waimai.infra.models import WorkerLease

        rows = dict(WorkerLease.objects.select_for_update().values_list("number", "issued_until"))
        for number in range(WORKERS):
            if number not in rows:
                # On MySQL nothing locks a row that isn't there: of several that start at once one gets it.
                lease = {"number": number, "owner": self._owner, "issued_until": until}
                if insert_ignore(WorkerLease, [lease], using="default") == 1:
                    return number
            elif rows[number] < now:
                WorkerLease.objects.filter(number=number).update(owner=self._owner, issued_until=until)
                return number
        logger.error("all %s worker numbers for ids are taken", WORKERS)
        raise ServiceUnavailable


def _seconds_now() -> float:
    return (db_now("default") - EPOCH).total_seconds()


_current: IdGenerator | None = None
_making = threading.Lock()


def _generator() -> IdGenerator:
    """This process's generator; a forked child makes one of its own, or both would issue the same ids."""
    global _current
    if _current is None or _current.pid != os.getpid():
        with _making:
            if _current is None or _current.pid != os.getpid():
                _current = IdGenerator()
    return _current
