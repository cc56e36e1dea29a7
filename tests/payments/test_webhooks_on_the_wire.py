"""What a stranger can send to the webhook through the web server itself, byte by byte."""

from __future__ import annotations

import json
import socket
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from payments.models import Payment
from tests.payments.factories import alerts, pending, row, signed
from tests.support.server import Server

pytestmark = pytest.mark.data

PATH = "/api/v1/payments/webhooks/sandbox/"
TEN_MEGABYTES = 10 * 1024 * 1024
PIECE = b"x" * 65_536
Headers = list[tuple[str, str]]


class Wire:
    """A connection on which nothing is made well-formed."""

    def __init__(self, server: Server) -> None:
        place = urlsplit(server.url)
        self.socket = socket.create_connection((place.hostname or "", place.port or 0), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, headers: Headers, body: bytes = b"") -> None:
        head = [f"POST {PATH} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
        self.socket.sendall("\r\n".join([*head, "", ""]).encode() + body)

    def notify(self, headers: Headers, body: bytes) -> tuple[int, str]:
        self.send([*headers, ("Content-Length", str(len(body)))], body)
        return self.answer()

    def answer(self) -> tuple[int, str]:
        """The status and the code of the next answer."""
        status = int(self.file.readline().split()[1])
        fields: dict[bytes, bytes] = {}
        while line := self.file.readline().strip():
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        document: dict[str, Any] = json.loads(self.file.read(int(fields[b"content-length"])))
        if status >= 400:
            assert fields[b"content-type"] == b"application/problem+json"
        return status, document["code"]

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    connection = Wire(server)
    yield connection
    connection.close()


@pytest.fixture(autouse=True)
def goes_on(server: Server) -> Iterator[None]:
    """Whatever was sent, the next genuine notification is taken."""
    yield
    headers, body = signed(pending(key="afterwards").id)
    assert requests.post(server.url + PATH, data=body, headers=headers, timeout=30).status_code == 200


def genuine() -> tuple[Payment, Headers, bytes]:
    payment = pending()
    headers, body = signed(payment.id)
    return payment, list(headers.items()), body


def test_ten_megabytes_are_refused_before_any_of_them_is_sent(wire: Wire) -> None:
    wire.send([("Content-Length", str(TEN_MEGABYTES))])
    assert wire.answer() == (413, "payload_too_large")


def test_whoever_asks_first_is_not_told_to_go_on(wire: Wire) -> None:
    wire.send([("Content-Length", str(TEN_MEGABYTES)), ("Expect", "100-continue")])
    assert wire.answer() == (413, "payload_too_large")


def test_ten_megabytes_that_are_sent_all_the_same_are_not_kept(wire: Wire) -> None:
    tracemalloc.start()
    try:
        wire.send([("Content-Length", str(TEN_MEGABYTES))])
        for _piece in range(TEN_MEGABYTES // len(PIECE)):
            wire.socket.sendall(PIECE)
        answer = wire.answer()
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer == (413, "payload_too_large")
    assert peak < TEN_MEGABYTES / 3
    # The connection serves the next request.
    _payment, headers, body = genuine()
    assert wire.notify(headers, body) == (200, "SUCCESS")


def test_ten_megabytes_whose_length_is_not_announced_are_not_kept(wire: Wire) -> None:
    wire.send([("Transfer-Encoding", "chunked")])
    for _piece in range(TEN_MEGABYTES // len(PIECE)):
        wire.socket.sendall(b"10000\r\n" + PIECE + b"\r\n")
    wire.socket.sendall(b"0\r\n\r\n")
    assert wire.answer() == (413, "payload_too_large")


@pytest.mark.parametrize("name", ["X-Sandbox-Timestamp", "X-Sandbox-Nonce", "X-Sandbox-Signature"])
def test_a_header_that_is_missing_or_there_twice(wire: Wire, name: str) -> None:
    payment, headers, body = genuine()
    without = [each for each in headers if each[0] != name]
    value = dict(headers)[name]
    for bad in (without, [*headers, (name, value)], [*headers, (name, "0")], [(name, "0"), *headers]):
        assert wire.notify(bad, body) == (401, "webhook_refused")
    assert row(payment.id).status == "pending"


def test_a_header_spelled_with_underscores_is_no_header(wire: Wire) -> None:
    payment, headers, body = genuine()
    assert wire.notify([(name.replace("-", "_"), value) for name, value in headers], body) == (401, "webhook_refused")
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize("body", [b"", b"\xff\xfe{}", b"{" * 60_000, b"\x1f\x8b\x08", b'{"payment":1,"payment":2}'])
def test_what_nobody_signed_is_refused_whatever_it_is(wire: Wire, body: bytes) -> None:
    _payment, headers, _body = genuine()
    assert wire.notify(headers, body) == (401, "webhook_refused")


def test_a_caller_who_goes_away_in_the_middle_holds_up_nobody(server: Server) -> None:
    payment, headers, body = genuine()
    for _caller in range(20):
        connection = Wire(server)
        connection.send([*headers, ("Content-Length", str(len(body)))], body[:20])
        connection.close()
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == []
