"""Celery's share of time and news. Nothing depends on it: the loops of `manage.py events` guarantee what it hastens."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import Task
from celery import shared_task as any_task
from django.db import close_old_connections

from waimai.infra import housekeeping, outbox, timers
from waimai.infra.sharding import databases

# Calls come every second, from beat. One that waited this long is thrown away, so that an outage piles nothing up; on a
# busy machine a second's wait is nothing unusual. Each leaves the threads to the timers half of the time.
RELAY_USEFUL_SECONDS, RELAY_AT_MOST_SECONDS = 5, 0.5
# An ETA task that comes this long after its time would find nothing: the sweep was there.
USEFUL_FOR = timedelta(seconds=60)


class DatabaseTask(Task):  # type: ignore[type-arg]
    """A task that keeps its thread's connections and has them looked after, as a request does: broken ones are opened
    anew. Celery by itself closes every connection around every task, see CELERY_DB_REUSE_MAX."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        close_old_connections()
        return super().__call__(*args, **kwargs)


shared_task = partial(any_task, base=DatabaseTask)


@shared_task
def relay_all() -> int:
    """Ask for the outbox of every database to be relayed, each in a task of its own."""
    for alias in databases():
        relay.apply_async((alias,), expires=RELAY_USEFUL_SECONDS)
    return len(databases())


@shared_task
def relay(alias: str) -> int:
    """Relay the outbox of one database until nothing is due, or for a while; to repeat this does no harm."""
    total, until = 0, time.monotonic() + RELAY_AT_MOST_SECONDS
    while time.monotonic() < until and (claimed := outbox.relay(alias)):
        total += claimed
    return total


@shared_task
def hand_out_timers() -> int:
    """Turn the timers of the next seconds into ETA tasks, in chunks."""
    return sum(timers.hand_out(alias, _sender(alias)) for alias in databases())


def _sender(alias: str) -> timers.Send:
    def send(kind: str, ref_ids: list[int], eta: datetime) -> None:
        fire_timers.apply_async((alias, kind, ref_ids), eta=eta, expires=eta + USEFUL_FOR)

    return send


@shared_task
def fire_timers(alias: str, kind: str, ref_ids: list[int]) -> int:
    """Fire those of the named timers that are due."""
    return timers.fire(alias, kind, ref_ids)


@shared_task
def sweep_timers() -> int:
    """Fire what is due on every database, should no sweeping process be there."""
    return sum(timers.sweep(alias, lane="db") for alias in databases())


@shared_task
def keep_house() -> int:
    """Delete what is kept for a limited time."""
    return housekeeping.keep_house()
