"""The near cache (L1): values in the process, taken back by a word over Redis the moment somebody changes them.

After the client-side caching of Redis, by its plain publish and subscribe. It fails closed: while the word can't be
heard (Redis is away or hangs, the listener is new, the process is a fork) there is no near cache, and readers ask
whoever knows. What is missed all the same, as when the one who changed something could not say so, lives for at most
`seconds`.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterable
from typing import Generic, TypeVar

import redis
from django.conf import settings

from waimai.infra.short_redis import tell

logger = logging.getLogger(__name__)

ASKED_EVERY_SECONDS = 0.5
# Nothing heard for so long, not even an answer to "are you there": then perhaps something was missed.
SILENCE_SECONDS = 2.0
JITTER = 0.2
V = TypeVar("V")


class NearCache(Generic[V]):
    """Up to `most` values by number; each lives at most `seconds`. Safe to share between threads."""

    def __init__(self, name: str, *, most: int, seconds: float = 5.0) -> None:
        self.channel, self._most, self._seconds = f"waimai:near:{name}", most, seconds
        self._values: dict[int, tuple[float, V]] = {}
        self._lock = threading.Lock()
        self._drops = 0
        self._heard_at = -SILENCE_SECONDS
        self._pid = 0

    def get(self, key: int) -> V | None:
        """The value, or None: it isn't known here, or nobody can say whether it still holds."""
        now = time.monotonic()
        if self._pid != os.getpid():
            self._begin()
        kept = self._values.get(key)
        if kept is None or now > kept[0] or now - self._heard_at > SILENCE_SECONDS:
            return None
        return kept[1]

    def ticket(self) -> int:
        """To be drawn before a value is read from where it is kept, and shown when it is put here."""
        return self._drops

    def put(self, key: int, value: V, ticket: int) -> None:
        """Keep a value, unless something was taken back since the ticket was drawn: it may be this one."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if ticket != self._drops:
                return
            while len(self._values) >= self._most and key not in self._values:
                del self._values[next(iter(self._values))]
            # A little less each time, so that what was put together isn't missed together.
            lives = self._seconds * random.uniform(1 - JITTER, 1)  # noqa: S311 - a pause, not a secret
            self._values[key] = (time.monotonic() + lives, value)

    def take_back(self, keys: Iterable[int]) -> None:
        """Say everywhere that these values have changed. Belongs after the commit of the change."""
        for key in sorted(set(keys)):
            self._drop(key)
            tell(self.channel, str(key))

    def _drop(self, key: int | None) -> None:
        """Forget one, or all."""
        with self._lock:
            self._drops += 1
            if key is None:
                self._values.clear()
            else:
                self._values.pop(key, None)

    def _begin(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid, self._heard_at = os.getpid(), -SILENCE_SECONDS
            self._values, self._drops = {}, self._drops + 1
        threading.Thread(target=self._listen_for_ever, name=f"near {self.channel}", daemon=True).start()

    def _listen_for_ever(self) -> None:
        told = False
        while True:
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                # Once for each time that it was open, and not twice a second for as long as Redis is away.
                if not told or self._heard_at > 0:
                    logger.warning("near cache %s is shut: %r", self.channel, error)
                told = True
            self._heard_at = -SILENCE_SECONDS
            time.sleep(ASKED_EVERY_SECONDS)

    def _listen(self) -> None:
        """Hear what is taken back until nothing is heard any more."""
        client = redis.Redis.from_url(
            settings.WAIMAI_REDIS_URL, socket_timeout=SILENCE_SECONDS, socket_connect_timeout=SILENCE_SECONDS
        )
        with client, client.pubsub() as ear:  # type: ignore[no-untyped-call]
            ear.subscribe(self.channel)
            asked_at, heard_at = 0.0, time.monotonic()
            while time.monotonic() - heard_at < SILENCE_SECONDS:
                if time.monotonic() - asked_at > ASKED_EVERY_SECONDS:
                    ear.ping()
                    asked_at = time.monotonic()
                message = ear.get_message(timeout=ASKED_EVERY_SECONDS)
                if message is None:
                    continue
                heard_at = time.monotonic()
                if message["type"] == "subscribe":
                    # What was said before is unknown.
                    self._drop(None)
                elif message["type"] == "message":
                    self._drop(int(message["data"]))
                self._heard_at = heard_at
