"""A message or a timer that kills whoever touches it is parked in the end, and its neighbours live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from tests import factories
from tests.factories import Crash, Person, Stall
from tests.fixtures import mei, stall
from waimai.infra import ids, outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer

__all__ = ["mei", "stall"]
pytestmark = pytest.mark.data
TOPIC = "order.paid"
HERE = "orders_0"


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


def test_whoever_was_claimed_with_it_is_heard(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = factories.paid(mei, stall, key="a"), factories.paid(mei, stall, key="b")

    def dies_of_one(event: Any, *, using: str) -> None:
        if event.key == bad:
            raise Crash

    relay_after_each_death(mei, dies_of_one, 12, monkeypatch)
    assert states(mei) == {good: OutboxMessage.State.DONE, bad: OutboxMessage.State.PARKED}


def kill_with(bad: int, *, lane: timers.Lane = "db") -> list[int]:
    """Timers of tea end the process when one of them is `bad`; what else was fired."""
    fired: list[int] = []

    @timers.fires("tea", lane=lane)
    def ring(ref_ids: list[int], *, using: str, now: object) -> None:
        if bad in ref_ids:
            raise Crash
        timers.cancel("tea", ref_ids, using=using)
        fired.extend(ref_ids)

    return fired


def sweep_after_each_death(times: int, *, lane: timers.Lane = "db") -> None:
    """The sweeper is started so many times, each time after its pauses are over."""
    for _ in range(times):
        timers._began[HERE] = db_now(HERE)
        Timer.objects.on(HERE).filter(due_at__lt=timers.PARKED).update(due_at=db_now(HERE) - timedelta(seconds=1))
        with suppress(Crash):
            timers.sweep(HERE, lane=lane)


@pytest.fixture(autouse=True)
def _began() -> Iterator[None]:
    """This process began when it began."""
    kept = dict(timers._began)
    yield
    timers._began.clear()
    timers._began.update(kept)


def set_tea(number: int) -> list[int]:
    refs = [ids.new_id(0) for _ in range(number)]
    timers.schedule_many("tea", [(ref, db_now(HERE)) for ref in refs], using=HERE)
    return refs


def tea(ref_id: int) -> Timer:
    return Timer.objects.on(HERE).get(kind="tea", ref_id=ref_id)


@pytest.mark.parametrize("lane", ["db", "network"])
def test_a_timer_that_kills_its_process_is_parked(lane: timers.Lane, kinds: None) -> None:
    (bad,) = set_tea(1)
    kill_with(bad, lane=lane)
    sweep_after_each_death(8, lane=lane)
    assert (tea(bad).attempts, tea(bad).due_at < timers.PARKED) == (8, True)
    sweep_after_each_death(1, lane=lane)
    assert (tea(bad).due_at, tea(bad).error) == (timers.PARKED, timers.DIED)
    sweep_after_each_death(1, lane=lane)
    assert tea(bad).attempts == 8


@pytest.mark.parametrize("lane", ["db", "network"])
def test_the_timers_beside_it_fire(lane: timers.Lane, kinds: None) -> None:
    good, bad, better = set_tea(3)
    fired = kill_with(bad, lane=lane)
    sweep_after_each_death(4, lane=lane)
    assert sorted(fired) == sorted([good, better])


def test_a_timer_that_fails_without_killing_is_never_parked(kinds: None) -> None:
    @timers.fires("tea")
    def ring(ref_ids: list[int], *, using: str, now: object) -> None:
        raise ValueError("spilt")

    (bad,) = set_tea(1)
    sweep_after_each_death(12)
    assert (tea(bad).attempts, tea(bad).error) == (12, "ValueError('spilt')")
    assert tea(bad).due_at < timers.PARKED


def test_what_was_due_before_the_sweeper_began_fires_together(kinds: None) -> None:
    refs = set_tea(5)
    calls: list[list[int]] = []

    @timers.fires("tea")
    def ring(ref_ids: list[int], *, using: str, now: object) -> None:
        timers.cancel("tea", ref_ids, using=using)
        calls.append(sorted(ref_ids))

    sweep_after_each_death(1)
    assert calls == [sorted(refs)]


def test_a_parked_timer_can_be_fired_again(kinds: None) -> None:
    (bad,) = set_tea(1)
    kill_with(bad)
    sweep_after_each_death(9)
    fired = kill_with(0)
    assert timers.sweep(HERE) == 0
    call_command("timers", "--revive")
    assert timers.sweep(HERE) == 1
    assert fired == [bad]
