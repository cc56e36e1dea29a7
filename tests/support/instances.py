"""Servers of a test's own, on free ports, that it may kill, stop, fill up and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import redis
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.support.processes import wait_until
from tests.support.system import free_port

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
STARTS_WITHIN_SECONDS = 90.0
STOPS_WITHIN_SECONDS = 30.0


class Instance(ABC):
    """One server process on a folder and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts it in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves."""

    def environment(self) -> Mapping[str, str]:
        """The environment it runs in."""
        return os.environ

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        self.spawn(*options)
        self.wait_until_it_answers()

    def spawn(self, *options: str) -> None:
        """Start it and don't wait."""
        log = (self.folder / "server.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [*self.command(), *options],
                cwd=self.folder,
                env=dict(self.environment()),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_it_answers(self) -> float:
        """The seconds it took."""
        assert self.process is not None
        process = self.process

        def up() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"{process.args!r} ended with {process.returncode}; see {self.said()[-2000:]}")
            return self.answers()

        return wait_until(up, seconds=STARTS_WITHIN_SECONDS, what=f"{self.url} answers")

    def kill(self) -> None:
        """`kill -9`, whole."""
        if self.process is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOPS_WITHIN_SECONDS)
            self.process = None

    def hang(self) -> None:
        """It accepts connections and says nothing (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End of `hang`."""
        self._signal(signal.SIGCONT)

    def said(self) -> str:
        """Its log."""
        return (self.folder / "server.log").read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class MariaDB(Instance):
    """A MariaDB server that flushes at every commit, as production does."""

    @property
    def url(self) -> str:
        """Without a database."""
        return f"mysql://root@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """The system tables, once."""
        if (self.folder / "data" / "mysql").exists():
            return
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *self._layout(), "--auth-root-authentication-method=normal"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def command(self) -> Sequence[str]:
        """Small files and buffers, and everything else as Debian has it."""
        return [
            "mariadbd",
            "--no-defaults",
            *self._layout(),
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            # A server that starts removes what it takes for leftovers of its own.
            f"--tmpdir={self.folder}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=128M",
            "--innodb-flush-log-at-trx-commit=1",
            "--character-set-server=utf8mb4",
        ]

    def answers(self) -> bool:
        """A statement comes back."""
        import MySQLdb

        try:
            self.ask("SELECT 1")
        except MySQLdb.Error:
            return False
        return True

    def ask(self, sql: str, *arguments: Any, database: str = "") -> list[tuple[Any, ...]]:
        """Run one statement as root, beside everything Django does; the rows it gives."""
        import MySQLdb

        connection = MySQLdb.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            connect_timeout=2,
            read_timeout=30,
            autocommit=True,
            charset="utf8mb4",
        )
        with closing(connection), closing(connection.cursor()) as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def _layout(self) -> list[str]:
        return [
            f"--datadir={self.folder / 'data'}",
            f"--user={_server_user()}",
            "--innodb-log-file-size=32M",
            "--innodb-data-file-path=ibdata1:12M:autoextend",
        ]


class Redis(Instance):
    """A Redis server; with `aof` it keeps what it is told, second by second."""

    def __init__(self, folder: Path, *, aof: bool = False) -> None:
        super().__init__(folder)
        self.aof = aof

    @property
    def url(self) -> str:
        """Database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        """Nothing but an append-only file, if any, is written."""
        kept = ["--appendonly", "yes", "--appendfsync", "everysec"] if self.aof else ["--appendonly", "no"]
        base = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [*base, "--save", "", *kept]

    def answers(self) -> bool:
        """It pongs."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """A client that gives up soon."""
        return redis.Redis(port=self.port, socket_timeout=1, socket_connect_timeout=1)


class RabbitMQ(Instance):
    """A RabbitMQ node with a name of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.distribution_port = free_port()

    @property
    def url(self) -> str:
        """The guest's default host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> Sequence[str]:
        """The Erlang node in the foreground. Debian's wrapper in the PATH would change the user and the folder."""
        return [RABBITMQ if Path(RABBITMQ).exists() else "rabbitmq-server"]

    def environment(self) -> Mapping[str, str]:
        """Everything under the folder, and no other node's name, ports or plugins."""
        return dict(os.environ) | {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_BASE": str(self.folder),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
        }

    def answers(self) -> bool:
        """A client gets in."""
        try:
            with Connection(self.url, connect_timeout=1) as connection:
                connection.ensure_connection(max_retries=1, timeout=1)
        except (OSError, OperationalError):
            return False
        return True


def remove(instance: Instance) -> None:
    """End a server, however it is, and remove all it has written."""
    instance.kill()
    shutil.rmtree(instance.folder, ignore_errors=True)


def _server_user() -> str:
    """MariaDB refuses to run as root without being told to."""
    return "root" if os.geteuid() == 0 else str(os.environ.get("USER", "mysql"))


def seconds_of(body: Any) -> float:
    """How long a call takes."""
    started = time.monotonic()
    body()
    return time.monotonic() - started
