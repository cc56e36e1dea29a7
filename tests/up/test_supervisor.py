"""The supervisor over toy children: what dies comes back, what is told to stop stops, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import alive, wait_until
from waimai.supervisor_children import Child, Program

pytestmark = pytest.mark.once

Toys = Callable[..., "Toy"]


class Toy:
    """A running supervisor and the folder in which its children leave their process ids."""

    def __init__(self, folder: Path, names: tuple[str, ...], output: Path) -> None:
        self.folder = folder
        self.output = output
        command = [sys.executable, "-m", "tests.up.toy", str(folder), *names]
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        for name in names:
            self.wait_for(name, starts=1)

    def ids(self, name: str) -> list[int]:
        """The process ids this child has had, oldest first."""
        file = self.folder / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def wait_for(self, name: str, *, starts: int) -> float:
        """Wait for the child's n-th start; the seconds it took."""
        return wait_until(lambda: len(self.ids(name)) >= starts, seconds=10, what=f"start {starts} of {name}")


def dead(process_id: int) -> bool:
    return not alive(process_id)


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    """Start a toy supervisor."""
    started: list[Toy] = []

    def start(*names: str, output: Path | None = None) -> Toy:
        started.append(Toy(tmp_path, names, output or tmp_path / "output"))
        return started[-1]

    yield start
    for toy in started:
        toy.process.kill()
        toy.process.wait()


def test_a_killed_child_is_back_within_two_seconds(toys: Toys) -> None:
    toy = toys("steady")
    os.kill(toy.ids("steady")[0], signal.SIGKILL)
    assert toy.wait_for("steady", starts=2) < 2


def test_only_the_child_that_died_is_started_again(toys: Toys) -> None:
    toy = toys("steady", "talker")
    os.kill(toy.ids("steady")[0], signal.SIGKILL)
    toy.wait_for("steady", starts=2)
    assert len(toy.ids("talker")) == 1


def test_the_death_is_told_with_its_cause(toys: Toys) -> None:
    toy = toys("steady")
    os.kill(toy.ids("steady")[0], signal.SIGKILL)
    toy.wait_for("steady", starts=2)
    assert "steady ended (killed by SIGKILL); starting it again in 0.1 s" in toy.output.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(toys: Toys, number: signal.Signals) -> None:
    toy = toys("steady", "talker")
    toy.process.send_signal(number)
    assert toy.process.wait(5) == 0
    assert not any(alive(toy.ids(name)[0]) for name in ("steady", "talker"))


def test_the_last_stage_is_told_to_stop_when_the_others_have_stopped(toys: Toys) -> None:
    toy = toys("orderly", "orderly_last")
    toy.process.terminate()
    toy.process.wait(5)
    first, last = (float((toy.folder / f"{name}.stopped").read_text()) for name in ("orderly", "orderly_last"))
    assert last - first >= 0.2


def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(toys: Toys) -> None:
    toy = toys("stubborn")
    toy.process.terminate()
    toy.process.wait(5)
    assert not alive(toy.ids("stubborn")[0])
    assert "stubborn does not stop by itself and is killed" in toy.output.read_text()


def test_children_die_with_a_killed_supervisor(toys: Toys) -> None:
    toy = toys("steady", "stubborn")
    toy.process.kill()
    toy.process.wait()
    for name in ("steady", "stubborn"):
        child = toy.ids(name)[0]
        wait_until(partial(dead, child), seconds=2, what=f"end of {name}")


def test_a_child_that_crashes_at_once_is_started_ever_more_slowly(toys: Toys) -> None:
    toy = toys("crasher")
    toy.wait_for("crasher", starts=4)
    text = toy.output.read_text()
    assert all(
        f"crasher ended (exit status 3); starting it again in {wait} s" in text for wait in ("0.1", "0.2", "0.4")
    )


def test_output_carries_the_name_of_who_wrote_it(toys: Toys) -> None:
    toy = toys("talker")
    wait_until(lambda: "hello" in toy.output.read_text(), seconds=5, what="the greeting")
    assert "talker | hello from the child\n" in toy.output.read_text()


def test_a_reader_who_stops_reading_does_not_stop_the_supervisor(toys: Toys, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        toy = toys("chatterbox", "steady", output=pipe)
        time.sleep(0.5)  # Long enough for the chatter to fill the pipe that nobody empties.
        os.kill(toy.ids("steady")[0], signal.SIGKILL)
        assert toy.wait_for("steady", starts=2) < 2
    finally:
        os.close(reader)


def test_a_child_that_lived_long_is_started_again_as_if_it_had_never_died() -> None:
    child = Child(Program(name="web", command=["true"], environment={}), started_at=100.0, deaths_in_a_row=7)
    assert child.restart_delay(now=111.0) == 0.1


def test_a_child_that_keeps_dying_waits_five_seconds_at_most() -> None:
    child = Child(Program(name="web", command=["true"], environment={}), started_at=100.0, deaths_in_a_row=30)
    assert child.restart_delay(now=101.0) == 5.0
