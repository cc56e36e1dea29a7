from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import connections, transaction

from tests.factories import at_once
from waimai.infra import ids, sharding
from waimai.infra.clock import db_now
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.ids import IdGenerator
from waimai.infra.models import WorkerLease

pytestmark = pytest.mark.data
ROOT = Path(__file__).resolve().parents[2]
# What one process of the race below does: a hundred ids of one bucket, and a thousand of as many buckets.
MAKE_MANY = """
import django
django.setup()
from waimai.infra.ids import new_id
print(*[new_id(7) for _ in range(100)], *[new_id(n) for n in range(1000)])
"""


class Clocks:
    """The clock of the database and the monotonic one of the process, both in the test's hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.monotonic = 1000, 50.0
        monkeypatch.setattr(ids, "_seconds_now", lambda: self.database)
        monkeypatch.setattr(ids, "time", SimpleNamespace(monotonic=lambda: self.monotonic))

    def pass_by(self, seconds: int, *, database: int | None = None) -> None:
        self.monotonic += seconds
        self.database += seconds if database is None else database


@pytest.fixture
def clocks(no_leases: None, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def second_of(any_id: int) -> int:
    return any_id >> ids.SECONDS_SHIFT


def worker_of(any_id: int) -> int:
    return any_id >> ids.SEQUENCE_BITS & 0b111111


def test_an_id_stays_exact_in_javascript() -> None:
    assert 0 < ids.new_id(1023) < 2**53


def test_the_last_possible_second_still_fits() -> None:
    last = (2**31 - 1) << ids.SECONDS_SHIFT | (1 << ids.SECONDS_SHIFT) - 1
    assert last == 2**53 - 1
    assert ids.made_at(last) == datetime(2092, 1, 19, 3, 14, 7, tzinfo=UTC)


def test_an_id_knows_its_bucket() -> None:
    assert [ids.bucket_of(ids.new_id(bucket)) for bucket in (0, 1, 512, 1023)] == [0, 1, 512, 1023]


def test_an_id_knows_its_second() -> None:
    before = db_now("default").replace(microsecond=0)
    made = ids.made_at(ids.new_id(3))
    # A bucket that was busy in another test may run a little ahead.
    assert before <= made <= before + timedelta(seconds=10)


def test_ids_of_one_bucket_are_ordered() -> None:
    made = [ids.new_id(5) for _ in range(200)]
    assert made == sorted(set(made))


def test_a_used_up_second_runs_into_the_next(clocks: Clocks) -> None:
    generator = IdGenerator()
    made = [generator.next(5) for _ in range(130)]
    assert [second_of(x) for x in (made[0], made[63], made[64], made[127], made[128])] == [1000, 1000, 1001, 1001, 1002]


def test_another_bucket_is_not_pushed_ahead(clocks: Clocks) -> None:
    generator = IdGenerator()
    for _ in range(130):
        generator.next(5)
    assert second_of(generator.next(6)) == 1000


def test_the_lowest_id_bounds_what_was_made_since() -> None:
    now = db_now("default")
    made = ids.new_id(9)
    assert ids.lowest_id(now - timedelta(seconds=1)) <= made < ids.lowest_id(now + timedelta(seconds=20))


def test_nothing_was_made_before_the_epoch() -> None:
    assert ids.lowest_id(datetime(2023, 12, 31, tzinfo=UTC)) == 0


def test_an_id_routes_to_the_shard_of_its_user() -> None:
    for user_id in (1, 2, 3, 4):
        made = ids.new_id(sharding.bucket_of_user(user_id))
        assert sharding.shard_of_id(made) == sharding.shard_of_user(user_id)


def test_threads_of_one_process_never_make_the_same() -> None:
    made = at_once(*[lambda: [ids.new_id(4) for _ in range(50)]] * 8)
    assert len({one for many in made for one in many}) == 400  # type: ignore[union-attr]


def test_four_processes_at_once_never_make_the_same() -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", MAKE_MANY], stdout=subprocess.PIPE, cwd=ROOT, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=50)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert len({one for output in outputs for one in output.split()}) == 4400


def test_processes_that_start_at_once_take_different_numbers(no_leases: None) -> None:
    generators = [IdGenerator() for _ in range(8)]
    made = at_once(*[partial(generator.next, 1) for generator in generators])
    assert all(isinstance(one, int) for one in made), made
    assert len({worker_of(one) for one in made if isinstance(one, int)}) == 8


def test_a_restart_within_the_second_takes_another_number(clocks: Clocks) -> None:
    first, second = IdGenerator().next(5), IdGenerator().next(5)
    assert (second_of(first), second_of(second)) == (1000, 1000)
    assert (worker_of(first), worker_of(second)) == (0, 1)


def test_a_number_is_not_given_away_in_its_last_second(clocks: Clocks) -> None:
    IdGenerator().next(5)
    clocks.pass_by(60)
    assert worker_of(IdGenerator().next(5)) == 1


def test_a_number_is_free_again_after_all_its_seconds(clocks: Clocks) -> None:
    IdGenerator().next(5)
    clocks.pass_by(61)
    again = IdGenerator().next(5)
    assert (worker_of(again), second_of(again)) == (0, 1061)


def test_the_lease_is_raised_before_a_second_is_used(clocks: Clocks) -> None:
    generator = IdGenerator()
    for seconds in (0, 30, 31, 200):
        clocks.pass_by(seconds)
        made = generator.next(5)
        assert second_of(made) <= WorkerLease.objects.get(number=worker_of(made)).issued_until


def test_a_process_keeps_its_number(clocks: Clocks) -> None:
    generator = IdGenerator()
    generator.next(5)
    clocks.pass_by(600)
    assert worker_of(generator.next(5)) == 0


def test_a_process_whose_number_was_taken_over_takes_another(clocks: Clocks) -> None:
    sleeper = IdGenerator()
    sleeper.next(5)
    clocks.pass_by(61)
    IdGenerator().next(5)
    assert worker_of(sleeper.next(5)) == 1


def test_a_small_step_back_is_waited_out(clocks: Clocks) -> None:
    generator = IdGenerator()
    generator.next(5)
    clocks.pass_by(61, database=61 - 5)
    before = generator.next(5)
    after = generator.next(5)
    assert worker_of(before) == worker_of(after) == 0
    assert before < after


def test_a_large_step_back_takes_a_new_number(clocks: Clocks) -> None:
    generator = IdGenerator()
    generator.next(5)
    clocks.pass_by(61, database=61 - 6)
    made = generator.next(5)
    assert (worker_of(made), second_of(made)) == (1, 1055)


def test_with_all_numbers_taken_there_is_no_id(clocks: Clocks) -> None:
    WorkerLease.objects.bulk_create(
        WorkerLease(number=n, owner=f"process {n}", issued_until=clocks.database) for n in range(64)
    )
    with pytest.raises(ServiceUnavailable) as refusal:
        IdGenerator().next(5)
    assert (refusal.value.status, refusal.value.retry_after) == (503, 2)


def test_no_lease_is_taken_inside_a_transaction_that_could_undo_it(no_leases: None) -> None:
    with pytest.raises(RuntimeError, match="before opening a transaction"), transaction.atomic(using="default"):
        IdGenerator().next(5)


def test_ids_are_made_inside_a_transaction_of_a_shard(no_leases: None) -> None:
    with transaction.atomic(using="orders_0"):
        assert IdGenerator().next(5) > 0


def test_a_forked_child_takes_a_number_of_its_own() -> None:
    mine = ids.new_id(8)
    # The child must not use, or close, what stands open here.
    connections.close_all()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(ids.new_id(8)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        its = int(answer.read())
    os.waitpid(child, 0)
    assert worker_of(its) != worker_of(mine)


def test_an_id_costs_microseconds() -> None:
    ids.new_id(11)
    started = time.perf_counter()
    for number in range(1000):
        ids.new_id(number)
    assert time.perf_counter() - started < 0.5
