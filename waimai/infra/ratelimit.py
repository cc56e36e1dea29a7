"""Token buckets: so many at once, then so many a second, for everybody at the entry and for one caller on what costs.

The arithmetic is GCRA, the generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): a bucket is one number, the
time at which it will be full again, in microseconds. A Lua script keeps it in Redis, by Redis's clock, so that all
processes share it. When Redis doesn't answer, a bucket of the process's own takes over with the same numbers: several
processes together then let more through than one bucket would, which is better than nothing, or nobody.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from prometheus_client import Counter

from waimai.infra.errors import RateLimited
from waimai.infra.short_redis import Away, Script

MOST_REMEMBERED = 10_000
_decisions = Counter("waimai_limiter_decisions", "What the token buckets decided", ("bucket", "outcome", "by"))

# KEYS: buckets of one kind. ARGV: microseconds per token, burst, tokens wanted of each, the time in microseconds (for
# tests; empty: now). Returns for each, one after the other: whether they are given, how long to wait for them, and
# until the bucket is full; in microseconds.
_GCRA = Script("""
local now = tonumber(ARGV[4])
if not now then
    local clock = redis.call('TIME')
    now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
end
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local answers = {}
for _, key in ipairs(KEYS) do
    local full_at = math.max(tonumber(redis.call('GET', key) or 0), now)
    local then_full_at = full_at + interval * wanted
    local wait = then_full_at - now - interval * burst
    local given, left = 0, full_at - now
    if wait <= 0 then
        given, wait, left = 1, 0, then_full_at - now
        redis.call('SET', key, string.format('%.0f', then_full_at), 'PX', math.ceil(left / 1000) + 1)
    end
    answers[#answers + 1] = given
    answers[#answers + 1] = math.ceil(wait)
    answers[#answers + 1] = math.ceil(left)
end
return answers
""")


@dataclass(frozen=True)
class Rate:
    """`per_second` tokens flow in, at most `burst` gather; no tokens at all means no limit."""

    per_second: float
    burst: int

    @classmethod
    def read(cls, text: str) -> Rate:
        """From `50/100`: fifty a second, a hundred at once; `0` is no limit. Raises ValueError naming what is wrong."""
        per_second, _, burst = text.partition("/")
        try:
            rate = cls(float(per_second), int(burst or 0))
        except ValueError:
            raise ValueError(f"{text!r} is no rate: write tokens a second and burst, such as 50/100") from None
        if rate.per_second < 0 or not math.isfinite(rate.per_second) or (rate.per_second and rate.burst < 1):
            raise ValueError(f"{text!r} is no rate: nothing below zero, and a burst of at least 1")
        return rate

    @property
    def interval_us(self) -> float:
        """Microseconds in which one token flows in."""
        return 1_000_000 / self.per_second


@dataclass(frozen=True)
class Decision:
    """Whether tokens were given; else they will be there in `wait_seconds`. `remaining` could be taken now."""

    given: bool
    wait_seconds: float
    remaining: int


class OwnBuckets:
    """The buckets of one process, for when Redis is away. Times in microseconds."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._full_at: dict[str, float] = {}
        self._most = most
        self._lock = threading.Lock()

    def take(self, key: str, rate: Rate, wanted: int, now_us: float) -> tuple[bool, float, float]:
        """The same as the script."""
        with self._lock:
            full_at = max(self._full_at.get(key, 0.0), now_us)
            then_full_at = full_at + rate.interval_us * wanted
            wait = then_full_at - now_us - rate.interval_us * rate.burst
            if wait > 0:
                return False, wait, full_at - now_us
            self._remember(key, then_full_at, now_us)
            return True, 0.0, then_full_at - now_us

    def _remember(self, key: str, full_at: float, now_us: float) -> None:
        if len(self._full_at) >= self._most and key not in self._full_at:
            # A full bucket needs no memory. If there are only others, the one that would be full soonest is let go.
            self._full_at = {name: at for name, at in self._full_at.items() if at > now_us}
            if len(self._full_at) >= self._most:
                del self._full_at[min(self._full_at, key=self._full_at.__getitem__)]
        self._full_at[key] = full_at

    def clear(self) -> None:
        """Fill all buckets."""
        with self._lock:
            self._full_at.clear()


own_buckets = OwnBuckets()


def rate_of(bucket: str) -> Rate | None:
    """The rate of a named bucket by the settings; None when it isn't limited."""
    rate: Rate = settings.WAIMAI_RATES[bucket]
    return rate if rate.per_second and settings.RATELIMIT_ENABLE else None


def take(bucket: str, who: str | int = "", *, tokens: int = 1) -> Decision | None:
    """Take tokens out of a bucket, or out of the one of `who`; None when it isn't limited.

    `bucket` is a name in `settings.WAIMAI_RATES`. Tokens that aren't there are not owed: nothing is taken then.
    """
    decisions = _take(bucket, [who], tokens)
    return decisions[0] if decisions else None


def spend(bucket: str, who: str | int = "", *, tokens: int = 1) -> None:
    """`take`, or raise RateLimited with the whole seconds to wait."""
    if refusal := _refusals(bucket, _take(bucket, [who], tokens)):
        (error,) = refusal
        if error is not None:
            raise error


def spend_many(bucket: str, callers: Sequence[str | int]) -> list[RateLimited | None]:
    """One token of each caller, in one question; for each, the refusal or None. Who comes twice spends twice."""
    return _refusals(bucket, _take(bucket, callers, 1)) or [None] * len(callers)


def _take(bucket: str, callers: Sequence[str | int], tokens: int) -> list[Decision]:
    """What was decided for each; nothing when the bucket isn't limited."""
    rate = rate_of(bucket)
    if rate is None or not callers:
        return []
    # Nobody's telephone number lies about in Redis.
    digests = [hashlib.blake2b(str(who).encode(), digest_size=12).hexdigest() for who in callers]
    keys = [f"waimai:limit:{bucket}:{digest}" for digest in digests]
    try:
        flat, by = _GCRA(keys, [repr(rate.interval_us), rate.burst, tokens, ""]), "redis"
        answers = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    except Away:
        now, by = time.monotonic_ns() / 1000, "process"
        answers = [own_buckets.take(key, rate, tokens, now) for key in keys]
    for given, _, _ in answers:
        _decisions.labels(bucket, "given" if given else "refused", by).inc()
    return [
        Decision(bool(given), wait / 1_000_000, max(0, math.floor(rate.burst - until_full / rate.interval_us)))
        for given, wait, until_full in answers
    ]


def _refusals(bucket: str, decisions: Sequence[Decision]) -> list[RateLimited | None]:
    burst = settings.WAIMAI_RATES[bucket].burst
    return [
        None if each.given else RateLimited(retry_after=max(1, math.ceil(each.wait_seconds)), limit=burst)
        for each in decisions
    ]
