"""Circuit breakers: an outside service that fails again and again is left alone for a while.

The pattern is Nygard's ("Release It!", 2007). Five failures in a row open the circuit for a minute, in which nobody
calls. Then one caller of all processes may probe, for as long as its lease lasts: its success closes the circuit, its
failure opens it for another minute. A call that began before the circuit opened and succeeds late closes nothing.

The state is a hash in Redis, changed by Lua scripts and Redis's clock, so that all processes know it; when Redis is
away each process goes on with a state of its own. No lock is held while a call runs. That somebody holds a circuit open
by hand stands in the table `Breaker`, and is read from there when Redis has forgotten it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from django.db import DatabaseError
from prometheus_client import Counter

from waimai.infra.models import Breaker as BreakerRow
from waimai.infra.sharding import DEFAULT
from waimai.infra.short_redis import Away, Script

logger = logging.getLogger(__name__)
FAILURES_TO_OPEN = 5
OPEN_SECONDS = 60.0
# A probe that tells nothing for so long is taken for dead; longer than any call may take.
PROBE_SECONDS = 15.0
# How long a process goes by what it knows: then it hears that somebody closed the circuit by hand.
REMEMBERED_SECONDS = 5.0
_outcomes = Counter("waimai_breaker_calls", "Calls to outside services", ("breaker", "outcome"))


class CircuitOpen(Exception):
    """The service isn't called now; it may be tried again in `retry_after` seconds."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(f"{name} is left alone for another {retry_after:.0f} s")
        self.name, self.retry_after = name, retry_after


class State(IntEnum):
    """As metrics show it."""

    CLOSED, PROBING, OPEN = 0, 1, 2


@dataclass(frozen=True)
class Permit:
    """Leave to call once. `probe` is the lease of a probe, 0 for an ordinary call; `shared`: Redis gave it."""

    probe: int
    shared: bool


@dataclass(frozen=True)
class Look:
    """What is known of a circuit; `failures` in a row while it is closed, `seconds` until the next probe."""

    state: State
    failures: int
    seconds: float
    held: bool


# KEYS: the circuit. ARGV: microseconds that a probe may take.
# Returns what to do (0 don't call, 1 call, 2 probe, 3 ask the table whether somebody holds it open, 4 somebody does)
# and a number: microseconds to wait, or the probe's lease.
_ASK = Script("""
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local row = redis.call('HMGET', KEYS[1], 'known', 'held', 'until', 'probe')
if not row[1] then return {3, 0} end
if row[2] then return {4, 0} end
local open_until, probe_until = tonumber(row[3] or 0), tonumber(row[4] or 0)
if open_until == 0 then return {1, 0} end
if now < open_until then return {0, open_until - now} end
if now < probe_until then return {0, probe_until - now} end
local lease = string.format('%.0f', now + tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'probe', lease)
return {2, lease}
""")
# ARGV: 1 when it went well; the probe's lease or 0; failures to open; microseconds to stay open.
# Returns 1 if that opened it.
_TELL = Script("""
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local row = redis.call('HMGET', KEYS[1], 'until', 'probe')
local well, opened = ARGV[1] == '1', tonumber(row[1] or 0) ~= 0
if ARGV[2] ~= '0' then
    if row[2] ~= ARGV[2] then return 0 end
    redis.call('HDEL', KEYS[1], 'probe', 'failures')
    if well then redis.call('HDEL', KEYS[1], 'until') return 0 end
elseif opened then
    return 0
elseif well then
    redis.call('HDEL', KEYS[1], 'failures')
    return 0
elseif redis.call('HINCRBY', KEYS[1], 'failures', 1) < tonumber(ARGV[3]) then
    return 0
end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + tonumber(ARGV[4])))
redis.call('HDEL', KEYS[1], 'failures')
return 1
""")
# ARGV: 1 when somebody holds it open, 0 when nobody does; `reset` to forget everything else as well.
_LEARN = Script("""
if ARGV[2] == 'reset' then redis.call('DEL', KEYS[1]) end
if ARGV[1] == '1' then redis.call('HSET', KEYS[1], 'held', 1) else redis.call('HDEL', KEYS[1], 'held') end
return redis.call('HSET', KEYS[1], 'known', 1)
""")
_LOOK = Script("""
local clock = redis.call('TIME')
local row = redis.call('HMGET', KEYS[1], 'held', 'until', 'failures', 'known')
return {row[1] and 1 or 0, tonumber(row[2] or 0) - tonumber(clock[1]) * 1000000 - tonumber(clock[2]),
        tonumber(row[3] or 0), row[2] and 1 or 0, row[4] and 1 or 0}
""")
MICROSECONDS = 1_000_000
WAIT, CALL, PROBE, UNKNOWN, HELD = range(5)
REFUSED = (WAIT, HELD)


class OwnCircuit:
    """The same machine in this process alone, by its own clock, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.held, self.failures, self.open_until, self.probe_until, self._leases = False, 0, 0.0, 0.0, 0

    def ask(self, now: float) -> tuple[int, float]:
        """What to do and a number: as the script, in seconds."""
        with self._lock:
            if self.held:
                return HELD, OPEN_SECONDS
            if not self.open_until:
                return CALL, 0
            wait = max(self.open_until, self.probe_until) - now
            if wait > 0:
                return WAIT, wait
            self.probe_until = now + PROBE_SECONDS
            self._leases += 1
            return PROBE, self._leases

    def tell(self, now: float, *, well: bool, probe: int) -> bool:
        """How a call went; whether that opened the circuit."""
        with self._lock:
            if probe:
                if probe != self._leases or not self.probe_until:
                    return False
                self.probe_until, self.failures = 0.0, 0
                self.open_until = 0.0 if well else now + OPEN_SECONDS
                return not well
            if self.open_until:
                return False
            self.failures = 0 if well else self.failures + 1
            if self.failures < FAILURES_TO_OPEN:
                return False
            self.failures, self.open_until = 0, now + OPEN_SECONDS
            return True


class Breaker:
    """The circuit to one outside service. Make one per service, where the module of its calls begins."""

    def __init__(self, name: str) -> None:
        self.name, self._key = name, f"waimai:breaker:{name}"
        self.forget()
        breakers[name] = self

    def forget(self) -> None:
        """Forget what this process knows; what Redis and the table know stays."""
        self._own = OwnCircuit()
        self._closed_to_us_until = 0.0

    @contextmanager
    def guard(
        self, *, failures: tuple[type[Exception], ...], answers: tuple[type[Exception], ...] = ()
    ) -> Iterator[None]:
        """Call the service inside. Raises CircuitOpen instead while it is left alone.

        Of what the call raises `failures` count against the service and `answers` (it said no) for it; anything else
        is no word about the service.
        """
        permit = self._ask()
        try:
            yield
        except failures:
            self._tell(permit, well=False)
            raise
        except answers:
            self._tell(permit, well=True)
            raise
        self._tell(permit, well=True)

    def look(self) -> Look:
        """What is known of the circuit now; what this process knows when Redis is away."""
        try:
            held, left, failures, opened, known = _LOOK([self._key], [])
            held = held if known else self._is_held()
        except Away:
            own = self._own
            left = (own.open_until - time.monotonic()) * MICROSECONDS
            held, failures, opened = own.held, own.failures, bool(own.open_until)
        seconds = max(0.0, left / MICROSECONDS) if opened else 0.0
        state = State.OPEN if held or seconds else State.PROBING if opened else State.CLOSED
        return Look(state, int(failures), seconds, bool(held))

    def hold_open(self) -> None:
        """Let nobody call until `close`. Other processes hear of it with their next call."""
        self._set(held=True)

    def close(self) -> None:
        """Let everybody call again, whatever was before. Other processes hear of it within five seconds."""
        self._set(held=False)

    def _set(self, *, held: bool) -> None:
        BreakerRow.objects.using(DEFAULT).update_or_create(name=self.name, defaults={"held_open": held})
        self.forget()
        self._own.held = held
        try:
            _LEARN([self._key], [int(held), "reset"])
        except Away:
            logger.warning("breaker %s: Redis is away, other processes will hear of it from the table", self.name)

    def _ask(self) -> Permit:
        now = time.monotonic()
        if now < self._closed_to_us_until:
            raise self._refusal(self._closed_to_us_until - now)
        try:
            verdict, number = self._ask_redis()
            self._own.held = verdict == HELD
            permit = Permit(number if verdict == PROBE else 0, shared=True)
            wait = OPEN_SECONDS if verdict == HELD else number / MICROSECONDS
        except Away:
            verdict, own_number = self._own.ask(now)
            permit = Permit(int(own_number) if verdict == PROBE else 0, shared=False)
            wait = own_number
        if verdict in REFUSED:
            self._closed_to_us_until = now + min(wait, REMEMBERED_SECONDS)
            raise self._refusal(wait)
        return permit

    def _ask_redis(self) -> tuple[int, int]:
        probe_us = int(PROBE_SECONDS * MICROSECONDS)
        verdict, number = _ASK([self._key], [probe_us])
        if verdict == UNKNOWN:
            _LEARN([self._key], [int(self._is_held()), ""])
            verdict, number = _ASK([self._key], [probe_us])
        return int(verdict), int(number)

    def _is_held(self) -> bool:
        try:
            return BreakerRow.objects.using(DEFAULT).filter(name=self.name, held_open=True).exists()
        except DatabaseError as error:
            logger.warning("breaker %s: its row can't be read: %r", self.name, error)
            return self._own.held

    def _tell(self, permit: Permit, *, well: bool) -> None:
        _outcomes.labels(self.name, "well" if well else "failed").inc()
        opened = False
        try:
            if permit.shared:
                told: list[Any] = [int(well), str(permit.probe), FAILURES_TO_OPEN, int(OPEN_SECONDS * MICROSECONDS)]
                opened = bool(_TELL([self._key], told))
            else:
                opened = self._own.tell(time.monotonic(), well=well, probe=permit.probe)
        except Away:
            opened = self._own.tell(time.monotonic(), well=well, probe=0)
        if opened:
            logger.error("breaker %s: open for %.0f s, its service keeps failing", self.name, OPEN_SECONDS)

    def _refusal(self, seconds: float) -> CircuitOpen:
        _outcomes.labels(self.name, "refused").inc()
        return CircuitOpen(self.name, max(seconds, 1.0))


breakers: dict[str, Breaker] = {}


def forget_all() -> None:
    """Forget what this process knows of every circuit."""
    for breaker in breakers.values():
        breaker.forget()
