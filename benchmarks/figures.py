"""Figures as rows of a table: measured in turns, their medians kept."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Row = dict[str, float]
Table = dict[str, Row]
# What adds up over the rounds: one lost order is one too many.
SUMMED = frozenset({"lost", "errors"})


def alternate(rounds: int, targets: Mapping[str, Callable[[], Row]]) -> Table:
    """Measure each target in turn, round by round (A B A B), so that a slow minute meets all; the medians by name."""
    found: dict[str, list[Row]] = {name: [] for name in targets}
    for number in range(rounds):
        for name, measure in targets.items():
            row = measure()
            found[name].append(row)
            said = ", ".join(f"{column} {rounded(value)}" for column, value in row.items())
            print(f"  round {number + 1}, {name}: {said}", flush=True)
    return {name: medians(rows) for name, rows in found.items()}


def medians(rows: Sequence[Row]) -> Row:
    """Of each column; what was lost or went wrong is added up."""
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    return {
        column: rounded(sum(values) if column in SUMMED else statistics.median(values))
        for column, values in columns.items()
    }


def rounded(value: float) -> float:
    """Three digits, or all of those before the point."""
    return round(value) if abs(value) >= 100 or value == int(value) else float(f"{value:.3g}")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of them stay below; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time so far of a process and its children that live."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(int(pid)) for pid in children)


def resident_mb(pid: int) -> float:
    """MB of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Meter:
    """Wall and processor time since it was made, of groups of processes by name."""

    def __init__(self, **groups: Sequence[int]) -> None:
        self.groups = groups
        self.before = self._used()
        self.began = time.monotonic()

    def row(self, rate: str, count: float) -> Row:
        """How many a second (as `rate`), and microseconds of each group's processor time for each one."""
        row = {rate: count / (time.monotonic() - self.began)}
        return row | {
            f"{name}_us": (used - self.before[name]) / max(1, count) * 1e6 for name, used in self._used().items()
        }

    def _used(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self.groups.items()}
