"""Crash points: named places, before and after every commit and send, where a rehearsal kills the process.

`CRASH_AT=name` or `CRASH_AT=name:n` in the environment makes this process kill itself with SIGKILL at its n-th passing
of that point: nothing is flushed, closed or rolled back by us, as in a power cut. Unset, a passing is one comparison.
Points are declared as constants of the module that passes them, so that Django's setup registers every one.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from dataclasses import dataclass
from types import TracebackType

from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger(__name__)

_points: dict[str, Point] = {}
_armed: Point | None = None
_deadly = 1
_passings = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One place; calling it is passing it."""

    name: str

    def __call__(self) -> None:
        """Pass by, or die here."""
        if _armed is self and next(_passings) == _deadly:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """The point before something and the one after it; as a context manager it stands around a call that succeeds."""

    before: Point
    after: Point

    def __enter__(self) -> None:
        self.before()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.after()


def point(name: str) -> Point:
    """Declare a point. Raises ValueError when the name is taken."""
    if name in _points:
        raise ValueError(f"two crash points are called {name!r}")
    return _points.setdefault(name, Point(name))


def around(name: str) -> Around:
    """Declare `name.before` and `name.after`, of a commit (see `run_atomic`) or of a call to somebody else."""
    return Around(point(f"{name}.before"), point(f"{name}.after"))


def names() -> list[str]:
    """Every point there is, once Django is set up."""
    return sorted(_points)


def arm(crash_at: str) -> None:
    """Die at `name` or `name:n` (n from 1, counted from now on, over all threads); an empty string disarms.

    Raises ImproperlyConfigured for a point that doesn't exist or a count that isn't one.
    """
    global _armed, _deadly, _passings
    name, _, count = crash_at.partition(":")
    if name and name not in _points:
        raise ImproperlyConfigured(f"CRASH_AT={crash_at}: no crash point {name!r}, but {', '.join(names())}")
    if ":" in crash_at and not (count.isdecimal() and int(count) > 0):
        raise ImproperlyConfigured(f"CRASH_AT={crash_at}: {count!r} is not the number of a passing, 1 or more")
    _armed, _deadly, _passings = _points.get(name), int(count or 1), itertools.count(1)
    if _armed is not None:
        logger.warning("CRASH_AT: this process kills itself at passing %s of %s", _deadly, name)
