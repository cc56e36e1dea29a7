"""The mailbox between other threads and the event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future

import pytest

from waimai.infra import fast_door
from waimai.infra.fast_door import mailbox

pytestmark = pytest.mark.once


def test_what_another_thread_has_done_arrives() -> None:
    async def main() -> int:
        done: Future[int] = Future()
        waiting = asyncio.ensure_future(mailbox().wait_for(done))
        await asyncio.to_thread(done.set_result, 7)
        return await waiting

    assert asyncio.run(main()) == 7


def test_nobody_waits_longer_than_their_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_door, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(fast_door, "PATIENCE_WATCHED_EVERY_SECONDS", 0.05)

    async def main() -> tuple[object, ...]:
        forgotten: list[Future[int]] = [Future() for _ in range(3)]
        waiting = [asyncio.ensure_future(mailbox().wait_for(future)) for future in forgotten]
        await asyncio.sleep(0.05)
        kept: Future[int] = Future()
        last = asyncio.ensure_future(mailbox().wait_for(kept))
        found = await asyncio.gather(*waiting, return_exceptions=True)
        kept.set_result(1)
        forgotten[0].set_result(2)
        return *found, await last

    *late, kept = asyncio.run(main())
    assert [type(each) for each in late] == [TimeoutError] * 3
    assert kept == 1


def test_catching_up_waits_for_what_the_loop_has_yet_to_read() -> None:
    async def main() -> list[bytes]:
        loop, box, read = asyncio.get_running_loop(), mailbox(), list[bytes]()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            read.append(await reader.readexactly(1))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.sleep(0.05)

        def other_thread() -> list[bytes]:
            loop.call_soon_threadsafe(writer.write, b"x")
            box.catch_up()
            return list(read)

        seen = await asyncio.to_thread(other_thread)
        writer.close()
        server.close()
        return seen

    assert asyncio.run(main()) == [b"x"]


def test_a_loop_that_stands_still_is_not_waited_for() -> None:
    async def main() -> float:
        box = mailbox()

        def other_thread() -> float:
            began = time.monotonic()
            box.catch_up()
            return time.monotonic() - began

        thread = asyncio.get_running_loop().run_in_executor(None, other_thread)
        time.sleep(0.5)  # noqa: ASYNC251 - that is the point
        return await thread

    assert asyncio.run(main()) < 0.4
