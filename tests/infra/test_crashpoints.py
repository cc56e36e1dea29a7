from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.support.source import ROOT
from waimai.infra import crashpoints
from waimai.infra.crashpoints import Around, Point
from waimai.infra.db import run_atomic

HERE, THERE = Point("here"), Point("there")


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals this process would have sent to itself; the only points are `here` and `there`."""
    sent: list[int] = []
    monkeypatch.setattr(crashpoints, "_points", {"here": HERE, "there": THERE})
    monkeypatch.setattr(os, "kill", lambda _pid, number: sent.append(int(number)))
    yield sent
    crashpoints.arm("")


def test_it_dies_of_sigkill_at_the_first_passing(deaths: list[int]) -> None:
    crashpoints.arm("here")
    THERE()
    assert deaths == []
    HERE()
    assert deaths == [9]


def test_it_dies_at_the_passing_that_was_asked_for(deaths: list[int]) -> None:
    crashpoints.arm("here:3")
    HERE()
    HERE()
    assert deaths == []
    HERE()
    assert deaths == [9]


def test_unarmed_nothing_happens(deaths: list[int]) -> None:
    crashpoints.arm("here")
    crashpoints.arm("")
    HERE()
    assert deaths == []


@pytest.mark.parametrize(
    ("crash_at", "says"),
    [
        ("nowhere", "no crash point 'nowhere', but here, there"),
        ("here:0", "'0' is not the number of a passing"),
        ("here:x", "'x' is not the number of a passing"),
        ("here:", "'' is not the number of a passing"),
    ],
)
def test_a_value_that_means_nothing_is_refused(deaths: list[int], crash_at: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        crashpoints.arm(crash_at)


def test_a_process_told_to_die_nowhere_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=os.environ | {"CRASH_AT": "nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CRASH_AT=nowhere: no crash point 'nowhere'" in done.stderr


def test_two_points_of_one_name_are_refused(deaths: list[int]) -> None:
    with pytest.raises(ValueError, match="two crash points are called 'here'"):
        crashpoints.point("here")


def test_a_call_that_fails_has_no_point_after_it(deaths: list[int]) -> None:
    crashpoints.arm("there")
    with pytest.raises(ZeroDivisionError), Around(HERE, THERE):
        raise ZeroDivisionError
    assert deaths == []
    with Around(HERE, THERE):
        assert deaths == []
    assert deaths == [9]


@pytest.mark.data
def test_the_points_of_a_commit_stand_on_both_sides_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import transaction

    passed: list[str] = []
    monkeypatch.setattr(Point, "__call__", lambda point: passed.append(point.name))

    def body() -> None:
        transaction.on_commit(lambda: passed.append("what waited for the commit"), using="default")
        passed.append("body")

    run_atomic("default", body, commit=Around(HERE, THERE))
    assert passed == ["body", "here", "there", "what waited for the commit"]
