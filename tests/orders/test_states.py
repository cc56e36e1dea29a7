from __future__ import annotations

import re
from pathlib import Path

import pytest

from orders import intake
from orders.models import Order
from orders.states import Move, OrderStates, Status, is_legal, moves

DRAWING = Path(__file__).resolve().parents[2] / "docs" / "order-states.md"
ARROW = re.compile(r"^\s*(\[\*\]|\w+) --> (\w+) : (\w+)\s*$", re.MULTILINE)
# Written out a second time on purpose: DESIGN's sentence, arrow by arrow.
ARROWS = {
    ("confirm", "placing", "pending_payment"),
    ("give_up", "placing", "cancelled"),
    ("pay", "pending_payment", "paid"),
    ("expire", "pending_payment", "cancelled"),
    ("cancel", "pending_payment", "cancelled"),
    ("cancel", "paid", "cancelled"),
    ("accept", "paid", "accepted"),
    ("reject", "paid", "cancelled"),
    ("withdraw", "paid", "cancelled"),
    ("withdraw", "accepted", "cancelled"),
    ("withdraw", "delivering", "cancelled"),
    ("deliver", "accepted", "delivering"),
    ("complete", "delivering", "completed"),
}


def arrows_of(move: Move) -> set[tuple[str, str, str]]:
    return {(move.name, source, move.target) for source in move.sources}


def declared() -> set[tuple[str, str, str]]:
    return {arrow for move in moves() for arrow in arrows_of(move)}


def test_the_transitions_are_these_and_no_others() -> None:
    assert declared() == ARROWS


def test_the_drawing_shows_every_arrow_and_no_other() -> None:
    drawn = {
        (name, "" if source == "[*]" else source, target) for source, target, name in ARROW.findall(DRAWING.read_text())
    }
    assert drawn == declared() | arrows_of(intake.BEGUN) | arrows_of(intake.PLACED)


def test_there_is_a_way_to_every_state() -> None:
    reached = {str(Status.PLACING)}
    for _ in Status:
        reached |= {target for _, source, target in ARROWS if source in reached}
    assert reached == set(Status.values)


@pytest.mark.parametrize("state", [Status.COMPLETED, Status.CANCELLED])
def test_the_end_is_the_end(state: Status) -> None:
    assert [arrow for arrow in declared() if arrow[1] == state] == []


@pytest.mark.parametrize("state", [state for state in Status if state not in (Status.COMPLETED, Status.CANCELLED)])
def test_before_the_end_an_order_can_be_cancelled(state: Status) -> None:
    assert any(source == state and target == "cancelled" for _, source, target in ARROWS)


@pytest.mark.parametrize("source", ["", *Status.values])
@pytest.mark.parametrize("target", Status.values)
def test_what_is_legal(source: str, target: str) -> None:
    expected = any((source, target) == arrow[1:] for arrow in ARROWS)
    begins = source == "" and target in ("placing", "pending_payment")
    assert is_legal(source, target) == (expected or begins)


def test_an_order_has_the_declared_transitions() -> None:
    assert issubclass(Order, OrderStates)
    assert (Order._meta.get_field("status").max_length or 0) >= max(map(len, Status.values))
