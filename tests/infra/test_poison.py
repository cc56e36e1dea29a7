"""A message that kills whoever touches it is parked in the end, and its neighbours live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import factories
from tests.factories import Crash, Person, Stall
from tests.fixtures import mei, stall
from waimai.infra import outbox
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage

__all__ = ["mei", "stall"]
pytestmark = pytest.mark.data
TOPIC = "order.paid"


def relay_after_each_death(who: Person, hearer: Callable[..., None], times: int, patch: pytest.MonkeyPatch) -> None:
    """The relay dies with its process and is started again, so many times."""
    patch.setitem(outbox._hearers, TOPIC, [hearer])
    for _ in range(times):
        OutboxMessage.objects.on(who.shard).filter(state=OutboxMessage.State.PENDING).update(next_at=db_now(who.shard))
        try:
            outbox.relay(who.shard)
        except Crash:
            continue


def dies(event: Any, *, using: str) -> None:
    raise Crash


def states(who: Person) -> dict[int, int]:
    """The state of the news of each paid order."""
    return dict(OutboxMessage.objects.on(who.shard).filter(topic=TOPIC).values_list("key", "state"))


def test_what_kills_its_process_is_parked(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = factories.paid(mei, stall)
    relay_after_each_death(mei, dies, 8, monkeypatch)
    assert states(mei) == {order_id: OutboxMessage.State.PENDING}
    relay_after_each_death(mei, dies, 1, monkeypatch)
    assert states(mei) == {order_id: OutboxMessage.State.PARKED}
    assert "died" in OutboxMessage.objects.on(mei.shard).get(topic=TOPIC).error


def test_its_neighbours_are_heard(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = factories.paid(mei, stall, key="a"), factories.paid(mei, stall, key="b")

    def dies_of_one(event: Any, *, using: str) -> None:
        if event.key == bad:
            raise Crash

    relay_after_each_death(mei, dies_of_one, 12, monkeypatch)
    assert states(mei) == {good: OutboxMessage.State.DONE, bad: OutboxMessage.State.PARKED}
