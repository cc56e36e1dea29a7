"""A server that stands still: whoever waits for it is released, and nobody else begins to wait."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.processes import wait_until
from waimai.infra import pulse
from waimai.infra.pulse import Pulse

pytestmark = pytest.mark.once


class Line:
    """A connection to a server that says nothing."""

    def __init__(self) -> None:
        self.socket, self.server = socket.socketpair()

    def fileno(self) -> int:
        return self.socket.fileno()

    def wait(self) -> bytes:
        return self.socket.recv(1)


class Server:
    """Something to knock at."""

    alive = True

    def knock(self) -> None:
        if not self.alive:
            raise TimeoutError


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.socket.close()
    made.server.close()


def test_while_the_server_answers_nothing_is_cut(line: Line) -> None:
    beats = Pulse("db", Server().knock)
    beats.watch(line)
    beats.feel()
    line.server.send(b"x")
    assert (beats.stopped, line.wait()) == (False, b"x")


def test_whoever_waits_is_released(line: Line) -> None:
    server = Server()
    beats = Pulse("db", server.knock)
    beats.watch(line)
    got: list[bytes] = []
    waiting = threading.Thread(target=lambda: got.append(line.wait()))
    waiting.start()
    server.alive = False
    beats.feel()
    waiting.join(5)
    assert (beats.stopped, got) == (True, [b""])


def test_a_connection_made_just_before_is_cut_at_the_next_knock(line: Line) -> None:
    server = Server()
    server.alive = False
    beats = Pulse("db", server.knock)
    beats.feel()
    beats.watch(line)
    beats.feel()
    assert line.wait() == b""


def test_it_is_told_when_it_stops_and_when_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    beats = Pulse("db", server.knock)
    for server.alive in (True, False, False, True, True):
        beats.feel()
    assert caplog.messages == ["db doesn't answer: TimeoutError(); its connections are cut", "db answers again"]
    assert not beats.stopped


def test_a_closed_connection_leaves_nothing_behind() -> None:
    beats = Pulse("db", Server().knock)
    line = Line()
    beats.watch(line)
    line.socket.close()
    server = line.server
    del line
    assert server.recv(1) == b""  # Both handles are closed.
    assert len(beats._sockets) == 0
    server.close()


def test_a_process_that_did_not_ask_for_it_feels_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_wanted", False)
    assert pulse.of("db", Server().knock) is None


def test_each_server_has_one_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_wanted", True)
    knocks: list[int] = []
    one = pulse.of("a server of this test", lambda: knocks.append(1))
    assert one is pulse.of("a server of this test", lambda: None)
    wait_until(lambda: knocks, seconds=5, what="its thread knocks")
