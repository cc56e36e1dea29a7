"""The whole system on servers of a test's own: MariaDB, Redis, perhaps RabbitMQ, and our processes, each killable.

The test's own Django is pointed at the same databases, so that factories make data there and the audit reads it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import requests
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.db import connections

from tests.support import canaries, instances
from tests.support.databases import AFTER_EACH_TEST
from tests.support.instances import Instance, MariaDB, RabbitMQ, Redis
from tests.support.processes import alive, wait_until
from tests.support.source import ROOT
from waimai.infra import ids, parts, pulse, sharding

Kind = Literal["web", "events", "worker", "beat"]
CELERY = ("-W", "ignore:::celery.platforms", "-m", "celery", "-A", "waimai.celery", "--quiet")
STARTS_WITHIN_SECONDS = 60.0
STOPS_WITHIN_SECONDS = 40.0


class Program:
    """One process of ours, and those that took its place when it was started again."""

    def __init__(self, fleet: Fleet, kind: Kind, number: int, environment: Mapping[str, str], root: Path) -> None:
        self.fleet, self.kind, self.name, self.root = fleet, kind, f"{kind}-{number}", root
        self.environment = dict(environment)
        self.log = fleet.folder / f"{self.name}.log"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512) if kind == "web" else None
        self.port = self.listener.getsockname()[1] if self.listener else 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where a web process is found; the port stays the same when it is started again."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, **environment: str) -> None:
        """Start it (again); it isn't waited for, see `wait_until_ready`."""
        files = (self.listener.fileno(),) if self.listener else ()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._arguments()],
                cwd=self.root,
                env=self.fleet.environment() | self.environment | environment,
                stdout=log,
                stderr=log,
                pass_fds=files,
            )

    def wait_until_ready(self) -> float:
        """Wait until a web process answers; the seconds it took."""

        def up() -> bool:
            assert self.running, f"{self.name} ended: {self.said()[-3000:]}"
            try:
                return requests.get(f"{self.url}/healthz", timeout=1).ok
            except requests.RequestException:
                return False

        return wait_until(up, seconds=STARTS_WITHIN_SECONDS, what=f"{self.name} answers")

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def hang(self) -> None:
        """It stands still, like in a very long pause of a garbage collector (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End of `hang`."""
        self.signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to stop, and wait; its exit status."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(STOPS_WITHIN_SECONDS)

    def retire(self) -> int:
        """Stop it for good: a web process's port is refused from now on. Its exit status."""
        if self.listener:
            self.listener.close()
        return self.stop()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait_until_dead(self, *, seconds: float = 30) -> int:
        """Wait for its end; its exit status, -9 after SIGKILL."""
        assert self.process is not None
        return self.process.wait(seconds)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _arguments(self) -> list[str]:
        if self.kind == "web":
            assert self.listener is not None
            return ["-m", "waimai.supervisor_web", str(self.listener.fileno())]
        if self.kind == "events":
            return ["manage.py", "events"]
        if self.kind == "beat":
            return [*CELERY, "beat", f"--schedule={self.fleet.folder / self.name}.schedule", "--pidfile="]
        quiet = ("--without-gossip", "--without-mingle", "--loglevel=WARNING", f"--hostname={self.name}@%h")
        return [*CELERY, "worker", "--pool=threads", "--concurrency=4", *quiet]


class Fleet:
    """Servers, processes and databases of one test; made by the fixture `fleets`."""

    def __init__(self, folder: Path, template: Path, *, separate: bool, broker: str, aof: bool) -> None:
        self.folder = folder
        self.aliases = list(settings.DATABASES)
        folder.mkdir(parents=True)
        self.databases = self._copy_databases(template, separate=separate)
        self.redis = Redis(folder / "redis", aof=aof)
        self.rabbitmq = RabbitMQ(folder / "rabbitmq") if broker == "rabbitmq" else None
        self.programs: list[Program] = []

    @property
    def database(self) -> MariaDB:
        """The server of `default`, which is the only one unless the fleet is `separate`."""
        return self.databases["default"]

    @property
    def servers(self) -> list[Instance]:
        """Every server once."""
        found: list[Instance] = [*dict.fromkeys(self.databases.values()), self.redis]
        return [*found, self.rabbitmq] if self.rabbitmq else found

    def database_url(self, alias: str) -> str:
        """The URL of one of our databases."""
        return f"{self.databases[alias].url}/{alias}"

    def ask(self, alias: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement on one of our databases, beside everything Django does."""
        return self.databases[alias].ask(sql, *arguments, database=alias)

    def environment(self) -> dict[str, str]:
        """The environment of our processes."""
        shards = [alias for alias in self.aliases if alias != "default"]
        return {name: value for name, value in os.environ.items() if not name.startswith("WAIMAI_")} | {
            "DJANGO_SETTINGS_MODULE": "waimai.settings",
            "PYTHONUNBUFFERED": "1",
            "WAIMAI_DATA_DIR": str(self.folder / "data"),
            "WAIMAI_SECRET_KEY": settings.SECRET_KEY,
            "WAIMAI_DATABASE_URL": self.database_url("default"),
            "WAIMAI_ORDER_SHARDS": " ".join(self.database_url(alias) for alias in shards),
            "WAIMAI_REDIS_URL": self.redis.url,
            "WAIMAI_BROKER_URL": self.rabbitmq.url if self.rabbitmq else self.redis.url.replace("/0", "/1"),
            "WAIMAI_PUBLIC_URL": next((each.url for each in self.programs if each.kind == "web"), "http://127.0.0.1:9"),
            "WAIMAI_LOG_LEVEL": "WARNING",
            # A load is heavier than any customer; tests of the limits say which they want.
            "WAIMAI_RATELIMIT": "0",
            "WAIMAI_WEB_PATIENCE_SECONDS": "60",
        }

    def start(self, kind: Kind, *, root: Path = ROOT, **environment: str) -> Program:
        """Start one more process of a kind, of the release in `root`; a web process is waited for."""
        program = Program(self, kind, len(self.programs), environment, root)
        self.programs.append(program)
        program.start()
        if kind == "web":
            program.wait_until_ready()
        return program

    def manage(
        self, *arguments: str, check: bool = True, root: Path = ROOT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a `manage.py` command of the release in `root` on the fleet's databases."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=root,
            env=self.environment() | environment,
            check=check,
            capture_output=True,
            text=True,
        )

    def open(self) -> None:
        """Start the servers."""
        for server in self.servers:
            server.spawn()
        for server in self.servers:
            server.wait_until_it_answers()

    def close(self) -> None:
        """End everything and remove the folder."""
        for program in self.programs:
            program.go_on()
            program.kill()
            if program.listener:
                program.listener.close()
            canaries.watch.look(f"the log of {program.name}", program.said())
        for server in self.servers:
            instances.remove(server)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copy_databases(self, template: Path, *, separate: bool) -> dict[str, MariaDB]:
        def copy(name: str) -> MariaDB:
            server = MariaDB(self.folder / name)
            shutil.copytree(template, server.folder, dirs_exist_ok=True)
            return server

        if separate:
            return {alias: copy(alias) for alias in self.aliases}
        return dict.fromkeys(self.aliases, copy("mariadb"))


def make_template(folder: Path) -> Path:
    """A folder of MariaDB with every database migrated, to be copied; the server is stopped again."""
    server = MariaDB(folder)
    server.prepare()
    server.start()
    try:
        for alias in settings.DATABASES:
            server.ask(f"CREATE DATABASE `{alias}` CHARACTER SET utf8mb4")
        with django_on({alias: f"{server.url}/{alias}" for alias in settings.DATABASES}):
            call_command("migrate_all", verbosity=0)
    finally:
        server.stop()
    for leftover in ("server.log", "socket", "pid"):
        (folder / leftover).unlink(missing_ok=True)
    return folder


@contextmanager
def django_on(urls: Mapping[str, str]) -> Iterator[None]:
    """Point this process's Django at other databases, whatever kind its own are; nothing remembered crosses over."""
    kept = dict(connections.settings)
    changed = connections.configure_settings({alias: parts.database(url) for alias, url in urls.items()})
    _switch(changed)
    try:
        yield
    finally:
        _switch(kept)


def _switch(to: Mapping[str, Any]) -> None:
    connections.close_all()
    # A test may have loaded the web application: its own connections wait for a server like a worker's.
    pulse._wanted = False
    for alias, values in to.items():
        connections.settings[alias] = values
        with suppress(AttributeError):  # This thread hasn't used it yet.
            del connections[alias]
    # A worker number leased on one set of databases says nothing on another.
    ids._current = None
    sharding.forget_bucket_map()
    for forget in AFTER_EACH_TEST:
        if forget != cache.clear:
            forget()
    cache.clear()


def still_running(program: Program) -> bool:
    """Whether the process of a program lives, seen from outside."""
    return program.process is not None and alive(program.process.pid)
