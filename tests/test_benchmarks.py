"""What the benchmarks make of their figures: medians, the page, the picture."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest

from benchmarks.figures import Table, alternate, cpu_seconds, medians, quantile, rounded
from benchmarks.report import chart, report

pytestmark = pytest.mark.once

ORDERS: Table = {"ours": {"durable_per_second": 900, "lost": 0}, "orm <1>": {"durable_per_second": 90, "p50_ms": 7}}
LISTS: Table = {
    "cursor, page 1": {"mean_ms": 10},
    "cursor, page 1000": {"mean_ms": 16},
    "offset, page 1": {"mean_ms": 8},
    "offset, page 1000": {"mean_ms": 40},
}


def test_targets_are_measured_in_turns(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def measure(name: str) -> dict[str, float]:
        order.append(name)
        return {"rate": float(len(order))}

    found = alternate(3, {"a": lambda: measure("a"), "b": lambda: measure("b")})
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert found == {"a": {"rate": 3}, "b": {"rate": 4}}
    assert "round 2, b: rate 4" in capsys.readouterr().out


def test_one_wild_round_moves_nothing_but_what_was_lost_adds_up() -> None:
    rows: list[dict[str, float]] = [{"rate": 10, "lost": 1}, {"rate": 5000, "lost": 0}, {"rate": 11, "lost": 2}]
    assert medians(rows) == {"rate": 11, "lost": 3}


def test_three_digits_are_kept() -> None:
    assert [rounded(value) for value in (1234.56, 12.345, 0.012345, 0.0, 99.0)] == [1235, 12.3, 0.0123, 0, 99]


def test_quantiles() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0.5, 0.99, 1)] == [51, 100, 100]
    assert quantile([], 0.99) == 0


def test_processor_time_is_counted() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < before + 0.02:
        pass


def test_the_page_has_every_column_and_row_and_says_by_how_much() -> None:
    page = report({"orders": ORDERS}, 1.5, [], rounds=3)
    assert "| | durable_per_second | lost | p50_ms |" in page
    assert "| orm <1> | 90 |  | 7 |" in page
    assert "- durable_per_second, ours / orm <1>: 10" in page
    assert "load before 1.5" in page
    assert "clean" in page


def test_the_page_says_which_targets_were_met() -> None:
    sweep = {"sweep": {"cancellations_per_second": 20_000.0}, "one by one": {"cancellations_per_second": 50.0}}
    memory = {"no timers": {"events_mb": 80.0, "worker_mb": 90.0}, "9 timers": {"events_mb": 180.0, "worker_mb": 91.0}}
    window = {"500/s, window and sweep": {"p99_s": 0.51}}
    page = report({"sweep": sweep, "window": window, "lists": LISTS, "memory": memory}, 0, ["saga: I10"], rounds=3)
    assert "20000, target ≥ 20000: met" in page
    assert "0.51, target ≤ 0.5: **missed**" in page
    assert "1.6, target ≤ 1.5: **missed**" in page
    assert "the same by OFFSET: 5" in page
    assert "100, target ≤ 100: met" in page
    assert "saga: I10" in page


def test_the_picture_has_a_bar_for_each_row_to_the_scale_of_its_group() -> None:
    picture = ElementTree.fromstring(chart({"orders": ORDERS, "lists": LISTS}))
    space = "{http://www.w3.org/2000/svg}"
    bars = picture.findall(f"{space}rect")
    assert [int(bar.attrib["width"]) for bar in bars] == [400, 40, 100, 160, 80, 400]
    tops = [int(bar.attrib["y"]) for bar in bars]
    assert tops == sorted(set(tops))
    assert tops[-1] < int(picture.attrib["height"])
    assert "orm <1>" in [text.text for text in picture.findall(f"{space}text")]
