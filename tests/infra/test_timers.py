from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import OperationalError, connections, transaction

from tests.factories import at_once, rolled_back
from waimai.infra import ids, timers
from waimai.infra.clock import db_now
from waimai.infra.models import Timer, TimerCursor

pytestmark = [pytest.mark.data, pytest.mark.usefixtures("kinds")]
HERE = "orders_0"
TEA = "tea"


def set_for(seconds: float, *ref_ids: int, kind: str = TEA) -> list[int]:
    """Timers due in so many seconds; with numbers of their own unless named."""
    wanted = list(ref_ids) or [ids.new_id(0)]
    due_at = db_now(HERE) + timedelta(seconds=seconds)
    with transaction.atomic(using=HERE):
        timers.schedule_many(kind, [(ref, due_at) for ref in wanted], using=HERE)
    return wanted


def rings(
    *, before: Callable[[list[int]], None] = lambda refs: None, kind: str = TEA, lane: timers.Lane = "db"
) -> list[int]:
    """What a handler of tea timers was called for; it first does `before`, then ends them."""
    fired: list[int] = []

    @timers.fires(kind, lane=lane)
    def handler(ref_ids: list[int], *, using: str, now: datetime) -> None:
        before(ref_ids)
        with transaction.atomic(using=using):
            timers.cancel(kind, ref_ids, using=using)
        fired.extend(ref_ids)

    return fired


def standing() -> list[int]:
    return list(Timer.objects.on(HERE).order_by("ref_id").values_list("ref_id", flat=True))


def row(ref_id: int) -> Timer:
    return Timer.objects.on(HERE).get(ref_id=ref_id)


def seconds_until(ref_id: int) -> float:
    return (row(ref_id).due_at - db_now(HERE)).total_seconds()


def make_due() -> None:
    Timer.objects.on(HERE).update(due_at=db_now(HERE))


def test_what_is_due_fires_once_and_ends() -> None:
    fired = rings()
    (ref,) = set_for(0)
    assert [timers.sweep(HERE), timers.sweep(HERE)] == [1, 0]
    assert fired == [ref]
    assert standing() == []


def test_what_is_not_due_waits() -> None:
    fired = rings()
    set_for(30)
    assert timers.sweep(HERE) == 0
    assert fired == []


def test_due_is_decided_by_the_databases_clock() -> None:
    fired = rings()
    set_for(60)
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(hours=3)):
        assert timers.sweep(HERE) == 0
    assert fired == []


def test_a_slow_clock_of_the_process_delays_nothing() -> None:
    fired = rings()
    set_for(0)
    with time_machine.travel(datetime.now(tz=UTC) - timedelta(hours=3)):
        assert timers.sweep(HERE) == 1
    assert len(fired) == 1


def test_a_timer_set_in_a_transaction_that_failed_is_not_there() -> None:
    with rolled_back(HERE):
        timers.schedule(TEA, ids.new_id(0), due_at=db_now(HERE), using=HERE)
    assert standing() == []


def test_a_timer_set_again_is_moved() -> None:
    (ref,) = set_for(10)
    set_for(100, ref)
    assert standing() == [ref]
    assert 95 < seconds_until(ref) <= 100


def test_timers_of_two_kinds_stand_beside_each_other() -> None:
    (ref,) = set_for(10)
    set_for(20, ref, kind="cake")
    assert Timer.objects.on(HERE).filter(ref_id=ref).count() == 2


def test_ending_says_how_many_stood_there() -> None:
    first, second = set_for(10, ids.new_id(0), ids.new_id(0))
    assert timers.cancel(TEA, [first, second, ids.new_id(0)], using=HERE) == 2
    assert timers.cancel(TEA, [first, second], using=HERE) == 0


def test_the_due_come_in_the_order_of_their_times() -> None:
    fired = rings()
    late = set_for(-0.1)
    early = set_for(-0.4)
    timers.sweep(HERE)
    assert fired == early + late


def test_more_than_one_round_takes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "FIRED_AT_ONCE", 3)
    batches: list[int] = []
    fired = rings(before=lambda refs: batches.append(len(refs)))
    set_for(0, *(ids.new_id(0) for _ in range(7)))
    assert timers.sweep(HERE) == 7
    assert batches == [3, 3, 1]
    assert len(fired) == 7


def test_each_database_is_swept_by_itself() -> None:
    fired = rings()
    set_for(0)
    assert timers.sweep("orders_1") == 0
    assert fired == []


def test_a_kind_that_nobody_handles_stays() -> None:
    rings()
    (ref,) = set_for(0, kind="cake")
    assert timers.sweep(HERE) == 0
    assert standing() == [ref]


def test_the_handler_and_the_end_of_its_timer_are_one_transaction() -> None:
    @timers.fires(TEA)
    def handler(ref_ids: list[int], *, using: str, now: datetime) -> None:
        assert connections[using].in_atomic_block
        timers.cancel(TEA, ref_ids, using=using)
        timers.schedule("cake", ref_ids[0], due_at=now, using=using)
        raise ValueError("spilt")

    (ref,) = set_for(0)
    assert timers.sweep(HERE) == 0
    assert list(Timer.objects.on(HERE).values_list("kind", "ref_id")) == [(TEA, ref)]


# --- failures ---


def poison(bad: int) -> Callable[[list[int]], None]:
    def check(refs: list[int]) -> None:
        if bad in refs:
            raise ValueError("spilt")

    return check


def test_nobody_waits_for_a_neighbours_bad_row() -> None:
    bad, good, better = ids.new_id(0), ids.new_id(0), ids.new_id(0)
    fired = rings(before=poison(bad))
    set_for(0, bad, good, better)
    assert timers.sweep(HERE) == 2
    assert fired == [good, better]
    assert standing() == [bad]


def test_a_bad_row_is_put_off_longer_each_time() -> None:
    (bad,) = set_for(0)
    rings(before=poison(bad))
    pauses = []
    for _ in range(4):
        make_due()
        timers.sweep(HERE)
        pauses.append(round(seconds_until(bad)))
    assert pauses == [1, 2, 4, 8]
    assert row(bad).attempts == 4


def test_a_bad_row_comes_again_within_five_minutes() -> None:
    (bad,) = set_for(0)
    rings(before=poison(bad))
    Timer.objects.on(HERE).update(attempts=50)
    timers.sweep(HERE)
    assert 295 < seconds_until(bad) <= 300


def test_a_database_that_is_down_puts_nothing_off() -> None:
    def fails(refs: list[int]) -> None:
        raise OperationalError("gone away")

    (ref,) = set_for(0)
    rings(before=fails)
    with pytest.raises(OperationalError):
        timers.sweep(HERE)
    assert row(ref).attempts == 0


# --- the network lane ---


def test_the_lanes_are_swept_apart() -> None:
    here, outside = rings(), rings(kind="call", lane="network")
    set_for(0)
    set_for(0, kind="call")
    timers.sweep(HERE, lane="db")
    assert (len(here), len(outside)) == (1, 0)
    timers.sweep(HERE, lane="network")
    assert (len(here), len(outside)) == (1, 1)


def test_a_call_runs_outside_any_transaction() -> None:
    rings(before=lambda refs: _assert_outside(), kind="call", lane="network")
    set_for(0, kind="call")
    assert timers.sweep(HERE, lane="network") == 1
    assert standing() == []


def _assert_outside() -> None:
    assert not connections[HERE].in_atomic_block


def test_one_holder_at_a_time_makes_a_call() -> None:
    others: list[int] = []
    rings(before=lambda refs: others.append(timers.sweep(HERE, lane="network")), kind="call", lane="network")
    set_for(0, kind="call")
    assert timers.sweep(HERE, lane="network") == 1
    assert others == [0]


def test_a_call_whose_holder_died_is_made_again_after_its_lease() -> None:
    fired = rings(kind="call", lane="network")
    (ref,) = set_for(0, kind="call")
    timers._claim(HERE, "call", None, most=1, lease_seconds=timers.NETWORK_LEASE_SECONDS)
    assert timers.sweep(HERE, lane="network") == 0
    assert 25 < seconds_until(ref) <= 30
    make_due()
    timers.sweep(HERE, lane="network")
    assert fired == [ref]


def test_a_call_that_fails_is_put_off_and_its_neighbour_made() -> None:
    bad, good = ids.new_id(0), ids.new_id(0)
    fired = rings(before=poison(bad), kind="call", lane="network")
    set_for(0, bad, good, kind="call")
    timers.sweep(HERE, lane="network")
    assert fired == [good]
    assert (row(bad).attempts, round(seconds_until(bad))) == (1, 1)


def test_a_call_whose_connection_broke_was_no_try() -> None:
    def lose_the_connection(refs: list[int]) -> None:
        with connections[HERE].cursor() as cursor:
            cursor.execute("KILL CONNECTION_ID()")

    if connections[HERE].vendor != "mysql":
        pytest.skip("SQLite has no connection to lose")
    rings(before=lose_the_connection, lane="network")
    (bad,) = set_for(-1)
    timers.sweep(HERE, lane="network")
    assert (row(bad).attempts, row(bad).error == timers.DIED) == (0, False)


def test_four_sweepers_at_once_fire_each_timer_once() -> None:
    fired = rings(kind="call", lane="network")
    wanted = set_for(0, *(ids.new_id(0) for _ in range(30)), kind="call")
    at_once(*[lambda: timers.sweep(HERE, lane="network")] * 4)
    timers.sweep(HERE, lane="network")
    assert sorted(fired) == sorted(wanted)


def test_four_sweepers_at_once_fire_each_timer_of_the_database_once() -> None:
    fired = rings()
    wanted = set_for(0, *(ids.new_id(0) for _ in range(60)))
    at_once(*[lambda: timers.sweep(HERE)] * 4)
    timers.sweep(HERE)
    assert sorted(fired) == sorted(wanted)


# --- ETA tasks ---


def test_a_task_that_comes_early_does_nothing() -> None:
    fired = rings()
    refs = set_for(5)
    assert timers.fire(HERE, TEA, refs) == 0
    assert fired == []


def test_a_task_fires_only_what_it_names() -> None:
    fired = rings()
    mine, other = set_for(0, ids.new_id(0), ids.new_id(0))
    assert timers.fire(HERE, TEA, [mine]) == 1
    assert fired == [mine]
    assert standing() == [other]


def test_a_task_that_comes_twice_finds_nothing() -> None:
    fired = rings()
    refs = set_for(0)
    assert [timers.fire(HERE, TEA, refs), timers.fire(HERE, TEA, refs)] == [1, 0]
    assert fired == refs


def handed_out() -> list[tuple[str, list[int], datetime]]:
    sent: list[tuple[str, list[int], datetime]] = []
    timers.hand_out(HERE, lambda kind, refs, eta: sent.append((kind, refs, eta)))
    return sent


def test_the_next_fifteen_seconds_are_handed_out() -> None:
    rings()
    soon, later = set_for(14)[0], set_for(16)[0]
    sent = handed_out()
    assert [refs for _, refs, _ in sent] == [[soon]]
    assert standing() == sorted([soon, later])


def test_a_chunk_is_due_when_all_of_it_is() -> None:
    rings()
    set_for(7)
    ((kind, refs, eta),) = handed_out()
    due_at = row(refs[0]).due_at
    assert kind == TEA
    assert due_at < eta <= due_at + timedelta(milliseconds=200)


def test_chunks_hold_a_hundred_at_most() -> None:
    rings()
    set_for(5, *(ids.new_id(n) for n in range(0, 500, 2)))
    assert sorted(len(refs) for _, refs, _ in handed_out()) == [50, 100, 100]


def test_timers_a_fifth_of_a_second_apart_go_apart() -> None:
    rings()
    base = db_now(HERE).replace(microsecond=0) + timedelta(seconds=5)
    with transaction.atomic(using=HERE):
        pairs = [(ids.new_id(0), base + timedelta(milliseconds=200 * n)) for n in range(3)]
        timers.schedule_many(TEA, pairs, using=HERE)
    assert [(len(refs), eta - base) for _, refs, eta in handed_out()] == [
        (1, timedelta(milliseconds=200)),
        (1, timedelta(milliseconds=400)),
        (1, timedelta(milliseconds=600)),
    ]


def test_calls_are_left_to_their_sweep() -> None:
    rings(kind="call", lane="network")
    set_for(5, kind="call")
    assert handed_out() == []


def test_a_second_beat_hands_out_nothing_again() -> None:
    rings()
    set_for(5)
    assert [len(handed_out()), len(handed_out())] == [1, 0]


def test_two_beats_at_once_hand_out_each_timer_once() -> None:
    rings()
    wanted = set_for(8, *(ids.new_id(0) for _ in range(20)))
    sent = at_once(handed_out, handed_out, handed_out)
    found = [ref for one in sent if isinstance(one, list) for _, refs, _ in one for ref in refs]
    assert sorted(found) == sorted(wanted)


def test_the_window_moves_on_from_where_it_ended() -> None:
    rings()
    handed_out()
    set_for(20)
    TimerCursor.objects.on(HERE).update(upto=db_now(HERE) + timedelta(seconds=3))
    Timer.objects.on(HERE).update(due_at=db_now(HERE) + timedelta(seconds=10))
    assert len(handed_out()) == 1


def test_what_the_broker_refuses_is_left_to_the_sweep() -> None:
    fired = rings()
    (ref,) = set_for(5)

    def refuse(kind: str, refs: list[int], eta: datetime) -> None:
        # A broker that hangs must not hold a lock.
        assert not connections[HERE].in_atomic_block
        raise ConnectionError("no broker")

    with pytest.raises(ConnectionError):
        timers.hand_out(HERE, refuse)
    Timer.objects.on(HERE).update(due_at=db_now(HERE) - timedelta(seconds=0.3))
    assert timers.sweep(HERE) == 1
    assert fired == [ref]


def test_the_sweep_leaves_what_was_handed_out_to_its_task_for_a_moment() -> None:
    rings()
    handed_out()
    Timer.objects.on(HERE).filter(ref_id__in=set_for(5)).update(due_at=db_now(HERE))
    assert timers.sweep(HERE) == 0
    TimerCursor.objects.on(HERE).update(upto=db_now(HERE))
    assert timers.sweep(HERE) == 1
