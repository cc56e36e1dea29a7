"""The gate before the threads: whole bodies only, short lines, staff first, and no work for those who have gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from waimai.infra import gate as module
from waimai.infra.gate import Gate, Lane, Threads

pytestmark = pytest.mark.once
Message = dict[str, Any]
LONG = 60.0


@dataclass
class Client:
    """Somebody who sends a request piece by piece, and notes the answer."""

    path: str = "/shops/1/"
    address: str = "203.0.113.7"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    sent: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    answer: list[Message] = field(default_factory=list)

    def send(self, body: bytes = b"", *, more: bool = False) -> Client:
        self.sent.put_nowait({"type": "http.request", "body": body, "more_body": more})
        return self

    def hang_up(self) -> Client:
        self.sent.put_nowait({"type": "http.disconnect"})
        return self

    async def note(self, message: Any) -> None:
        self.answer.append(message)

    @property
    def scope(self) -> Message:
        return {"type": "http", "path": self.path, "headers": self.headers, "client": (self.address, 1)}

    @property
    def status(self) -> int | None:
        return self.answer[0]["status"] if self.answer else None

    @property
    def code(self) -> str:
        return str(json.loads(self.answer[1]["body"])["code"])


class Shop:
    """An application whose every request waits until it is told to go on."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.bodies: list[bytes] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.served.append(scope["path"])
        self.bodies.append((await receive())["body"])
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


def at_the_gate(
    *, threads: int = 4, line: int = 2, patience: float = LONG
) -> Callable[[Callable[[Gate, Shop], Awaitable[None]]], None]:
    def run(body: Callable[[Gate, Shop], Awaitable[None]]) -> None:
        async def main() -> None:
            shop = Shop()
            await asyncio.wait_for(body(Gate(shop, Threads(threads, line, patience)), shop), 30)

        asyncio.run(main())

    return run


def comes(gate: Gate, client: Client) -> asyncio.Task[None]:
    call: Coroutine[Any, Any, None] = gate(client.scope, client.sent.get, client.note)
    return asyncio.create_task(call)


async def settle() -> None:
    """Everything that can go on without waiting has."""
    for _turn in range(20):
        await asyncio.sleep(0)


def test_a_request_is_passed_on_whole() -> None:
    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        mei = Client()
        task = comes(gate, mei)
        for piece in (b"half ", b"and "):
            mei.send(piece, more=True)
            await settle()
            assert shop.served == []
        mei.send(b"half")
        shop.go_on.set()
        await task
        assert (shop.bodies, mei.status, gate.bodies.bytes, gate.threads.running) == ([b"half and half"], 200, 0, 0)


def test_slow_bodies_hold_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        slow = [Client(address=f"203.0.113.{n}").send(b"{", more=True) for n in range(40)]
        tasks = [comes(gate, client) for client in slow]
        await settle()
        mei = Client().send()
        task = comes(gate, mei)
        await settle()
        assert (shop.served, gate.threads.running) == (["/shops/1/"], 1)
        shop.go_on.set()
        await task
        for client in slow:
            client.hang_up()
        await asyncio.gather(*tasks)
        assert (mei.status, gate.bodies.of_address.total(), len(shop.served)) == (200, 0, 1)


def test_a_body_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)

    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        mei = Client().send(b"{", more=True)
        await comes(gate, mei)
        assert (mei.status, mei.code, shop.served) == (408, "request_timeout", [])
        assert (b"connection", b"close") in mei.answer[0]["headers"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(announced: bool) -> None:
    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        mei = Client(headers=[(b"content-length", b"9999999")] if announced else [])
        for _piece in range(17):
            mei.send(b"x" * 65_536, more=True)
        await comes(gate, mei)
        assert (mei.status, mei.code, shop.served, gate.bodies.bytes) == (413, "payload_too_large", [], 0)


def test_a_form_of_the_admin_may_carry_a_picture() -> None:
    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        shop.go_on.set()
        lan = Client(path="/admin/menu/item/1/change/").send(b"x" * 6_000_000)
        await comes(gate, lan)
        assert lan.status == 200


def test_one_address_sends_so_many_slow_bodies_at_once() -> None:
    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        slow = [Client().send(b"{", more=True) for _ in range(20)]
        tasks = [comes(gate, client) for client in slow]
        await settle()
        one_more = Client().send(b"{", more=True)
        await comes(gate, one_more)
        assert (one_more.status, one_more.code) == (503, "service_unavailable")
        other = Client(address="203.0.113.8").send(b"{", more=True)
        tasks.append(comes(gate, other))
        await settle()
        assert other.status is None
        for client in (*slow, other):
            client.hang_up()
        await asyncio.gather(*tasks)


def test_bodies_together_stay_below_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BODY_BYTES", 100)

    @at_the_gate()
    async def _(gate: Gate, shop: Shop) -> None:
        first = Client().send(b"x" * 60, more=True)
        task = comes(gate, first)
        await settle()
        second = Client().send(b"x" * 30, more=True).send(b"x" * 30)
        await comes(gate, second)
        assert second.status == 503
        first.hang_up()
        await task
        assert gate.bodies.bytes == 0


def test_a_line_that_is_full_answers_at_once() -> None:
    @at_the_gate(threads=4, line=2)
    async def _(gate: Gate, shop: Shop) -> None:
        clients = [Client().send() for _ in range(6)]
        tasks = [comes(gate, client) for client in clients]
        await settle()
        # Two of four threads are kept for others, two wait, two are turned away.
        assert [client.status for client in clients] == [None] * 4 + [503] * 2
        assert clients[-1].code == "service_unavailable"
        assert dict(clients[-1].answer[0]["headers"])[b"retry-after"] == b"1"
        shop.go_on.set()
        await asyncio.gather(*tasks)
        assert [client.status for client in clients] == [200] * 4 + [503] * 2
        assert gate.threads.running == 0


def test_who_waits_too_long_is_never_served() -> None:
    @at_the_gate(threads=3, patience=0.05)
    async def _(gate: Gate, shop: Shop) -> None:
        first, late = Client().send(), Client(path="/late/").send()
        task = comes(gate, first)
        await settle()
        await comes(gate, late)
        assert (late.status, shop.served) == (503, ["/shops/1/"])
        shop.go_on.set()
        await task
        assert gate.threads.running == 0


def test_work_for_a_client_that_has_gone_is_not_done() -> None:
    @at_the_gate(threads=3)
    async def _(gate: Gate, shop: Shop) -> None:
        first, gone, next_one = Client().send(), Client(path="/gone/").send(), Client(path="/next/").send()
        tasks = [comes(gate, client) for client in (first, gone, next_one)]
        await settle()
        gone.hang_up()
        await settle()
        shop.go_on.set()
        await asyncio.gather(*tasks)
        assert (shop.served, gone.answer) == (["/shops/1/", "/next/"], [])
        assert gate.threads.running == 0


def test_a_crowd_of_customers_leaves_threads_to_staff_and_health() -> None:
    @at_the_gate(threads=4, line=50)
    async def _(gate: Gate, shop: Shop) -> None:
        crowd = [comes(gate, Client().send()) for _ in range(30)]
        await settle()
        others = ["/api/v1/staff/orders/", "/readyz"]
        tasks = [comes(gate, Client(path=path).send()) for path in others]
        await settle()
        assert shop.served == ["/shops/1/"] * 2 + others
        webhook = comes(gate, Client(path="/api/v1/payments/webhooks/sandbox/").send())
        await settle()
        assert len(shop.served) == 4
        shop.go_on.set()
        await asyncio.gather(*crowd, *tasks, webhook)
        # It went before all who had waited longer.
        assert shop.served[4].startswith("/api/v1/payments/webhooks/")


def test_a_thread_is_free_before_a_slow_reader_has_read() -> None:
    async def slow_reader(scope: Any, receive: Any, send: Any) -> None:
        scope["waimai.thread_is_free"]()
        await reading.wait()

    async def main() -> None:
        threads = Threads(3, 1, LONG)
        task = comes(Gate(slow_reader, threads), Client().send())
        await settle()
        assert threads.running == 0
        reading.set()
        await task
        assert threads.running == 0

    reading = asyncio.Event()
    asyncio.run(main())


def test_a_turn_that_comes_to_somebody_who_was_cancelled_goes_to_the_next() -> None:
    async def main() -> None:
        threads, nobody = Threads(3, 5, LONG), asyncio.get_running_loop().create_future()
        await threads.take(Lane.CUSTOMERS, nobody)
        first, second = (asyncio.create_task(threads.take(Lane.CUSTOMERS, nobody)) for _ in range(2))
        await settle()
        threads.give_back()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(second, 5)
        threads.give_back()
        assert threads.running == 0

    asyncio.run(main())
