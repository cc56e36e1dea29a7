"""The pulse of a database server, felt by web processes, whose threads are few and shared by everybody.

A server that is gone refuses at once; one that stands still (a hung disk, a network that swallows packets) answers
nothing, and every thread that asks it would wait. Short time limits on statements would also end those that are
merely slow, such as a report or a wait for a lock. So each server is knocked at twice a second, by a thread of its
own: when it doesn't answer, all connections to it are cut, which ends whoever waits, and new ones are refused until it
answers.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, finalize

logger = logging.getLogger(__name__)

KNOCK_EVERY_SECONDS = 0.5
# A whole number: MariaDB's client counts in seconds.
ANSWERS_WITHIN_SECONDS = 1


class Pulse:
    """One server, as this process feels it; `stopped` while it doesn't answer."""

    def __init__(self, name: str, knock: Callable[[], None]) -> None:
        self.name, self.stopped = name, False
        self._knock = knock
        self._lock = threading.Lock()
        # A second handle on each connection's socket, closed with the connection: a number alone might be another's.
        self._sockets: WeakKeyDictionary[Any, socket.socket] = WeakKeyDictionary()

    def watch(self, connection: Any) -> None:
        """Cut this connection when the server stops answering."""
        handle = socket.socket(fileno=os.dup(connection.fileno()))
        finalize(connection, handle.close)
        with self._lock:
            self._sockets[connection] = handle

    def feel(self) -> None:
        """Knock once, and cut all connections if nobody answers."""
        try:
            self._knock()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody answered
            if not self.stopped:
                logger.warning("%s doesn't answer: %r; its connections are cut", self.name, error)
            self.stopped = True
            self._cut()
        else:
            if self.stopped:
                logger.warning("%s answers again", self.name)
            self.stopped = False

    def feel_for_ever(self) -> None:
        """Knock again and again."""
        while True:
            self.feel()
            time.sleep(KNOCK_EVERY_SECONDS)

    def _cut(self) -> None:
        with self._lock:
            handles = list(self._sockets.values())
        for handle in handles:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)


_wanted = False
_making = threading.Lock()
# By process too, as threads don't survive a fork.
_pulses: dict[tuple[int, str], Pulse] = {}


def begin() -> None:
    """From now on this process feels the pulse of each MySQL server it connects to."""
    global _wanted
    _wanted = True


def of(name: str, knock: Callable[[], None]) -> Pulse | None:
    """The pulse of a server, felt from its first use; None in processes that don't feel any. `knock` raises when
    nobody answers."""
    if not _wanted:
        return None
    key = (os.getpid(), name)
    with _making:
        if key not in _pulses:
            _pulses[key] = Pulse(name, knock)
            threading.Thread(target=_pulses[key].feel_for_ever, name=f"pulse {name}", daemon=True).start()
    return _pulses[key]
