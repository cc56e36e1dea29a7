"""The frame of a command that loops until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType

from waimai.infra.loops import Round, run_for_ever


def run_until_told(rounds: Iterable[Round]) -> None:
    """Loop until SIGINT or SIGTERM; a round under way is finished first."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    run_for_ever(rounds, stop)
