"""Celery's share of time and news. Nothing depends on it: the loops of `manage.py events` guarantee what it hastens."""

from __future__ import annotations

from datetime import datetime, timedelta

from celery import shared_task

from waimai.infra import housekeeping, outbox, timers
from waimai.infra.sharding import databases

RELAY_USEFUL_SECONDS = 5
# An ETA task that comes this long after its time would find nothing: the sweep was there.
USEFUL_FOR = timedelta(seconds=60)


@shared_task
def relay_all() -> int:
    """Ask for the outbox of every database to be relayed, each in a task of its own."""
    for alias in databases():
        relay.apply_async((alias,), expires=RELAY_USEFUL_SECONDS)
    return len(databases())


@shared_task
def relay(alias: str) -> int:
    """Relay the outbox of one database until nothing is due; a broker that repeats this does no harm."""
    total = 0
    while claimed := outbox.relay(alias):
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
