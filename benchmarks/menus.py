"""Reading a menu: from the near cache, unchanged, the long way, and from a trivial Django view."""

from __future__ import annotations

import re
import statistics
import subprocess
from typing import TYPE_CHECKING, Any

from benchmarks.orders import DISHES, OURS, REFERENCE, cpu_seconds, serving

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

CONNECTIONS = 32
RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")


def compare(fleet: Fleet, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Requests a second and microseconds of the server's processor for each, medians of the rounds."""
    shop_id = _shop()
    path = f"/api/v1/shops/{shop_id}/menu/"
    reference = {"DJANGO_SETTINGS_MODULE": "benchmarks.reference.settings"}
    found: dict[str, list[tuple[float, float]]] = {}
    for _round in range(rounds):
        with serving(fleet, OURS, {}) as (port, pid):
            etag = _warm(port, path)
            for name, headers in {
                "near cache": (),
                "not modified": (f"If-None-Match: {etag}",),
                # A cookie is reason enough for the fast door to leave it to Django.
                "the long way": ("Cookie: a=b",),
            }.items():
                found.setdefault(name, []).append(_load(port, pid, path, headers, seconds))
        with serving(fleet, REFERENCE, reference) as (port, pid):
            plain = f"/plain/menu/?shop={shop_id}"
            found.setdefault("plain Django view", []).append(_load(port, pid, plain, (), seconds))
    return {
        name: {
            "requests_per_second": round(statistics.median(rate for rate, _ in runs)),
            "server_us": round(statistics.median(us for _, us in runs)),
        }
        for name, runs in found.items()
    }


def _shop() -> int:
    from menu.models import Shop
    from tests import factories
    from tests.menu.factories import make_dish

    shop_id = factories.stall("menu").shop_id
    shop = Shop.objects.get(pk=shop_id)
    for n in range(DISHES // 4):
        make_dish(shop, f"dish {n}", "25.00")
    return shop_id


def _warm(port: int, path: str) -> str:
    """Until the near cache hears and the door has heard each answer; the ETag."""
    import time

    import requests

    url = f"http://127.0.0.1:{port}{path}"
    for _try in range(20):
        etag = requests.get(url, timeout=5, headers={"Accept": "*/*"}).headers["ETag"]
        for headers in ({}, {"If-None-Match": etag}):
            subprocess.run(["wrk", "-t1", "-c1", "-d1s", *_arguments(headers), url], capture_output=True, check=True)
        time.sleep(0.1)
        if _try > 1:
            break
    return etag


def _arguments(headers: dict[str, str]) -> list[str]:
    return [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]


def _load(port: int, pid: int, path: str, headers: tuple[str, ...], seconds: float) -> tuple[float, float]:
    before = cpu_seconds(pid)
    sent = [part for header in headers for part in ("-H", header)]
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", *sent, f"http://127.0.0.1:{port}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = RATE.search(said)
    assert match is not None, said
    rate = float(match.group(1))
    return rate, (cpu_seconds(pid) - before) / (rate * seconds) * 1e6
