"""A thousand streams on one process: each is told, soon, and costs little. Prints what was measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import accounts.services
from orders import services
from tests import factories
from tests.factories import Person, Stall, placed
from tests.support.server import WebProcess

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(180)]
STREAMS, PEOPLE = 1000, 50
# What a stream may cost, and how late its news may be: far more than was measured, far less than would hurt.
MOST_KILOBYTES_EACH, LATEST_SECONDS = 100, 5.0


@dataclass
class Listener:
    """One open stream; when it heard of the cancellation."""

    order_id: int
    token: str
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0

    async def listen(self, address: tuple[str, int]) -> None:
        """Until the order is cancelled."""
        reader, writer = await asyncio.open_connection(*address)
        path = f"/api/v1/orders/{self.order_id}/events/"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
        seen = b""
        while b"cancelled" not in seen:
            some = await reader.read(4096)
            assert some, seen
            seen += some
            assert seen.startswith(b"HTTP/1.1 200"), seen[:200]
            if b"pending_payment" in seen:
                self.opened.set()
        self.heard_at = time.monotonic()
        writer.close()


def resident_kilobytes(pid: int) -> int:
    """What a process has in memory."""
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_thousand_streams_are_told_soon_and_cost_little(
    stall: Stall, web_processes: Callable[..., WebProcess], record_property: Callable[[str, object], None]
) -> None:
    people = [factories.person(f"1360000{n:04}") for n in range(PEOPLE)]
    orders = [(who, placed(who, stall, key="k")) for who in people]
    tokens = {who.id: accounts.services.issue_tokens(who.user).access for who in people}
    web = web_processes(WAIMAI_RATE_ENTRY="100000/100000")
    listeners = [Listener(order_id, tokens[who.id]) for who, order_id in orders for _ in range(STREAMS // PEOPLE)]
    before = resident_kilobytes(web.process.pid)
    times: dict[int, float] = {}

    async def all_of_them() -> int:
        tasks = [asyncio.create_task(each.listen(web.address)) for each in listeners]
        async with asyncio.timeout(60):
            await asyncio.gather(*(each.opened.wait() for each in listeners))
        kilobytes = resident_kilobytes(web.process.pid) - before
        await asyncio.to_thread(cancel_all, orders, times)
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
        return kilobytes

    kilobytes = asyncio.run(all_of_them())
    late = sorted(each.heard_at - times[each.order_id] for each in listeners)
    p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
    each = kilobytes / STREAMS
    print(
        json.dumps({"streams": STREAMS, "kilobytes_each": round(each, 1), "p50": round(p50, 2), "p99": round(p99, 2)})
    )
    record_property("streams", {"kilobytes_each": each, "p50": p50, "p99": p99})
    assert each < MOST_KILOBYTES_EACH
    assert p99 < LATEST_SECONDS


def cancel_all(orders: list[tuple[Person, int]], times: dict[int, float]) -> None:
    """Cancel every order, and note when it was committed."""
    from django.db import connections

    for who, order_id in orders:
        services.cancel(order_id=order_id, user_id=who.id)
        times[order_id] = time.monotonic()
    connections.close_all()
