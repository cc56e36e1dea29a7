"""Forged, stale, altered and oversized notices of payment: refused at the door, and nothing has moved."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from payments.models import WebhookReceipt
from payments.providers import sandbox_wire
from payments.states import PaymentStatus
from tests.factories import audit
from tests.payments.factories import pending, row, signed
from waimai.infra import sharding

pytestmark = pytest.mark.data
URL = "/api/v1/payments/webhooks/sandbox/"
DAY_SECONDS = 86_400
Wire = tuple[dict[str, str], bytes]


def without_signature(headers: dict[str, str], body: bytes) -> Wire:
    return {name: value for name, value in headers.items() if not name.endswith("Signature")}, body


def of_another_key(headers: dict[str, str], body: bytes) -> Wire:
    forged = hashlib.sha256(b"guess" + body).hexdigest()
    return headers | {"X-Sandbox-Signature": forged}, body


def of_yesterday(headers: dict[str, str], body: bytes) -> Wire:
    return sandbox_wire.sign(body, timestamp=int(time.time()) - DAY_SECONDS), body


def redated(headers: dict[str, str], body: bytes) -> Wire:
    return headers | {"X-Sandbox-Timestamp": str(int(headers["X-Sandbox-Timestamp"]) + 1)}, body


def tampered(headers: dict[str, str], body: bytes) -> Wire:
    return headers, body.replace(b"captured", b"captured ")


def weaker(headers: dict[str, str], body: bytes) -> Wire:
    return headers | {"X-Sandbox-Signature": "none", "X-Sandbox-Algorithm": "none"}, body


def named_twice(headers: dict[str, str], body: bytes) -> Wire:
    doubled = b'{"amount":"0.01",' + body[1:]
    return sandbox_wire.sign(doubled), doubled


def ten_megabytes(headers: dict[str, str], body: bytes) -> Wire:
    large = body + b" " * (10 * 1024 * 1024)
    return sandbox_wire.sign(large), large


@pytest.mark.parametrize(
    ("forge", "status"),
    [
        (without_signature, 401),
        (of_another_key, 401),
        (of_yesterday, 401),
        (redated, 401),
        (tampered, 401),
        (weaker, 401),
        (named_twice, 400),
        (ten_megabytes, 413),
    ],
)
def test_s08_a_forged_notice_moves_nothing(forge: Callable[[dict[str, str], bytes], Wire], status: int) -> None:
    payment = pending()
    headers, body = forge(*signed(payment.id))
    answer = Client().post(URL, body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert row(payment.id).status == PaymentStatus.PENDING
    assert [WebhookReceipt.objects.on(alias).count() for alias in sharding.shards()] == [0, 0]
    assert audit() == []


def test_s08_the_genuine_one_is_taken() -> None:
    payment = pending()
    headers, body = signed(payment.id)
    assert Client().post(URL, body, content_type="application/json", headers=headers).status_code == 200
    assert row(payment.id).status == PaymentStatus.CAPTURED


def test_s08_a_flood_of_unknown_keys_makes_us_call_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    Client().get("/healthz")
    monkeypatch.setattr(socket.socket, "connect", _only_our_own_parts(socket.socket.connect))
    for number in range(20):
        unknown = headers | {"X-Sandbox-Serial": f"{number:032x}", "X-Sandbox-Signature": f"{number:064x}"}
        assert Client().post(URL, body, content_type="application/json", headers=unknown).status_code == 401


def test_s08_a_notice_for_another_provider_has_no_door() -> None:
    headers, body = signed(pending().id)
    answer = Client().post(URL.replace("sandbox", "wechat"), body, content_type="application/json", headers=headers)
    assert (answer.status_code, json.loads(answer.content)["code"]) == (404, "not_found")


def _only_our_own_parts(connect: Callable[..., None]) -> Callable[..., None]:
    def checked(self: socket.socket, address: Any) -> None:
        assert isinstance(address, str) or address[1] == 3306, f"calls {address}"
        connect(self, address)

    return checked
