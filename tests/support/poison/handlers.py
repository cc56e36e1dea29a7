"""Hearers and timers that fail, and some that take the process with them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from waimai.infra import outbox, timers

DIES, FAILS = "poison.dies", "poison.fails"


@dataclass(frozen=True, kw_only=True)
class Deadly(outbox.Event):
    """Whoever hears it is killed, as by the kernel when memory runs out."""

    topic: ClassVar[str] = DIES


@dataclass(frozen=True, kw_only=True)
class Failing(outbox.Event):
    """Whoever hears it fails."""

    topic: ClassVar[str] = FAILS


def die(*_: object, **__: object) -> None:
    """The end of the process."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(*_: object, **__: object) -> None:
    """The end of this try."""
    raise ValueError("not to my taste")


def fire_dead(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """The end of the process."""
    die()


def fire_failing(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """The end of this try."""
    fail()


def register() -> None:
    """Once Django is set up."""
    outbox.hear(Deadly)(die)
    outbox.hear(Failing)(fail)
    timers.fires(DIES)(fire_dead)
    timers.fires(FAILS)(fire_failing)
