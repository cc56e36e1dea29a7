from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Literal

import pytest
from django.db import transaction
from django.db.models import F

from tests.factories import at_once, rolled_back
from waimai.infra import ids
from waimai.infra.barrier import with_barrier
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.models import Barrier, Timer
from waimai.infra.rows import insert_ignore

pytestmark = pytest.mark.data
HERE = "orders_0"
Op = Literal["do", "undo"]


def step(saga_id: int, op: Op, effects: list[str], *, name: str = "bake", using: str = HERE) -> bool:
    """One step of a saga; its effect is a word."""
    with transaction.atomic(using=using):
        return with_barrier(using=using, saga_id=saga_id, step=name, op=op, body=lambda: effects.append(op))


def new_saga() -> int:
    return ids.new_id(0)


def test_a_step_takes_effect() -> None:
    effects: list[str] = []
    assert step(new_saga(), "do", effects)
    assert effects == ["do"]


def test_a_repeated_step_takes_effect_once() -> None:
    saga, effects = new_saga(), list[str]()
    assert [step(saga, "do", effects), step(saga, "do", effects)] == [True, False]
    assert effects == ["do"]


def test_an_undo_follows_its_step() -> None:
    saga, effects = new_saga(), list[str]()
    assert [step(saga, "do", effects), step(saga, "undo", effects)] == [True, True]
    assert effects == ["do", "undo"]


def test_a_repeated_undo_takes_effect_once() -> None:
    saga, effects = new_saga(), list[str]()
    step(saga, "do", effects)
    assert [step(saga, "undo", effects), step(saga, "undo", effects)] == [True, False]
    assert effects == ["do", "undo"]


def test_what_was_never_done_is_not_undone() -> None:
    effects: list[str] = []
    assert not step(new_saga(), "undo", effects)
    assert effects == []


def test_a_step_that_comes_after_its_undo_does_nothing() -> None:
    saga, effects = new_saga(), list[str]()
    assert [step(saga, "undo", effects), step(saga, "do", effects), step(saga, "undo", effects)] == [False] * 3
    assert effects == []


def test_an_undo_after_everything_changes_nothing() -> None:
    saga, effects = new_saga(), list[str]()
    for op in ("do", "undo", "do", "undo", "do"):
        step(saga, op, effects)
    assert effects == ["do", "undo"]


def test_steps_do_not_know_each_other() -> None:
    saga, effects = new_saga(), list[str]()
    assert step(saga, "do", effects, name="bake")
    assert step(saga, "do", effects, name="wrap")


def test_sagas_do_not_know_each_other() -> None:
    effects: list[str] = []
    assert step(new_saga(), "do", effects)
    assert step(new_saga(), "do", effects)


def test_a_step_whose_transaction_failed_can_be_done_again() -> None:
    saga, effects = new_saga(), list[str]()
    with rolled_back(HERE):
        with_barrier(using=HERE, saga_id=saga, step="bake", op="do", body=lambda: None)
    assert step(saga, "do", effects)


def test_the_row_says_why_it_stands_there() -> None:
    saga = new_saga()
    step(saga, "undo", [])
    rows = Barrier.objects.on(HERE).filter(saga_id=saga).values_list("op", "reason", "bucket")
    assert sorted(rows) == [("do", "undo", 0), ("undo", "undo", 0)]


def test_of_a_step_and_its_undo_at_once_nothing_is_left_over() -> None:
    for _ in range(10):
        saga, effects = new_saga(), list[str]()
        at_once(*[partial(run_step, saga, op, effects) for op in ("do", "undo", "do", "undo")])
        assert sorted(effects) in ([], ["do", "undo"])


def run_step(saga_id: int, op: Op, effects: list[str]) -> None:
    done = run_atomic(
        HERE, lambda: with_barrier(using=HERE, saga_id=saga_id, step="bake", op=op, body=lambda: None), tries=10
    )
    if done:
        effects.append(op)


def test_two_hundred_sagas_with_everything_shuffled_and_doubled_end_right() -> None:
    """Each saga's step and undo come up to three times, in any order, from four threads at once."""
    chance = random.Random(20240101)
    sagas = [ids.new_id(0) for _ in range(200)]
    calls: list[tuple[int, Op]] = []
    for saga in sagas:
        calls.extend([(saga, "do")] * chance.randint(0, 3))
        calls.extend([(saga, "undo")] * chance.randint(0, 3))
    chance.shuffle(calls)
    at_once(*[partial(work, calls[n::4]) for n in range(4)])
    wrong = [saga for saga in sagas if taken(saga) != expected(saga, calls)]
    assert wrong == []


def work(calls: Sequence[tuple[int, Op]]) -> None:
    for saga, op in calls:
        run_atomic(HERE, partial(effect, saga, op), tries=20)


def effect(saga: int, op: Op) -> None:
    """Take a portion, or give it back: what is taken of a saga stands in the attempts of a timer."""
    delta = 1 if op == "do" else -1

    def body() -> None:
        row = {"kind": "portion", "ref_id": saga, "bucket": 0, "due_at": db_now(HERE), "attempts": 0}
        insert_ignore(Timer, [row], using=HERE)
        Timer.objects.on(HERE).filter(ref_id=saga).update(attempts=F("attempts") + delta)

    with_barrier(using=HERE, saga_id=saga, step="reserve", op=op, body=body)


def taken(saga: int) -> int:
    return Timer.objects.on(HERE).filter(ref_id=saga).values_list("attempts", flat=True).first() or 0


def expected(saga: int, calls: Sequence[tuple[int, Op]]) -> int:
    """One portion if it was only ever taken; none once an undo came, whether before or after."""
    return int((saga, "do") in calls and (saga, "undo") not in calls)
