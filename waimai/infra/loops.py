"""The loops that need no broker: they sweep timers and relay the outbox, a thread for each database and purpose."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from django.db import close_old_connections, connections

from waimai.infra import housekeeping, outbox, timers
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.outages import is_outage
from waimai.infra.sharding import databases, shards

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 0.25
RELAY_SECONDS = 0.1
# Calls to others take as long as they take: one after the other, a slow bank holds up every other payment's news.
CALLERS_PER_DATABASE = 4
# After a failure (a database that is down) wait longer, so that the log isn't flooded.
AFTER_FAILURE_SECONDS = 2.0


class Round(NamedTuple):
    """Something to do again and again, every so many seconds; at once when it did `full` things: there are more."""

    name: str
    seconds: float
    body: Callable[[], object]
    full: int | None = None


_added: list[tuple[str, float, Callable[[str], object]]] = []


def add(name: str, body: Callable[[str], object], *, seconds: float) -> None:
    """Have `body(alias)` called for every shard, every so many seconds, beside the timers."""
    _added.append((name, seconds, body))


def timer_rounds() -> list[Round]:
    """Both lanes of the timer sweep, for every database: a slow neighbour holds up only its own lane."""
    rounds = []
    for alias in databases():
        rounds.append(Round(f"timers {alias}", SWEEP_SECONDS, partial(timers.sweep, alias, lane="db")))
        calls = Round(f"calls {alias}", SWEEP_SECONDS, partial(timers.sweep, alias, lane="network"))
        rounds += [calls] * CALLERS_PER_DATABASE
    return rounds + [
        Round(f"{name} {alias}", seconds, partial(body, alias)) for name, seconds, body in _added for alias in shards()
    ]


def relay_rounds() -> list[Round]:
    """The outbox of every database."""
    full = outbox.CLAIMED_AT_ONCE
    return [Round(f"relay {alias}", RELAY_SECONDS, partial(outbox.relay, alias), full) for alias in databases()]


def house_rounds() -> list[Round]:
    """What is done now and then."""
    return [Round("house", housekeeping.EVERY_SECONDS, housekeeping.keep_house)]


def run_for_ever(rounds: Iterable[Round], stop: threading.Event) -> None:
    """Run each round again and again in its thread until `stop` is set; a round under way is finished."""
    threads = [threading.Thread(target=_loop, args=(each, stop), name=each.name) for each in rounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _loop(each: Round, stop: threading.Event) -> None:
    failing_since: float | None = None
    while not stop.is_set():
        pause = each.seconds
        try:
            close_old_connections()
            if each.body() == each.full and each.full:
                pause = 0.0
        except Exception as error:  # noqa: BLE001 - whatever one round fails with, the next one comes
            _log_failure(each.name, error, first=failing_since is None)
            failing_since = failing_since or time.monotonic()
            pause = AFTER_FAILURE_SECONDS
        else:
            if failing_since is not None:
                logger.warning("%s: works again after %.0f s", each.name, time.monotonic() - failing_since)
            failing_since = None
        stop.wait(pause)
    connections.close_all()


def _log_failure(name: str, error: Exception, *, first: bool) -> None:
    """A database that is down is told once and in a line, a mistake in the program each time and where it happened."""
    if not (isinstance(error, ServiceUnavailable) or is_outage(error)):
        logger.error("%s: failed; again in %s s", name, AFTER_FAILURE_SECONDS, exc_info=error)
    elif first:
        logger.error("%s: a database fails; tried every %s s: %r", name, AFTER_FAILURE_SECONDS, error)
