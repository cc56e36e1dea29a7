from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connections, transaction

from tests.factories import at_once
from waimai.infra import db
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.models import TimerCursor

pytestmark = pytest.mark.data
HERE = "orders_0"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "LONGEST_PAUSE_SECONDS", 0.02)


def deadlock() -> OperationalError:
    return OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")


def set_cursor(name: str) -> None:
    TimerCursor.objects.on(HERE).create(name=name, upto=db_now(HERE))


def cursors() -> list[str]:
    return list(TimerCursor.objects.on(HERE).order_by("name").values_list("name", flat=True))


def test_the_answer_of_the_body_is_the_answer() -> None:
    assert run_atomic(HERE, lambda: 7) == 7


def test_the_body_runs_in_a_transaction() -> None:
    assert run_atomic(HERE, lambda: connections[HERE].in_atomic_block)


@pytest.mark.parametrize(
    "error",
    [
        deadlock(),
        OperationalError(1205, "Lock wait timeout exceeded; try restarting transaction"),
        OperationalError(1020, "Record has changed since last read in table"),
        OperationalError("database is locked"),
    ],
    ids=["deadlock", "lock wait", "changed", "locked"],
)
def test_what_the_database_gave_up_is_tried_again_from_the_start(error: OperationalError) -> None:
    errors = [error, error]

    def body() -> str:
        set_cursor("tea")
        if errors:
            raise errors.pop()
        return "done"

    assert run_atomic(HERE, body) == "done"
    # The first two tries left nothing behind.
    assert cursors() == ["tea"]


def test_after_three_tries_it_is_unavailable() -> None:
    tries: list[int] = []

    def body() -> None:
        set_cursor("tea")
        tries.append(1)
        raise deadlock()

    with pytest.raises(ServiceUnavailable) as refusal:
        run_atomic(HERE, body)
    assert (len(tries), refusal.value.retry_after) == (3, 2)
    assert cursors() == []


def test_another_failure_is_not_tried_again() -> None:
    tries: list[int] = []

    def body() -> None:
        tries.append(1)
        raise OperationalError(2006, "Server has gone away")

    with pytest.raises(OperationalError, match="gone away"):
        run_atomic(HERE, body)
    assert len(tries) == 1


def test_inside_a_transaction_only_the_outermost_is_repeated() -> None:
    tries: list[str] = []

    def inner() -> None:
        tries.append("inner")
        if tries.count("inner") < 2:
            raise deadlock()

    def outer() -> None:
        tries.append("outer")
        run_atomic(HERE, inner)

    run_atomic(HERE, outer)
    assert tries == ["outer", "inner", "outer", "inner"]


def test_a_refusal_by_a_real_database_is_tried_again() -> None:
    if connections[HERE].vendor == "mysql":
        _deadlock_for_real()
    else:
        _locked_for_real()


def _deadlock_for_real() -> None:
    """Two transactions take two rows crosswise, the second row only when both hold their first: error 1213."""
    for name in ("tea", "rice"):
        set_cursor(name)
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def cross(first: str, second: str) -> None:
        def body() -> None:
            tries.append(first)
            TimerCursor.objects.on(HERE).filter(name=first).update(upto=db_now(HERE))
            if tries.count(first) == 1:
                both_hold_one.wait(10)
            TimerCursor.objects.on(HERE).filter(name=second).update(upto=db_now(HERE))

        run_atomic(HERE, body)

    assert at_once(lambda: cross("tea", "rice"), lambda: cross("rice", "tea")) == [None, None]
    assert len(tries) == 3


def _locked_for_real() -> None:
    """Another process holds the file's write lock until our second try."""
    with _impatient(), closing(sqlite3.connect(connections[HERE].settings_dict["NAME"])) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.MonkeyPatch.context() as patch:
            # Its name for the clock, not the clock: threads of other tests sleep, too.
            patch.setattr("waimai.infra.db.time", SimpleNamespace(sleep=lambda seconds: other.rollback()))
            run_atomic(HERE, lambda: set_cursor("tea"))
    assert cursors() == ["tea"]


@contextmanager
def _impatient() -> Iterator[None]:
    """Locks are waited for 50 ms instead of 20 s."""
    with connections[HERE].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout=50")
    try:
        yield
    finally:
        connections[HERE].close()


def test_every_connection_speaks_utc() -> None:
    now = db_now(HERE)
    assert now.utcoffset() is not None
    with transaction.atomic(using=HERE):
        set_cursor("tea")
    assert abs((TimerCursor.objects.on(HERE).get().upto - now).total_seconds()) < 5


def test_the_databases_clock_has_parts_of_a_second() -> None:
    assert any(db_now(HERE).microsecond for _ in range(5))


def test_one_clock_runs_forward() -> None:
    first, second = db_now(HERE), db_now(HERE)
    assert first <= second
