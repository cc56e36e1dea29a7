"""Three times as much as the web process can do.

A crowd reads menus, orders and pays while the payment provider hangs, in an open loop: who comes doesn't wait for
those before. Three variants of one web process on MariaDB and Redis: nothing in its way, then token bucket and breaker,
then a short line before the threads as well.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.figures import Row, Table, alternate, quantile
from benchmarks.orders import wait_until_it_answers

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

PEOPLE = 200
# What a client waits before it gives up; and how long the provider takes, of which we wait three seconds.
CLIENT_SECONDS, PROVIDER_SECONDS = 10.0, 5.0
MENU, ORDER, PAY = 70, 25, 5
WITHOUT_BREAKER = "from waimai.infra import breaker; breaker.FAILURES_TO_OPEN = 10**9; "
NO_LINE = {"WAIMAI_WEB_WAITING": "1000000", "WAIMAI_WEB_PATIENCE_SECONDS": "600"}
SHORT_LINE = {"WAIMAI_WEB_WAITING": "32", "WAIMAI_WEB_PATIENCE_SECONDS": "2"}
T = TypeVar("T")
Request = tuple[str, str, dict[str, str], bytes]


@dataclass
class Result:
    """What became of the requests of one run; seconds of each that was accepted."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    # Whoever is served after the rush has ended doesn't count for the rate.
    ends_at: float = float("inf")
    in_time: int = 0

    def note(self, status: int, seconds: float) -> None:
        """One answer; status 0 when there was none in time."""
        self.statuses[status] += 1
        if status in {200, 201}:
            self.seconds.append(seconds)
            self.in_time += time.monotonic() < self.ends_at
        elif status in {429, 503}:
            self.refused_seconds.append(seconds)

    def row(self, duration: float, recovery: float) -> Row:
        """The figures of it."""
        refused = self.statuses[429] + self.statuses[503]
        return {
            "offered": self.statuses.total(),
            "accepted_per_second": self.in_time / duration,
            "p50_s": quantile(self.seconds, 0.5),
            "p99_s": quantile(self.seconds, 0.99),
            "rejected": refused,
            "rejected_p50_s": quantile(self.refused_seconds, 0.5),
            "failed": self.statuses.total() - len(self.seconds) - refused,
            "recovery_s": recovery,
        }


class Crowd:
    """Customers who don't know each other, each on a connection of its own."""

    def __init__(self, stall: Any, people: list[Any]) -> None:
        import accounts.services
        from tests.factories import wish

        self.menu = f"/api/v1/shops/{stall.shop_id}/menu/"
        self.wishes = [json.dumps(wish(person, stall), default=str).encode() for person in people]
        self.tokens = [accounts.services.issue_tokens(person.user).access for person in people]
        self.numbers = itertools.count()
        self.placed: list[tuple[int, int]] = []

    def next(self) -> Request:
        """What the next of them wants."""
        (what,) = random.choices((MENU, ORDER, PAY), (MENU, ORDER, PAY))  # noqa: S311 - a load, no secret
        n = next(self.numbers)
        if what == MENU or (what == PAY and not self.placed):
            return "GET", self.menu, {}, b""
        who, path, body = n % len(self.tokens), "/api/v1/orders/", self.wishes[n % len(self.tokens)]
        if what == PAY:
            who, order_id = self.placed.pop()
            path, body = f"/api/v1/orders/{order_id}/pay/", b'{"provider": "sandbox"}'
        headers = {"Authorization": f"Bearer {self.tokens[who]}", "Idempotency-Key": f"n-{n}"}
        return "POST", path, headers | {"Content-Type": "application/json", "X-Who": str(who)}, body

    async def visit(self, port: int, result: Result) -> None:
        """One request, from connecting to the last byte."""
        began, request = time.monotonic(), self.next()
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                status, body = await _ask(port, request)
        except (TimeoutError, OSError, ValueError, IndexError):
            status, body = 0, b""
        result.note(status, time.monotonic() - began)
        if status == 201 and request[1] == "/api/v1/orders/":
            self.placed.append((int(request[2]["X-Who"]), json.loads(body)["id"]))


async def _ask(port: int, request: Request) -> tuple[int, bytes]:
    method, path, headers, body = request
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), rest


async def _closed_loop(crowd: Crowd, port: int, seconds: float, callers: int = 16) -> float:
    """How many requests a second are served when each caller waits for its answer."""
    result, ends_at = Result(), time.monotonic() + seconds

    async def caller() -> None:
        while time.monotonic() < ends_at:
            await crowd.visit(port, result)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return len(result.seconds) / seconds


async def _open_loop(crowd: Crowd, port: int, *, rate: float, seconds: float) -> tuple[Result, float]:
    """Offer `rate` requests a second; then the seconds until one alone is served as quickly as ever."""
    calm = [await _alone(crowd, port) for _ in range(5)]
    tasks, began = [], time.monotonic()
    result = Result(ends_at=began + seconds)
    for n in range(int(rate * seconds)):
        if (ahead := began + n / rate - time.monotonic()) > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(crowd.visit(port, result)))
    ended = time.monotonic()
    while await _alone(crowd, port) > 3 * statistics.median(calm) + 0.05:
        pass
    recovery = time.monotonic() - ended
    await asyncio.gather(*tasks)
    return result, recovery


async def _alone(crowd: Crowd, port: int) -> float:
    began = time.monotonic()
    status, _body = await _ask(port, ("GET", crowd.menu, {}, b""))
    return time.monotonic() - began if status == 200 else CLIENT_SECONDS


def compare(fleet: Fleet, *, rounds: int, seconds: float, times: float = 3) -> Table:
    """The variants in turn, `times` the capacity offered to each for so many seconds."""
    from tests import factories

    stall = factories.stall()
    crowd = Crowd(stall, [factories.person(f"137{n:08}") for n in range(PEOPLE)])
    limits_off = NO_LINE | {"WAIMAI_RATELIMIT": "0"}
    capacity = _with_web(fleet, limits_off, "", lambda port: asyncio.run(_closed_loop(crowd, port, min(8, seconds))))
    print(f"  capacity, everything well: {capacity:.0f}/s; offered: {times * capacity:.0f}/s", flush=True)
    bucket = {"WAIMAI_RATELIMIT": "1", "WAIMAI_RATE_ENTRY": f"{capacity:.0f}/{2 * capacity:.0f}"}

    def variant(environment: dict[str, str], before: str) -> Row:
        _break_the_provider()
        crowd.placed.clear()
        offered = partial(_open_loop, crowd, rate=times * capacity, seconds=seconds)
        result, recovery = _with_web(fleet, environment, before, lambda port: asyncio.run(offered(port)))
        return result.row(seconds, recovery)

    targets = {
        "bucket + breaker + short line": partial(variant, SHORT_LINE | bucket, ""),
        "bucket + breaker": partial(variant, NO_LINE | bucket, ""),
        "none": partial(variant, limits_off, WITHOUT_BREAKER),
    }
    return alternate(rounds, targets)


def _break_the_provider() -> None:
    from django.core.cache import cache

    from payments.providers import sandbox
    from waimai.infra import ids
    from waimai.infra.sharding import shards

    cache.clear()
    for alias in shards():
        near = next(number for number in range(2**16, 2**17) if _is_on(number, alias, ids))
        sandbox.fail_next("create", near=near, times=10**6, mode=sandbox.Fault.SLOW, seconds=PROVIDER_SECONDS)


def _is_on(number: int, alias: str, ids: Any) -> bool:
    from waimai.infra.sharding import shard_of_id

    return bool(ids.bucket_of(number) >= 0) and shard_of_id(number) == alias


def _with_web(fleet: Fleet, environment: dict[str, str], before: str, body: Callable[[int], T]) -> T:
    """Run a web process and do something with its port; `before` is what it does before it begins."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        file = listener.fileno()
        program = f"import sys; sys.argv[1:] = ['{file}']; from waimai import asgi; {before}"
        web = subprocess.Popen(
            [sys.executable, "-c", f"{program}from waimai.supervisor_web import main; main()"],
            env=fleet.environment() | environment,
            pass_fds=(file,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port: int = listener.getsockname()[1]
            wait_until_it_answers(port)
            return body(port)
        finally:
            web.kill()
            web.wait()
