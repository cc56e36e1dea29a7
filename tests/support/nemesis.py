"""Somebody who kills, stops and restarts anything, all the time; and a supervisor who starts again what is dead."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.fleet import Fleet, Program
from tests.support.instances import Instance

NOTICED_AFTER_SECONDS = 0.5
PAUSE_SECONDS = (0.5, 4.0)
# Longer than the leases of sagas and timers: then somebody else takes over, and the sleeper wakes up in between.
LONG_PAUSE_SECONDS = (20.0, 40.0)
LONG_PAUSES = 0.1
SERVERS = 0.25


@dataclass(frozen=True)
class Blow:
    """One thing that was done, seconds after the beginning, and how long it took until it was undone."""

    at: float
    what: str
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.what:<8} {self.target:<10} {self.seconds:5.1f} s"


class Nemesis:
    """Strikes every so many seconds until told to stop; the same seed strikes at the same things in the same order."""

    def __init__(self, fleet: Fleet, *, seed: int, every_seconds: tuple[float, float], long_pauses: bool) -> None:
        self.fleet, self.seed, self.every_seconds, self.long_pauses = fleet, seed, every_seconds, long_pauses
        self.history: list[Blow] = []
        self.died_by_themselves: Counter[str] = Counter()
        self.overstayed: list[str] = []
        self._random = random.Random(seed)
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._struck: set[str] = set()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(body,)) for body in (self._strike, self._watch)]

    def __enter__(self) -> Nemesis:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for program in self.fleet.programs:
            program.go_on()
            self._revive(program)
            if program.kind == "web":
                program.wait_until_ready()
        if self._errors:
            raise self._errors[0]

    def counts(self) -> dict[str, int]:
        """How often each kind of thing suffered each blow."""
        return dict(sorted(Counter(f"{blow.what} {blow.target.split('-')[0]}" for blow in self.history).items()))

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            self._errors.append(error)

    def _strike(self) -> None:
        while not self._stop.wait(self._random.uniform(*self.every_seconds)):
            target: Program | Instance
            if self._random.random() < SERVERS:
                target = self._random.choice(self.fleet.servers)
                name = type(target).__name__.lower()
            else:
                target = self._random.choice(self.fleet.programs)
                name = target.name
            what = self._random.choice(("kill", "kill", "pause", "restart"))
            started = time.monotonic()
            self._blow(what, target, name)
            now = time.monotonic()
            self.history.append(Blow(started - self._began, what, name, now - started))

    def _blow(self, what: str, target: Program | Instance, name: str) -> None:
        pause = self._pause(target)
        self._struck.add(name)
        if what == "pause":
            target.hang()
            self._stop.wait(pause)
            target.go_on()
        elif what == "kill":
            target.kill()
        else:
            self._end(target, name)
        if isinstance(target, Instance) and what != "pause":
            target.start()

    def _pause(self, target: Program | Instance) -> float:
        is_long = isinstance(target, Program) and self._random.random() < LONG_PAUSES and self.long_pauses
        return self._random.uniform(*(LONG_PAUSE_SECONDS if is_long else PAUSE_SECONDS))

    def _end(self, target: Program | Instance, name: str) -> None:
        try:
            target.stop()
        except subprocess.TimeoutExpired:
            self.overstayed.append(name)
            target.kill()

    def _watch(self) -> None:
        while not self._stop.wait(NOTICED_AFTER_SECONDS):
            for program in self.fleet.programs:
                self._revive(program)

    def _revive(self, program: Program) -> None:
        if program.running:
            return
        if program.name not in self._struck:
            self.died_by_themselves[program.kind] += 1
        self._struck.discard(program.name)
        program.start()
