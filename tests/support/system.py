"""A whole system under `bin/up`, started, watched and killed from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.support.processes import alive, children_of, wait_until

# How each child is known among the supervisor's processes.
CHILDREN = {
    "web": "waimai.supervisor_web",
    "events": "manage.py events",
    "worker": "waimai.celery --quiet worker",
    "beat": "waimai.celery --quiet beat",
    "valkey": "valkey-server",
}
# The first start in a fresh clone installs everything.
COLD_START_SECONDS = 180.0


class System:
    """One `bin/up` on a folder of its own."""

    def __init__(self, root: Path, folder: Path, *arguments: str, port: int = 0, **environment: str) -> None:
        self.root, self.folder = root, folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = folder / "output"
        folder.mkdir(exist_ok=True)
        # Nothing of the test process's own settings may reach it.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WAIMAI_", "DJANGO_"))}
        started = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [base_python(), str(root / "bin" / "up"), "--port", str(self.port), *arguments],
                env=clean | {"WAIMAI_DATA_DIR": str(folder / "data")} | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        self.ready_after_seconds = time.monotonic() - started

    def child(self, name: str) -> int:
        """The process id of a child, 0 while it is down."""
        mark = CHILDREN[name]
        return next((i for i, command in children_of(self.process.pid).items() if mark in command), 0)

    def kill_child(self, name: str) -> float:
        """Kill a child; the seconds until another stands in its place."""
        killed = self.child(name)
        os.kill(killed, signal.SIGKILL)
        return wait_until(lambda: self.child(name) not in {0, killed}, seconds=10, what=f"another {name}")

    def stop(self) -> int:
        """Stop it as an operator would; its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """All it has printed."""
        return self.output.read_text()

    def _wait_until_ready(self) -> None:
        def ready_or_ended() -> bool:
            return "waimai is ready" in self.said() or not alive(self.process.pid)

        wait_until(ready_or_ended, seconds=COLD_START_SECONDS, what="bin/up is ready")
        if self.process.poll() is not None:
            raise AssertionError(f"bin/up ended with {self.process.returncode}:\n{self.said()}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def base_python() -> str:
    """The Python that made this virtual environment: what a stranger would type."""
    return str(getattr(sys, "_base_executable", sys.executable))
