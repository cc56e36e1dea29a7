"""Reading a menu: from the near cache, unchanged, the long way, from a trivial Django view, and as a file of nginx."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from benchmarks.figures import Meter, Row, Table, alternate
from benchmarks.orders import DISHES, OURS, REFERENCE, REFERENCE_SETTINGS, serving

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

CONNECTIONS = 32
COUNTED = re.compile(r"(\d+) requests in")
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=10;
  default_type application/json;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}/files; }}
}}
"""


def compare(fleet: Fleet, *, rounds: int, seconds: float) -> Table:
    """Requests a second and microseconds of the server's processor for each, medians of the rounds."""
    shop_id = _shop()
    path = f"/api/v1/shops/{shop_id}/menu/"
    with serving(fleet, OURS, {}) as (port, _pid):
        answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=5)
    ours = {
        "near cache": (),
        "not modified": (f"If-None-Match: {answer.headers['ETag']}",),
        # A cookie is reason enough for the fast door to leave it to Django.
        "the long way": ("Cookie: a=b",),
    }
    targets = {name: partial(_ours, fleet, path, headers, seconds) for name, headers in ours.items()}
    targets |= {name: partial(_loaded, shop_id, name, seconds) for name in ("loaded from L2", "loaded from MariaDB")}
    targets["plain Django view"] = partial(_plain, fleet, f"/plain/menu/?shop={shop_id}", (), seconds)
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        print("  nginx isn't here: no row of it", flush=True)
    else:
        targets["nginx, a file"] = partial(_nginx, fleet.folder / "nginx", answer.content, seconds)
    return alternate(rounds, targets)


def _shop() -> int:
    from menu.models import Shop
    from tests import factories
    from tests.menu.factories import make_dish

    shop_id = factories.stall("menu").shop_id
    shop = Shop.objects.get(pk=shop_id)
    for n in range(DISHES // 4):
        make_dish(shop, f"dish {n}", "25.00")
    return shop_id


def _ours(fleet: Fleet, path: str, headers: Sequence[str], seconds: float) -> Row:
    with serving(fleet, OURS, {}) as (port, pid):
        # Until the near cache hears and the door has heard the answer.
        for _try in range(3):
            load(port, path, headers, 1, connections=1, server=[pid])
            time.sleep(0.1)
        return load(port, path, headers, seconds, server=[pid])


def _loaded(shop_id: int, name: str, seconds: float) -> Row:
    """Menus a second that one thread of this process gets from the next level, as after a start or an edit."""
    from menu import catalogue
    from waimai.infra import short_redis

    catalogue.menu_document(shop_id)
    count, until, used = 0, time.monotonic() + seconds, time.process_time()
    began = time.monotonic()
    while time.monotonic() < until:
        catalogue._menus.clear()
        catalogue._documents.clear()
        if name.endswith("MariaDB"):
            short_redis.client().flushdb()
        catalogue.menu_document(shop_id)
        count += 1
    took = time.monotonic() - began
    return {
        "requests_per_second": count / took,
        "server_us": (time.process_time() - used) / count * 1e6,
        "mean_ms": 1000 * took / count,
    }


def _plain(fleet: Fleet, path: str, headers: Sequence[str], seconds: float) -> Row:
    with serving(fleet, REFERENCE, REFERENCE_SETTINGS) as (port, pid):
        load(port, path, headers, 1, connections=1, server=[pid])
        return load(port, path, headers, seconds, server=[pid])


def _nginx(folder: Path, body: bytes, seconds: float) -> Row:
    with _static(folder, body) as (port, pid):
        return load(port, "/menu", (), seconds, server=[pid])


@contextmanager
def _static(folder: Path, body: bytes) -> Iterator[tuple[int, int]]:
    """nginx with one worker and a file of these bytes at /menu; its port and its number."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    (folder / "files" / "menu").write_bytes(body)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    # Its worker would be somebody who may not look into our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, user=user))
    command = [shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx", "-c", str(configuration)]
    process = subprocess.Popen([*command, "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _try in range(50):
        try:
            if requests.get(f"http://127.0.0.1:{port}/menu", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError("nginx doesn't answer")


def load(
    port: int,
    path: str,
    headers: Sequence[str],
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    **groups: Sequence[int],
) -> Row:
    """GET it as often as it goes; with the processor time of these groups of processes. Raises when one isn't a 2xx."""
    sent = [part for header in headers for part in ("-H", header)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", *sent]
    meter = Meter(**groups)
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    match = COUNTED.search(said)
    if match is None or "Non-2xx" in said:
        raise RuntimeError(said)
    row = meter.row("requests_per_second", int(match.group(1)))
    return (
        {"requests_per_second": row.pop("requests_per_second")}
        | row
        | {"mean_ms": connections * 1000 / max(1e-9, int(match.group(1)) / max(1, round(seconds)))}
    )
