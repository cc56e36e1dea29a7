"""Timers: a due time is a row, written in the transaction that creates the need and deleted in the one that ends it.

A sweep fires what is due inline and needs no broker: it is the guarantee. Celery's ETA tasks, handed out for the next
seconds only, make it punctual and spread it over workers. "Due" is decided by the database's clock.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from django.db import InterfaceError, OperationalError, connections

from waimai.infra import crashpoints, ids
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.models import Timer, TimerCursor
from waimai.infra.rows import insert_ignore, insert_rows

logger = logging.getLogger(__name__)

Send = Callable[[str, list[int], datetime], None]
Lane = Literal["db", "network"]
FIRED_AT_ONCE = 500
WINDOW_SECONDS = 15
CHUNK_MILLISECONDS, CHUNK_LARGEST = 200, 100
GRACE_SECONDS = 0.25
# How long a network handler has before somebody else tries; it makes few calls with time limits of their own.
NETWORK_LEASE_SECONDS = 30
# How long a batch has that may kill its process, before others try its timers one by one.
BATCH_LEASE_SECONDS = 5
LONGEST_BACKOFF_SECONDS, TRIES_BEFORE_PARKING = 300, 8
# What stands there while a timer is tried, and stays when its process dies.
DIED = "the process died with it"
# Where the due time of a parked timer stands: nobody gets there.
PARKED = datetime(9000, 1, 1, tzinfo=UTC)
TRANSIENT = (OperationalError, InterfaceError, ServiceUnavailable)
FIRED, CLAIMED = crashpoints.around("timer.fire"), crashpoints.around("timer.claim")
WINDOW, SENT, PUT_OFF = (crashpoints.around(f"timer.{name}") for name in ("window", "send", "retry"))


class Handler(Protocol):
    """What fires: it ends each timer (`cancel`) or moves it (`schedule`), and must stand being called twice."""

    def __call__(self, ref_ids: list[int], *, using: str, now: datetime) -> None:
        """Fire these."""


@dataclass(frozen=True)
class _Kind:
    handler: Handler
    lane: Lane


class _Due(NamedTuple):
    ref_id: int
    attempts: int
    due_at: datetime
    error: str


_kinds: dict[str, _Kind] = {}
_STARTED = time.monotonic()
# When this process began, by the clock of each database.
_began: dict[str, datetime] = {}


def fires(kind: str, *, lane: Lane = "db") -> Callable[[Handler], Handler]:
    """Register the handler of a kind of timer.

    Lane `db`: called inside a transaction on `using` that holds the timers. Lane `network`: called outside any
    transaction, one holder at a time by lease, and may talk to others.
    """

    def register(handler: Handler) -> Handler:
        _kinds[kind] = _Kind(handler, lane)
        return handler

    return register


def schedule(kind: str, ref_id: int, *, due_at: datetime, using: str) -> None:
    """Set a timer, or move the one that stands there; belongs in the transaction that creates the need."""
    schedule_many(kind, [(ref_id, due_at)], using=using)


def schedule_many(kind: str, pairs: Sequence[tuple[int, datetime]], *, using: str, new: bool = False) -> None:
    """`schedule` for many, in one statement; what is moved begins anew. `new`: none can stand there yet: cheaper."""
    rows = [{"kind": kind, "ref_id": ref, "bucket": ids.bucket_of(ref), "due_at": due} for ref, due in pairs]
    if new:
        insert_rows(Timer, rows, using=using)
        return
    unique = ["kind", "ref_id"] if connections[using].features.supports_update_conflicts_with_target else None
    how: Any = {"update_conflicts": True, "update_fields": ["due_at", "attempts", "error"], "unique_fields": unique}
    Timer.objects.on(using).bulk_create([Timer(**row) for row in rows], **how)


def cancel(kinds: str | Sequence[str], ref_ids: Iterable[int], *, using: str) -> int:
    """Delete timers, of one kind or several; belongs in the transaction that ends the need. Returns how many stood."""
    wanted = {"kind": kinds} if isinstance(kinds, str) else {"kind__in": kinds}
    return Timer.objects.on(using).filter(**wanted, ref_id__in=list(ref_ids)).delete()[0]


def sweep(using: str, *, lane: Lane = "db") -> int:
    """Fire everything that is due on a database in one lane; returns how many timers were fired."""
    kinds = [name for name, kind in _kinds.items() if kind.lane == lane]
    fired, grace = 0, _grace(using) if lane == "db" else timedelta()
    while Timer.objects.on(using).filter(kind__in=kinds, due_at__lte=db_now(using) - grace).exists():
        step = sum(_fire_kind(using, kind, None) for kind in kinds)
        if step == 0:
            break
        fired += step
    return fired


def _grace(using: str) -> timedelta:
    """How late a timer must be for the sweep to step in: two that fire the same ones in turns make both late."""
    handed_out = TimerCursor.objects.on(using).filter(name="window", upto__gt=db_now(using)).exists()
    return timedelta(seconds=GRACE_SECONDS if handed_out else 0)


def fire(using: str, kind: str, ref_ids: Sequence[int]) -> int:
    """Fire those of the named timers that are due: what an ETA task does. Late and doubled calls find nothing."""
    return _fire_kind(using, kind, ref_ids)


def revive(*, using: str) -> int:
    """Fire again what was parked; returns how many that were."""
    parked = Timer.objects.on(using).filter(due_at__gte=PARKED)
    return parked.update(due_at=db_now(using), attempts=0, error="")


def _fire_kind(using: str, kind: str, ref_ids: Sequence[int] | None) -> int:
    if _kinds[kind].lane == "network":
        claimed = _claim(using, kind, ref_ids, most=1, lease_seconds=NETWORK_LEASE_SECONDS)
        for ref in claimed:
            _fire_one(using, kind, ref)
        return len(claimed)
    try:
        fired, doubtful = run_atomic(using, lambda: _fire_inside(using, kind, ref_ids), commit=FIRED)
    except TRANSIENT:
        raise
    except Exception:
        logger.exception("timers: a batch of %s failed; one by one", kind)
        return sum(_fire_alone(using, kind, each.ref_id) for each in _due(using, kind, ref_ids))
    return fired + _fire_doubtful(using, kind, doubtful)


def _fire_inside(using: str, kind: str, ref_ids: Sequence[int] | None) -> tuple[int, list[_Due]]:
    """Fire together, in the open transaction, what is beyond doubt; returns how many, and the others.

    Doubtful is what was tried before, and what was due before this process began: it may be what ended the last one.
    """
    now = db_now(using)
    began = _began.setdefault(using, now - timedelta(seconds=time.monotonic() - _STARTED))
    due = _due(using, kind, ref_ids, lock=True)
    fresh = [each.ref_id for each in due if each.attempts == 0 and each.due_at >= began]
    if fresh:
        _kinds[kind].handler(fresh, using=using, now=now)
    return len(fresh), [each for each in due if each.attempts > 0 or each.due_at < began]


def _fire_doubtful(using: str, kind: str, doubtful: Sequence[_Due]) -> int:
    """Fire what may kill us, every try counted before it begins: once all together, and from then on one by one."""
    first = [each.ref_id for each in doubtful if each.attempts == 0]
    again = [each.ref_id for each in sorted(doubtful, key=_tries) if each.attempts > 0]
    claimed = _claim(using, kind, first, most=FIRED_AT_ONCE, lease_seconds=BATCH_LEASE_SECONDS) if first else []
    try:
        fired = _call(using, kind, claimed)
    except TRANSIENT:
        raise
    except Exception:
        logger.exception("timers: a batch of %s failed; one by one", kind)
        fired = sum(_fire_one(using, kind, ref) for ref in claimed)
    return fired + sum(_fire_alone(using, kind, ref) for ref in again)


def _fire_alone(using: str, kind: str, ref_id: int) -> int:
    """Nobody waits for a neighbour's bad row: the one that fails is put off, the others fire."""
    return sum(_fire_one(using, kind, ref) for ref in _claim(using, kind, [ref_id], most=1))


def _fire_one(using: str, kind: str, ref_id: int) -> int:
    """Fire a claimed timer; one that fails comes again later."""
    try:
        return _call(using, kind, [ref_id])
    except Exception as error:
        logger.warning("timers: %s of %s failed: %r", kind, ref_id, error, exc_info=True)
        run_atomic(using, partial(_put_off, using, kind, ref_id, error), commit=PUT_OFF)
        return 0


def _call(using: str, kind: str, claimed: list[int]) -> int:
    handler = _kinds[kind].handler
    if not claimed:
        return 0
    if _kinds[kind].lane == "network":
        handler(claimed, using=using, now=db_now(using))
    else:
        run_atomic(using, lambda: handler(claimed, using=using, now=db_now(using)), commit=FIRED)
    return len(claimed)


def _tries(each: _Due) -> int:
    """What was tried least comes first: nobody waits for what kills."""
    return each.attempts


def _due(using: str, kind: str, ref_ids: Sequence[int] | None, *, lock: bool = False) -> list[_Due]:
    due = Timer.objects.on(using).filter(kind=kind, due_at__lte=db_now(using))
    if ref_ids is not None:
        due = due.filter(ref_id__in=list(ref_ids))
    if lock and connections[using].features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True)
    rows = due.order_by("due_at").values_list("ref_id", "attempts", "due_at", "error")
    return [_Due(*row) for row in rows[:FIRED_AT_ONCE]]


def _claim(using: str, kind: str, ref_ids: Sequence[int] | None, *, most: int, lease_seconds: float = 0) -> list[int]:
    """Take timers that are due for one try, which is counted before it begins; nobody else has them meanwhile.

    What ended the process at each of its tries is parked instead.
    """

    def body() -> list[int]:
        due, now = sorted(_due(using, kind, ref_ids, lock=True), key=_tries)[:most], db_now(using)
        deadly = [each.ref_id for each in due if each.attempts >= TRIES_BEFORE_PARKING and each.error == DIED]
        taken: dict[int, list[int]] = defaultdict(list)
        for each in due:
            if each.ref_id not in deadly:
                taken[each.attempts + 1].append(each.ref_id)
        rows = Timer.objects.on(using).filter(kind=kind)
        if deadly:
            logger.error("timers: %s of %s ended the process %s times: parked", kind, deadly, TRIES_BEFORE_PARKING)
            rows.filter(ref_id__in=deadly).update(due_at=PARKED)
        for attempts, refs in taken.items():
            until = now + max(_pause(attempts), timedelta(seconds=lease_seconds))
            rows.filter(ref_id__in=refs).update(attempts=attempts, due_at=until, error=DIED)
        return [ref for refs in taken.values() for ref in refs]

    return run_atomic(using, body, commit=CLAIMED)


def _put_off(using: str, kind: str, ref_id: int, error: Exception) -> None:
    """Try again later, for ever. A database that was down doesn't count as a try."""
    row = Timer.objects.on(using).filter(kind=kind, ref_id=ref_id)
    attempts = row.values_list("attempts", flat=True).first() or 1
    due_at = db_now(using) + _pause(attempts)
    row.update(
        attempts=attempts - 1 if isinstance(error, TRANSIENT) else attempts, due_at=due_at, error=repr(error)[:500]
    )


def _pause(attempts: int) -> timedelta:
    return timedelta(seconds=min(2 ** min(attempts - 1, 16), LONGEST_BACKOFF_SECONDS))


def hand_out(using: str, send: Send) -> int:
    """Give the timers of the next 15 seconds to `send(kind, ref_ids, eta)` in chunks; returns how many.

    The cursor row serialises callers, so that two beats hand out each timer once. What is set later for a time that
    was already handed out is left to the sweep, and so is everything `send` loses: it is called after the commit, as
    a broker that hangs must not hold the cursor's lock.
    """
    found = run_atomic(using, lambda: _advance_cursor(using), commit=WINDOW)
    for kind, ref_ids, eta in _chunks(found):
        with SENT:
            send(kind, ref_ids, eta)
    return len(found)


def _advance_cursor(using: str) -> list[tuple[str, int, datetime]]:
    """The timers of the window that nobody was given yet; from now on they count as given."""
    now = db_now(using)
    insert_ignore(TimerCursor, [{"name": "window", "upto": now}], using=using)
    cursor = TimerCursor.objects.on(using).select_for_update().get(name="window")
    after, upto = max(cursor.upto, now), now + timedelta(seconds=WINDOW_SECONDS)
    db_kinds = [name for name, kind in _kinds.items() if kind.lane == "db"]
    rows = Timer.objects.on(using).filter(kind__in=db_kinds, due_at__gt=after, due_at__lte=upto)
    found = list(rows.order_by("due_at").values_list("kind", "ref_id", "due_at"))
    TimerCursor.objects.on(using).filter(name="window").update(upto=upto)
    return found


def _chunks(rows: Sequence[tuple[str, int, datetime]]) -> Iterator[tuple[str, list[int], datetime]]:
    """Timers of one kind and the same 200 ms, at most 100 together, with the end of their 200 ms."""
    buckets: dict[tuple[str, int], list[int]] = defaultdict(list)
    for kind, ref_id, due_at in rows:
        buckets[kind, int(due_at.timestamp() * 1000) // CHUNK_MILLISECONDS].append(ref_id)
    for (kind, tick), ref_ids in buckets.items():
        eta = datetime.fromtimestamp((tick + 1) * CHUNK_MILLISECONDS / 1000, tz=rows[0][2].tzinfo)
        for start in range(0, len(ref_ids), CHUNK_LARGEST):
            yield kind, ref_ids[start : start + CHUNK_LARGEST], eta
