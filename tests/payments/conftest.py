"""Payments are tested without the orders above them: a recorder hears their news instead."""

from __future__ import annotations

from typing import Any

import pytest

from payments.events import PaymentCaptured, PaymentFailed, RefundSucceeded
from waimai.infra import outbox


@pytest.fixture(autouse=True)
def news(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything payments told, in order."""
    heard: list[Any] = []

    def record(event: outbox.Event, *, using: str) -> None:
        heard.append(event)

    for event in (PaymentCaptured, PaymentFailed, RefundSucceeded):
        monkeypatch.setitem(outbox._inside, event.topic, [record])
        monkeypatch.setitem(outbox._hearers, event.topic, [])
    return heard
