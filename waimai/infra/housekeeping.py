"""What is kept for a limited time, and no longer. Apps add what they keep."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import QuerySet

from waimai.infra import outbox, partitions
from waimai.infra.clock import db_now
from waimai.infra.models import Barrier, IdempotencyKey
from waimai.infra.sharding import databases, shards

logger = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
KEYS_KEPT = timedelta(days=7)
# Far longer than any saga runs: a step that comes back later than this would take effect again.
BARRIERS_KEPT = timedelta(days=30)
DELETED_AT_ONCE = 1000
_on_default: list[Callable[[], int]] = []
_on_shards: list[Callable[[str], int]] = []


def on_default(body: Callable[[], int]) -> None:
    """Have `body()` called every hour; it deletes old rows of the default database and says how many."""
    _on_default.append(body)


def on_shards(body: Callable[[str], int]) -> None:
    """Have `body(alias)` called every hour for every shard."""
    _on_shards.append(body)


def keep_house() -> int:
    """Delete what is past its time and make months ahead, on every database; returns how many rows or months."""
    jobs: list[Callable[[], int]] = [
        *(partial(forget_old, alias) for alias in databases()),
        *(partial(partitions.keep_ahead, alias) for alias in shards()),
        *_on_default,
        *(partial(body, alias) for body in _on_shards for alias in shards()),
    ]
    return sum(_done(job) for job in jobs)


def _done(job: Callable[[], int]) -> int:
    """What a job did; one that fails holds up no other."""
    try:
        return job()
    except Exception:
        logger.exception("housekeeping: %s failed", job)
        return 0


def forget_old(using: str) -> int:
    """Delete idempotency keys of over 7 days, messages done over 3 days ago and barriers of over 30 days."""
    now, total = db_now(using), 0
    while count := outbox.forget_done(using, limit=DELETED_AT_ONCE):
        total += count
    for model, kept in ((IdempotencyKey, KEYS_KEPT), (Barrier, BARRIERS_KEPT)):
        rows = model.objects.on(using).filter(created_at__lt=now - kept)
        while (upto := _nth_oldest(rows)) is not None:
            total += rows.filter(created_at__lte=upto).delete()[0]
    return total


def _nth_oldest(rows: QuerySet[Any]) -> datetime | None:
    """The time of the row up to which one batch goes; None when there are none. By time, as SQLite can't take a list
    of a thousand two-column keys."""
    times = list(rows.order_by("created_at").values_list("created_at", flat=True)[:DELETED_AT_ONCE])
    return times[-1] if times else None
