"""The results as a page and as a picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

from benchmarks.figures import Table, rounded

BAR_HEIGHT, BAR_WIDTH, TITLE_HEIGHT = 24, 400, 40
LABEL_WIDTH, WIDTH = 210, 720
# The column of each table that the picture shows; the first row is compared with the others by it.
HEADLINES = {
    "orders": ("durable_per_second", "durable orders a second"),
    "menu": ("requests_per_second", "menus a second"),
    "sweep": ("cancellations_per_second", "overdue orders cancelled a second, one thread"),
    "window": ("p99_s", "seconds late, p99 (less is better)"),
    "saga": ("orders_per_second", "orders a second from placed to the desk"),
    "lists": ("mean_ms", "milliseconds for a page of orders (less is better)"),
    "memory": ("worker_mb", "MB of a Celery worker (less is better)"),
    "overload": ("accepted_per_second", "accepted a second, three times the capacity offered"),
}


# Where the first row beside the others says something as it stands.
COMPARED = ("orders", "menu", "sweep", "saga")


class Target(NamedTuple):
    """What a table should show."""

    comparison: str
    text: str
    value: Callable[[Table], float]
    bound: float
    at_least: bool = False

    def line(self, table: Table) -> str:
        """How it came out."""
        value = self.value(table)
        met = value >= self.bound if self.at_least else value <= self.bound
        sign = "≥" if self.at_least else "≤"
        return f"- {self.text}: {rounded(value)}, target {sign} {self.bound}: {'met' if met else '**missed**'}"


def _far_by_near(table: Table, how: str) -> float:
    near, far = (row["mean_ms"] for name, row in table.items() if name.startswith(how))
    return far / near


def _most_grown(table: Table) -> float:
    without, pending = table.values()
    return max(pending[column] - without[column] for column in without)


TARGETS = (
    Target("sweep", "cancellations a second", lambda t: t["sweep"]["cancellations_per_second"], 20_000, at_least=True),
    Target("window", "p99 of the lateness at 500/s, seconds", lambda t: t["500/s, window and sweep"]["p99_s"], 0.5),
    Target("lists", "time of the far page by that of page 1", lambda t: _far_by_near(t, "cursor"), 1.5),
    Target("memory", "MB more with the timers, in the process that grew most", _most_grown, 100),
)


def report(results: Mapping[str, Table], load: float, problems: Sequence[str], *, rounds: int) -> str:
    """The figures as a page."""
    lines = [
        "# Results",
        "",
        f"Made by `benchmarks/run` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load before {load:.1f},",
        f"load generator and MariaDB included. Medians of {rounds}.",
        "What is measured how stands in the [README](README.md).",
        "",
        "![The first column of interest of each table](results.svg)",
    ]
    for name, table in results.items():
        found = [target.line(table) for target in TARGETS if target.comparison == name]
        lines += ["", f"## {name}", "", *_table(table), "", *found, *_ratios(name, table)]
    lines += ["", f"The audit after each of them: {'; '.join(problems) or 'clean'}.", ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    head = [f"| | {' | '.join(columns)} |", "|" + "---|" * (len(columns) + 1)]
    return head + [
        f"| {name} | {' | '.join(str(row.get(column, '')) for column in columns)} |" for name, row in table.items()
    ]


def _ratios(name: str, table: Table) -> list[str]:
    if name == "lists":
        return [f"- the same by OFFSET: {rounded(_far_by_near(table, 'offset'))}"]
    if name not in COMPARED:
        return []
    column, _title = HEADLINES[name]
    (first, ours), *others = ((row, cells[column]) for row, cells in table.items())
    return [f"- {column}, {first} / {other}: {rounded(ours / value)}" for other, value in others if value]


def chart(results: Mapping[str, Table]) -> str:
    """A group of bars for each table, each to a scale of its own."""
    parts, y = [], 0
    for name, table in results.items():
        column, title = HEADLINES[name]
        values = {row: cells[column] for row, cells in table.items()}
        parts += [f'<text x="10" y="{y + 27}" class="t">{escape(f"{name}: {title}")}</text>']
        parts += _bars(values, y + TITLE_HEIGHT)
        y += TITLE_HEIGHT + BAR_HEIGHT * len(values)
    style = "<style>text{font:13px sans-serif;fill:#777}.t{font-weight:bold}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}">{style}{"".join(parts)}</svg>\n'


def _bars(values: Mapping[str, float], top: int) -> Iterator[str]:
    most = max(values.values()) or 1
    for n, (name, value) in enumerate(values.items()):
        y, width = top + n * BAR_HEIGHT, value / most * BAR_WIDTH
        yield (
            f'<text x="{LABEL_WIDTH - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.0f}" height="18" fill="#e4572e"/>'
            f'<text x="{LABEL_WIDTH + 5 + width:.0f}" y="{y + 14}">{value}</text>'
        )
