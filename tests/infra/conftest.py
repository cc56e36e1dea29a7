"""Machinery of these tests alone: timers, events and leases that vanish with the test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.infra.ledger import group, ledger, threads
from tests.support.databases import Databases
from waimai.infra import outbox, timers
from waimai.infra.models import WorkerLease

__all__ = ["group", "ledger", "threads"]


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kinds of timers but those that the test registers."""
    monkeypatch.setattr(timers, "_kinds", {})


@pytest.fixture
def hearers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hears anything but what the test registers."""
    monkeypatch.setattr(outbox, "_classes", {})
    monkeypatch.setattr(outbox, "_hearers", defaultdict(list))
    monkeypatch.setattr(outbox, "_inside", defaultdict(list))


@pytest.fixture
def no_leases(db_all: Databases) -> Iterator[None]:
    """No worker number is taken; afterwards those of this process are what they were."""
    kept = list(WorkerLease.objects.all())
    WorkerLease.objects.all().delete()
    yield
    WorkerLease.objects.all().delete()
    WorkerLease.objects.bulk_create(kept)
