"""One question a second for everybody who waits for the same kind of news, however many they are.

A thousand streams that each asked a database once a second would be a thousand questions; instead whoever waits names
what it watches, one task asks for the state of all of it at once, and wakes those for whom it has changed. Belongs to
an event loop; the questions run in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from waimai.infra.errors import ServiceUnavailable
from waimai.infra.outages import is_outage

logger = logging.getLogger(__name__)

ASK_EVERY_SECONDS = 1.0
T = TypeVar("T")
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Watch:
    """What a stream watches: some keys of a group, and how to ask for the state of any of the group's keys.

    `ask(keys)` is blocking; it returns a value for each key that is there, which changes whenever there is news of it.
    """

    group: Hashable
    keys: Collection[int]
    ask: Callable[[Collection[int]], Mapping[int, object]]


class _Group:
    """The watchers of one group, and what was last known of what they watch."""

    def __init__(self) -> None:
        self.waiting: dict[int, set[asyncio.Event]] = defaultdict(set)
        self.known: dict[int, object] = {}

    def add(self, keys: Collection[int], event: asyncio.Event) -> None:
        for key in keys:
            self.waiting[key].add(event)

    def remove(self, keys: Collection[int], event: asyncio.Event) -> None:
        for key in keys:
            self.waiting[key].discard(event)
            if not self.waiting[key]:
                del self.waiting[key]
                # Whoever comes next must not take what is known now for what it has read.
                self.known.pop(key, None)

    def take(self, found: Mapping[int, object]) -> None:
        for key, state in found.items():
            if key in self.waiting and (key not in self.known or self.known[key] != state):
                self.known[key] = state
                for event in self.waiting[key]:
                    event.set()


class Watchers:
    """Everybody who waits, on one event loop."""

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._groups: dict[Hashable, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[asyncio.Event]:
        """An event that is set whenever there may be news; the one who waits clears it before reading."""
        event = asyncio.Event()
        group = self._groups.get(watch.group)
        if group is None:
            group = self._groups[watch.group] = _Group()
            task = asyncio.get_running_loop().create_task(self._ask_on(watch, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        group.add(watch.keys, event)
        try:
            yield event
        finally:
            group.remove(watch.keys, event)

    async def _ask_on(self, watch: Watch, group: _Group) -> None:
        failing = False
        while True:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            keys = list(group.waiting)
            if not keys:
                # In one step of the loop: nobody can have come in between.
                del self._groups[watch.group]
                return
            try:
                group.take(await self._in_thread(lambda keys=keys: watch.ask(keys)))  # type: ignore[misc]
                failing = False
            except Exception as error:
                if not failing:
                    down = isinstance(error, ServiceUnavailable) or is_outage(error)
                    logger.warning("streams of %s: %r", watch.group, error, exc_info=None if down else error)
                failing = True
