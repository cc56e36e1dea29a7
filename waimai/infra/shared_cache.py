"""The shared cache (L2): what one process has loaded, in Redis for the others, by number and version.

Nobody is served what a change has replaced: the version is asked for where the change was committed, and stands in the
key. One loader at a time: in a process by a lock, between processes by a short lease in Redis; who finds it taken waits
a moment for what the holder brings. Losing the lease, or Redis, only means that more than one load.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from prometheus_client import Counter

from waimai.infra.short_redis import Away, Script

V = TypeVar("V")
LEASE_SECONDS, LOOKED_AGAIN_SECONDS = 2.0, 0.02
# As long as a load takes; who waits longer loads.
PATIENCE_SECONDS = 0.5
# Copies that were made together don't end together.
JITTER = 0.2
LOCKS = 16
FOUND, LEADS = 0, 1
_reads = Counter("waimai_shared_cache_reads", "Values asked for, by where they came from", ("cache", "source"))
# The value, or whether the caller now holds the lease on making it.
_ask = Script("""
local value = redis.call('GET', KEYS[1])
if value then return {0, value} end
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return {1, ''} end
return {2, ''}
""")
_put = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) redis.call('DEL', KEYS[2])")


class SharedCache(Generic[V]):
    """Values of one kind that live about `seconds`. Safe to share between threads.

    `edition` names what else a value is made of (addresses of files, say): releases that differ in it, or in the fields
    of `kind`, share nothing.
    """

    def __init__(self, name: str, kind: type[V], *, seconds: float, edition: Callable[[], str] = str) -> None:
        self._name, self._kind, self._seconds, self._edition = name, kind, seconds, edition
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._locks = [threading.Lock() for _ in range(LOCKS)]
        self._prefix = ""

    def get(
        self,
        key: int,
        version: int,
        load: Callable[[], V],
        *,
        at_hand: Callable[[], V | None] = lambda: None,
        keep: Callable[[V], None] = lambda _value: None,
    ) -> V:
        """The value of a version, from Redis or else loaded and put there. Raises what `load` raises.

        Whoever waited for another thread looks `at_hand` first, where that one was to `keep` it: also without Redis.
        """
        with self._locks[key % LOCKS]:
            if (value := at_hand()) is not None:
                return value
            value = self._get(key, version, load)
            keep(value)
            return value

    def _get(self, key: int, version: int, load: Callable[[], V]) -> V:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer, value = _ask(self._keys(key, version), [int(1000 * LEASE_SECONDS)])
            except Away:
                return self._loaded(load, "away")
            if answer == FOUND and (found := self._read(value)) is not None:
                _reads.labels(self._name, "shared").inc()
                return found
            if answer != LEADS and answer != FOUND and time.monotonic() < until:
                time.sleep(LOOKED_AGAIN_SECONDS)
                continue
            made = self._loaded(load, "loaded")
            self._write(key, version, made)
            return made

    def _loaded(self, load: Callable[[], V], source: str) -> V:
        _reads.labels(self._name, source).inc()
        return load()

    def _read(self, value: bytes) -> V | None:
        try:
            return self._decode(value)
        except msgspec.MsgspecError:
            return None

    def _write(self, key: int, version: int, value: V) -> None:
        lives = self._seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - a pause, not a secret
        try:
            _put(self._keys(key, version), [msgspec.msgpack.encode(value), int(1000 * lives)])
        except Away:
            return

    def _keys(self, key: int, version: int) -> list[str]:
        if not self._prefix:
            made_of = f"{msgspec.json.schema(self._kind)}{self._edition()}"
            self._prefix = f"waimai:{self._name}:{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
        return [f"{self._prefix}:{key}:{version}", f"{self._prefix}:{key}:{version}:lease"]
