"""Child processes that are kept alive: started, restarted when they die, and stopped in order. Linux and macOS.

One thread and one selector: forking from a process with threads is where supervisors hang.
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

PR_SET_PDEATHSIG = 1
LIVED_LONG_SECONDS = 10.0
FIRST_RESTART_AFTER_SECONDS = 0.1
SLOWEST_RESTART_AFTER_SECONDS = 5.0
# A pipe that select() calls writable takes this much without blocking.
WRITTEN_AT_ONCE_BYTES = 4096
LONGEST_LINE_BYTES = 16 * 1024

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run. `stage` orders the stopping: the highest stops first."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stage: int = 0
    grace_seconds: float = 8.0
    inherited_files: tuple[int, ...] = ()


@dataclass
class Child:
    """A program and the process that runs it now."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    starts_at: float = 0.0
    deaths_in_a_row: int = 0
    unfinished_line: bytes = field(default=b"", repr=False)

    def restart_delay(self, now: float) -> float:
        """Seconds to wait after a death: nearly none, and longer each time it dies young."""
        self.deaths_in_a_row = 1 if now - self.started_at > LIVED_LONG_SECONDS else self.deaths_in_a_row + 1
        return min(FIRST_RESTART_AFTER_SECONDS * 2.0 ** (self.deaths_in_a_row - 1), SLOWEST_RESTART_AFTER_SECONDS)


class Supervisor:
    """Runs children until it is told to stop."""

    def __init__(self, *, label: str = "up") -> None:
        self.label = label
        self.stop_asked = 0
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._wake, wake_writer = os.pipe()
        for end in (self._wake, wake_writer):
            os.set_blocking(end, False)
        self._selector.register(self._wake, selectors.EVENT_READ, self._drain_wake)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        # A handler that does nothing, so that a death wakes the selector through the file above.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def say(self, text: str, *, name: str = "") -> None:
        """Print lines under a name; drop them rather than wait for a reader who has stopped reading."""
        prefix = f"{name or self.label:<7}| "
        for line in text.splitlines():
            data = f"{prefix}{line}".encode(errors="replace")[: WRITTEN_AT_ONCE_BYTES - 1] + b"\n"
            try:
                if select.select([], [1], [], 0)[1]:
                    os.write(1, data)
            except OSError:
                return

    def keep(self, program: Program) -> None:
        """Start a program and start it again whenever it ends."""
        child = Child(program)
        self._children.append(child)
        self._start(child)

    def run_once(self, program: Program) -> int | None:
        """Run a program to its end; its exit status, or None when a stop was asked meanwhile."""
        child = Child(program)
        self._start(child)
        assert child.process is not None
        while child.process.poll() is None and not self.stop_asked:
            self.tick()
        if child.process.poll() is None:
            child.process.kill()
        status = child.process.wait()
        self._drain(child)
        return None if self.stop_asked else status

    def watch(self, file: int, when_readable: Callable[[], None]) -> None:
        """Call back when `file` can be read."""
        self._selector.register(file, selectors.EVENT_READ, when_readable)

    def unwatch(self, file: int) -> None:
        """Forget a watched file, before it is closed."""
        self._selector.unregister(file)

    def tick(self, seconds: float = 0.2) -> None:
        """Pass on output, notice deaths, start what is due; waits at most `seconds`."""
        for key, _events in self._selector.select(seconds):
            key.data()
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now)
            if child.process is None and child.starts_at <= now and not self.stop_asked:
                self._start(child)

    def stop(self) -> None:
        """Stop all children, the highest stage first; kill those that outstay their grace or a second request."""
        asked = self.stop_asked
        self.stop_asked = max(asked, 1)
        for stage in sorted({child.program.stage for child in self._children}, reverse=True):
            self._stop_stage([child for child in self._children if child.program.stage == stage], asked)

    def _stop_stage(self, children: list[Child], asked: int) -> None:
        for child in children:
            if child.process is not None:
                child.process.terminate()
        deadline = time.monotonic() + max(child.program.grace_seconds for child in children)
        while any(child.process is not None for child in children):
            if time.monotonic() > deadline or self.stop_asked > max(asked, 1):
                for child in children:
                    self._kill(child)
            self.tick(0.1)

    def _kill(self, child: Child) -> None:
        if child.process is not None and child.process.poll() is None:
            self.say(f"{child.program.name} does not stop by itself and is killed")
            child.process.kill()
            child.process.wait()

    def _start(self, child: Child) -> None:
        program = child.program
        supervisor_id = os.getpid()
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(
            program.command,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=program.inherited_files,
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops them in order.
            start_new_session=True,
            preexec_fn=lambda: _die_with(supervisor_id),
        )
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, lambda: self._pump(child))

    def _bury(self, child: Child, now: float) -> None:
        assert child.process is not None
        status = child.process.returncode
        self._drain(child)
        child.process = None
        if self.stop_asked:
            return
        delay = child.restart_delay(now)
        child.starts_at = now + delay
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self.say(f"{child.program.name} ended ({how}); starting it again in {delay:.1f} s")

    def _pump(self, child: Child) -> bool:
        """Pass on what a child wrote; False when there is no more to come for now."""
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
            return False
        *lines, rest = (child.unfinished_line + data).split(b"\n")
        child.unfinished_line = rest[-LONGEST_LINE_BYTES:]
        for line in lines:
            self.say(line.decode(errors="replace"), name=child.program.name)
        return True

    def _drain(self, child: Child) -> None:
        """Pass on the last words of a process that has ended."""
        assert child.process is not None
        assert child.process.stdout is not None
        while not child.process.stdout.closed and self._pump(child):
            pass
        if not child.process.stdout.closed:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
        if child.unfinished_line:
            self.say(child.unfinished_line.decode(errors="replace"), name=child.program.name)
        child.unfinished_line = b""

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_asked += 1


def _die_with(supervisor_id: int) -> None:
    """In the new process: have the kernel kill it when the supervisor dies, however that dies."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor_id:
        os._exit(1)
