from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
from django.core.management import call_command
from django.db import transaction

from tests.support.processes import wait_until
from waimai.infra import ids, loops, outbox, tasks, timers
from waimai.infra.clock import db_now
from waimai.infra.loops import Round, run_for_ever
from waimai.infra.models import OutboxMessage

pytestmark = pytest.mark.data
HERE = "orders_0"


@dataclass(frozen=True, kw_only=True)
class Baked(outbox.Event):
    """A cake came out of the oven."""

    topic: ClassVar[str] = "cake.baked"


@pytest.fixture
def news(hearers: None) -> list[int]:
    """The cakes that were heard of."""
    heard: list[int] = []

    @outbox.hear(Baked)
    def listen(event: Baked, *, using: str) -> None:
        heard.append(event.key)

    return heard


@pytest.fixture
def bells(kinds: None) -> list[int]:
    """The timers that rang."""
    rang: list[int] = []

    @timers.fires("tea")
    def ring(ref_ids: list[int], *, using: str, now: object) -> None:
        timers.cancel("tea", ref_ids, using=using)
        rang.extend(ref_ids)

    return rang


def tell(using: str = HERE) -> int:
    key = ids.new_id(0)
    with transaction.atomic(using=using):
        outbox.publish(Baked(key=key), using=using)
    return key


def set_tea(using: str = HERE) -> int:
    ref = ids.new_id(0)
    timers.schedule("tea", ref, due_at=db_now(using), using=using)
    return ref


def run_until(rounds: list[Round], true: Callable[[], object]) -> float:
    """Run the loops until something is true; returns the seconds that took."""
    stop = threading.Event()
    thread = threading.Thread(target=run_for_ever, args=(rounds, stop))
    thread.start()
    try:
        return wait_until(true, seconds=10, what="the loops do it")
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_the_loops_relay_the_news_of_every_database(news: list[int]) -> None:
    told = [tell(alias) for alias in ("default", "orders_0", "orders_1")]
    run_until(loops.relay_rounds(), lambda: len(news) == 3)
    assert sorted(news) == sorted(told)


def test_the_loops_fire_the_timers_of_every_database(bells: list[int]) -> None:
    refs = [set_tea(alias) for alias in ("default", "orders_0", "orders_1")]
    run_until(loops.timer_rounds(), lambda: len(bells) == 3)
    assert sorted(bells) == sorted(refs)


def test_both_lanes_of_every_database_have_a_loop() -> None:
    names = {each.name for each in loops.timer_rounds()}
    assert {f"{lane} {alias}" for lane in ("timers", "calls") for alias in ("default", "orders_0", "orders_1")} <= names
    assert {"sagas orders_0", "sagas orders_1"} <= names


def test_a_round_that_fails_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "AFTER_FAILURE_SECONDS", 0.01)
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise ValueError("spilt")

    run_until([Round("tea", 0.01, fails)], lambda: len(calls) >= 3)


def test_a_round_that_fails_waits_longer() -> None:
    calls: list[float] = []

    def fails() -> None:
        calls.append(time.monotonic())
        raise ValueError("spilt")

    stop = threading.Event()
    thread = threading.Thread(target=run_for_ever, args=([Round("tea", 0.01, fails)], stop))
    thread.start()
    time.sleep(0.3)
    stop.set()
    thread.join(5)
    assert len(calls) == 1


def test_a_full_round_is_followed_by_the_next_at_once() -> None:
    calls: list[float] = []

    def full_twice() -> int:
        calls.append(time.monotonic())
        return 5 if len(calls) < 3 else 4

    stop = threading.Event()
    thread = threading.Thread(target=run_for_ever, args=([Round("tea", 30, full_twice, 5)], stop))
    thread.start()
    time.sleep(0.3)
    stop.set()
    thread.join(5)
    assert len(calls) == 3


def test_a_round_under_way_is_finished() -> None:
    ended: list[bool] = []
    started = threading.Event()

    def slow() -> None:
        started.set()
        time.sleep(0.2)
        ended.append(True)

    run_until([Round("tea", 0.01, slow)], started.is_set)
    assert ended != []


def test_a_slow_neighbour_holds_up_nobody() -> None:
    release = threading.Event()
    quick: list[int] = []
    rounds = [Round("slow", 0.01, lambda: release.wait(5)), Round("quick", 0.01, lambda: quick.append(1))]
    stop = threading.Event()
    thread = threading.Thread(target=run_for_ever, args=(rounds, stop))
    thread.start()
    wait_until(lambda: len(quick) >= 5, seconds=4, what="the quick one goes on")
    stop.set()
    release.set()
    thread.join(5)


# --- Celery's share, run here ---


def test_the_relay_task_goes_on_until_nothing_is_left(news: list[int]) -> None:
    for _ in range(3):
        tell()
    assert tasks.relay(HERE) == 3
    assert tasks.relay(HERE) == 0
    assert len(news) == 3


def test_the_timer_task_fires_what_it_names(bells: list[int]) -> None:
    ref = set_tea()
    assert tasks.fire_timers(HERE, "tea", [ref]) == 1
    assert bells == [ref]


def test_the_sweep_task_sweeps_every_database(bells: list[int]) -> None:
    set_tea("default")
    set_tea("orders_1")
    assert tasks.sweep_timers() == 2
    assert len(bells) == 2


def test_a_call_that_takes_long_holds_up_no_other(kinds: None) -> None:
    under_way, enough = threading.Semaphore(0), threading.Event()

    @timers.fires("call", lane="network")
    def call(ref_ids: list[int], *, using: str, now: object) -> None:
        under_way.release()
        enough.wait(20)
        timers.cancel("call", ref_ids, using=using)

    refs = [ids.new_id(0) for _ in range(12)]
    with transaction.atomic(using=HERE):
        timers.schedule_many("call", [(ref, db_now(HERE)) for ref in refs], using=HERE)
    stop = threading.Event()
    calls = [each for each in loops.timer_rounds() if each.name == f"calls {HERE}"]
    runner = threading.Thread(target=run_for_ever, args=(calls, stop))
    runner.start()
    try:
        # Five are claimed at once: three callers have work, and none waits for another's answer.
        assert all(under_way.acquire(timeout=20) for _ in range(3))
    finally:
        enough.set()
        stop.set()
        runner.join(30)


# --- commands ---


def test_one_sweep_by_command(bells: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    set_tea()
    call_command("timers")
    assert len(bells) == 1
    assert "timers orders_0: 1" in capsys.readouterr().out


def test_one_relay_by_command(news: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    tell()
    call_command("relay")
    assert len(news) == 1
    assert "relay orders_0: 1" in capsys.readouterr().out


def test_what_was_parked_is_relayed_by_command(news: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    tell()
    OutboxMessage.objects.on(HERE).update(state=OutboxMessage.State.PARKED, attempts=8)
    call_command("relay")
    assert news == []
    call_command("relay", "--revive")
    assert len(news) == 1
    assert "parked orders_0: 1 taken up again" in capsys.readouterr().out


def test_migrating_again_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("migrate_all")
    assert capsys.readouterr().out.splitlines() == [
        "default: up to date",
        "orders_0: up to date",
        "orders_1: up to date",
    ]
