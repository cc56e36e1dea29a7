"""Timers: a due time is a row, written in the transaction that creates the need and deleted in the one that ends it.

A sweep fires what is due inline and needs no broker: it is the guarantee. Celery's ETA tasks, handed out for the next
seconds only, make it punctual and spread it over workers. "Due" is decided by the database's clock.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from django.db import InterfaceError, OperationalError, connections
from django.db.models import F

from waimai.infra import crashpoints, ids
from waimai.infra.clock import db_now
from waimai.infra.db import insert_ignore, run_atomic
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.models import Timer, TimerCursor

logger = logging.getLogger(__name__)

Send = Callable[[str, list[int], datetime], None]
Lane = Literal["db", "network"]
FIRED_AT_ONCE = 500
WINDOW_SECONDS = 15
CHUNK_MILLISECONDS, CHUNK_LARGEST = 100, 100
# How long a network handler has before somebody else tries; it makes few calls with time limits of their own.
NETWORK_LEASE_SECONDS = 30
LONGEST_BACKOFF_SECONDS = 300
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


_kinds: dict[str, _Kind] = {}


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


def schedule_many(kind: str, pairs: Sequence[tuple[int, datetime]], *, using: str) -> None:
    """`schedule` for many (ref_id, due_at) in one statement."""
    rows = [Timer(kind=kind, ref_id=ref, bucket=ids.bucket_of(ref), due_at=due) for ref, due in pairs]
    unique = ["kind", "ref_id"] if connections[using].features.supports_update_conflicts_with_target else None
    Timer.objects.on(using).bulk_create(rows, update_conflicts=True, update_fields=["due_at"], unique_fields=unique)


def cancel(kind: str, ref_ids: Iterable[int], *, using: str) -> int:
    """Delete timers; belongs in the transaction that ends the need. Returns how many stood there."""
    return Timer.objects.on(using).filter(kind=kind, ref_id__in=list(ref_ids)).delete()[0]


def sweep(using: str, *, lane: Lane = "db") -> int:
    """Fire everything that is due on a database in one lane; returns how many timers were fired."""
    kinds = [name for name, kind in _kinds.items() if kind.lane == lane]
    fired = 0
    while Timer.objects.on(using).filter(kind__in=kinds, due_at__lte=db_now(using)).exists():
        step = sum(_fire_kind(using, kind, None) for kind in kinds)
        if step == 0:
            break
        fired += step
    return fired


def fire(using: str, kind: str, ref_ids: Sequence[int]) -> int:
    """Fire those of the named timers that are due: what an ETA task does. Late and doubled calls find nothing."""
    return _fire_kind(using, kind, ref_ids)


def _fire_kind(using: str, kind: str, ref_ids: Sequence[int] | None) -> int:
    if _kinds[kind].lane == "network":
        return _fire_outside(using, kind, ref_ids)
    try:
        return run_atomic(using, lambda: _fire_inside(using, kind, ref_ids), commit=FIRED)
    except (OperationalError, InterfaceError, ServiceUnavailable):
        raise
    except Exception:
        logger.exception("timers: a batch of %s failed; one by one", kind)
        return sum(_fire_alone(using, kind, ref) for ref in _due(using, kind, ref_ids))


def _due(using: str, kind: str, ref_ids: Sequence[int] | None, *, lock: bool = False) -> list[int]:
    due = Timer.objects.on(using).filter(kind=kind, due_at__lte=db_now(using))
    if ref_ids is not None:
        due = due.filter(ref_id__in=list(ref_ids))
    if lock and connections[using].features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True)
    return list(due.order_by("due_at").values_list("ref_id", flat=True)[:FIRED_AT_ONCE])


def _fire_inside(using: str, kind: str, ref_ids: Sequence[int] | None) -> int:
    due = _due(using, kind, ref_ids, lock=True)
    if due:
        _kinds[kind].handler(due, using=using, now=db_now(using))
    return len(due)


def _fire_alone(using: str, kind: str, ref_id: int) -> int:
    """Nobody waits for a neighbour's bad row: the one that fails is put off, the others fire."""
    try:
        return run_atomic(using, lambda: _fire_inside(using, kind, [ref_id]), commit=FIRED)
    except (OperationalError, InterfaceError, ServiceUnavailable):
        raise
    except Exception:
        logger.exception("timers: %s of %s failed", kind, ref_id)
        run_atomic(using, lambda: _put_off(using, kind, ref_id), commit=PUT_OFF)
        return 0


def _put_off(using: str, kind: str, ref_id: int) -> None:
    row = Timer.objects.on(using).filter(kind=kind, ref_id=ref_id)
    attempts = row.values_list("attempts", flat=True).first() or 0
    pause = min(2**attempts, LONGEST_BACKOFF_SECONDS)
    row.update(attempts=F("attempts") + 1, due_at=db_now(using) + timedelta(seconds=pause))


def _fire_outside(using: str, kind: str, ref_ids: Sequence[int] | None) -> int:
    claimed = run_atomic(using, lambda: _claim(using, kind, ref_ids), commit=CLAIMED)
    for ref_id in claimed:
        try:
            _kinds[kind].handler([ref_id], using=using, now=db_now(using))
        except Exception:
            logger.exception("timers: %s of %s failed", kind, ref_id)
            run_atomic(using, lambda ref=ref_id: _put_off(using, kind, ref), commit=PUT_OFF)  # type: ignore[misc]
    return len(claimed)


def _claim(using: str, kind: str, ref_ids: Sequence[int] | None) -> list[int]:
    # Few at a time: they are worked through one after the other while their lease runs.
    due = _due(using, kind, ref_ids, lock=True)[:5]
    lease_ends = db_now(using) + timedelta(seconds=NETWORK_LEASE_SECONDS)
    Timer.objects.on(using).filter(kind=kind, ref_id__in=due).update(due_at=lease_ends)
    return due


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
    """Timers of one kind and the same 100 ms, at most 100 together, with the end of their 100 ms."""
    buckets: dict[tuple[str, int], list[int]] = defaultdict(list)
    for kind, ref_id, due_at in rows:
        buckets[kind, int(due_at.timestamp() * 1000) // CHUNK_MILLISECONDS].append(ref_id)
    for (kind, tick), ref_ids in buckets.items():
        eta = datetime.fromtimestamp((tick + 1) * CHUNK_MILLISECONDS / 1000, tz=rows[0][2].tzinfo)
        for start in range(0, len(ref_ids), CHUNK_LARGEST):
            yield kind, ref_ids[start : start + CHUNK_LARGEST], eta
