"""Durable orders a second through the real endpoint, beside the same order as one transaction each.

Rows are counted in MariaDB, not answers. Each round of ours ends in `kill -9` under full load: what was
acknowledged and isn't there is lost.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Table, cpu_seconds, medians
from benchmarks.fleets import database_pid

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

HERE = Path(__file__).resolve().parent
DISHES, PEOPLE = 200, 400
WARM_SECONDS = 1.0
PATH = "/api/v1/orders/"
OURS = ("-m", "waimai.supervisor_web")
# A parent with two web processes on one listening socket.
OURS_TWICE = (
    "-c",
    "import subprocess, sys; web = [sys.executable, '-m', 'waimai.supervisor_web', sys.argv[1]]; "
    "[subprocess.Popen(web, pass_fds=[int(sys.argv[1])]) for _ in range(2)][0].wait()",
)
PRODUCTION = {"WAIMAI_DEBUG": "0", "WAIMAI_HTTPS": "0"}
# The fastest server for them that we found: one process, as many threads as our pages have.
REFERENCE = (
    *("-m", "granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "16", "--no-ws"),
    *("--log-level", "error", "--host", "127.0.0.1", "waimai.wsgi:application", "--port"),
)
REFERENCE_SETTINGS = {"DJANGO_SETTINGS_MODULE": "benchmarks.reference.settings"}


@dataclass
class Run:
    """One load on one server."""

    durable_per_second: float
    p50_ms: float
    p99_ms: float
    lost: int
    errors: int
    server_us: float
    database_us: float
    generator_share: float


@dataclass(frozen=True)
class Target:
    """A server: how it is started, where orders are posted, which wishes it gets."""

    name: str
    program: tuple[str, ...]
    path: str
    wishes: str
    environment: dict[str, str]


@contextmanager
def serving(fleet: Fleet, program: tuple[str, ...], environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """A web process, ours on a socket that it inherits; its port and its number."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        port: int = listener.getsockname()[1]
        inherited = () if program == REFERENCE else (listener.fileno(),)
        if not inherited:
            listener.close()
        process = subprocess.Popen(
            [sys.executable, *program, str(*inherited or (port,))],
            env=fleet.environment() | PRODUCTION | environment,
            pass_fds=inherited,
            stderr=subprocess.DEVNULL,
            # The reference's server has a child that would outlive it.
            start_new_session=True,
        )
        try:
            wait_until_it_answers(port)
            yield port, process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_it_answers(port: int) -> None:
    """Raises RuntimeError when it doesn't within 20 s."""
    import requests

    for _try in range(100):
        try:
            if requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise RuntimeError("the web process doesn't answer")


def wrk(port: int, path: str, wishes: Path, *, connections: int, seconds: float) -> subprocess.Popen[str]:
    """Start the load generator on orders."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "20s", "-s", str(HERE / "load.lua")]
    run = secrets.token_hex(4)
    url = f"http://127.0.0.1:{port}"
    return subprocess.Popen([*command, url, "--", path, str(wishes), run], stdout=subprocess.PIPE, text=True)


def rows(fleet: Fleet) -> int:
    """Orders on all shards."""
    shards = [alias for alias in fleet.aliases if alias != "default"]
    return sum(int(fleet.ask(alias, "SELECT COUNT(*) FROM orders_order")[0][0]) for alias in shards)


def compare(fleet: Fleet, *, rounds: int, seconds: float, peer: Path | None) -> Table:
    """Every target in turn, round by round; then ours is killed under load. Returns the medians by name."""
    from benchmarks import peers

    wishes = {
        "spread": write_wishes(fleet.folder, hot=False, limited=False),
        "spread limited": write_wishes(fleet.folder, hot=False, limited=True),
        "hot limited": write_wishes(fleet.folder, hot=True, limited=True),
    }
    targets = [
        Target("ours", OURS, PATH, "spread", {}),
        Target("ours, two processes", OURS_TWICE, PATH, "spread", {}),
        Target("ours, limited dishes", OURS, PATH, "spread limited", {}),
        Target("ours, one hot dish", OURS, PATH, "hot limited", {}),
        Target("orm", REFERENCE, "/orm/orders/", "spread", REFERENCE_SETTINGS),
        Target("raw", REFERENCE, "/raw/orders/", "spread", REFERENCE_SETTINGS),
    ]
    found: dict[str, list[Run]] = {}
    for number in range(rounds):
        for target in targets:
            for connections in (128, 32) if target.name == "ours" else (128,):
                name = target.name if connections == 128 else f"{target.name}, {connections} connections"
                kill = target.name == "ours" and connections == 128
                run = measure(fleet, target, wishes[target.wishes], connections=connections, seconds=seconds, kill=kill)
                found.setdefault(name, []).append(run)
                print(f"  round {number + 1}, {name}: {run.durable_per_second:.0f}/s", flush=True)
        for name, run in peers.measure(fleet, peer, seconds=seconds) if peer else ():
            found.setdefault(name, []).append(run)
            print(f"  round {number + 1}, {name}: {run.durable_per_second:.0f}/s", flush=True)
    return {name: medians([asdict(run) for run in runs]) for name, runs in found.items()}


def measure(fleet: Fleet, target: Target, wishes: Path, *, connections: int, seconds: float, kill: bool = False) -> Run:
    """One round. With `kill` the server is killed at the end, while everybody still orders."""
    with serving(fleet, target.program, target.environment) as (port, pid):
        loaded = partial(wrk, port, target.path, wishes)
        return watch(fleet, loaded, lambda: rows(fleet), pid, connections=connections, seconds=seconds, kill=kill)


def watch(
    fleet: Fleet,
    loaded: Callable[..., subprocess.Popen[str]],
    count: Callable[[], int],
    pid: int,
    *,
    connections: int,
    seconds: float,
    kill: bool = False,
) -> Run:
    """A load on the server `pid`: rows by the second, and processor time of all three."""
    loaded(connections=8, seconds=2).communicate()
    base = count()
    load = loaded(connections=connections, seconds=seconds + WARM_SECONDS + 1)
    pids = (pid, database_pid(fleet), load.pid)
    time.sleep(WARM_SECONDS)
    first, began, before = count(), time.monotonic(), [cpu_seconds(each) for each in pids]
    time.sleep(seconds)
    counted, took, after = count() - first, time.monotonic() - began, [cpu_seconds(each) for each in pids]
    if kill:
        os.kill(pid, signal.SIGKILL)
    said, _ = load.communicate()
    line = next(line for line in said.splitlines() if line.startswith("RESULT"))
    accepted, _requests, p50, p99, errors = (float(part) for part in line.split()[1:])
    time.sleep(0.5)
    lost = max(0, int(accepted) - (count() - base))
    server, mariadb, generator = (b - a for a, b in zip(before, after, strict=True))
    each = 1e6 / max(1, counted)
    # Who talks to a killed server hears nothing: those are no errors.
    return Run(
        counted / took, p50, p99, lost, 0 if kill else int(errors), server * each, mariadb * each, generator / took
    )


def write_wishes(folder: Path, *, hot: bool, limited: bool) -> Path:
    """A file of tokens and bodies: two hundred dishes, or one that everybody wants."""
    import accounts.services
    import menu.services
    from menu.models import Shop
    from tests import factories
    from tests.menu.factories import make_dish

    stall = factories.stall(f"bench {hot} {limited}")
    shop = Shop.objects.get(pk=stall.shop_id)
    dishes = [make_dish(shop, f"dish {n}", "25.00").pk for n in range(1 if hot else DISHES)]
    if limited:
        for dish in dishes:
            menu.services.set_stock(item_id=dish, available=1_000_000)
    path = folder / f"wishes-{'hot' if hot else 'spread'}-{'limited' if limited else 'free'}"
    with path.open("w") as file:
        for n in range(PEOPLE):
            phone = f"1{3 + hot * 2 + limited}{n:09}"
            person = factories.person(phone)
            token = accounts.services.issue_tokens(person.user).access
            lines = [(dishes[(n * 3 + k) % len(dishes)], 1) for k in range(1 if hot else 3)]
            body = json.dumps(factories.wish(person, stall, *lines), default=str)
            file.write(f"{token}\t{body}\n")
    return path
