"""All comparisons in one go: `benchmarks/run`, see the README beside this file."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import menus, orders
from benchmarks.timers import _fleet

HERE = Path(__file__).resolve().parent
COMPARED = ("orders", "menu")
BAR_HEIGHT, BAR_WIDTH = 24, 420


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Ratios, measured in one run on this machine.")
    parser.add_argument("--only", choices=COMPARED, help="one of them")
    parser.add_argument("--json", type=Path, help="where the figures go as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="length of one load")
    parser.add_argument("--peer", type=Path, help="folder of the Go gateway to be measured beside ours")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where MariaDB writes")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    load = os.getloadavg()[0]
    with _fleet(options.folder) as fleet:
        from tests import factories

        comparisons: dict[str, Callable[[], dict[str, Any]]] = {
            "orders": lambda: orders.compare(fleet, rounds=options.rounds, seconds=options.seconds, peer=options.peer),
            "menu": lambda: menus.compare(fleet, rounds=options.rounds, seconds=options.seconds),
        }
        for name in COMPARED:
            if options.only in (None, name):
                print(name, flush=True)
                results[name] = comparisons[name]()
        problems = factories.audit()
    text = report(results, load, problems)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.only is None:
        (HERE / "RESULTS.md").write_text(text)
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "results.svg").write_text(chart(results))
    if problems:
        raise SystemExit("the audit isn't clean: " + "; ".join(problems[:5]))


def report(results: dict[str, Any], load: float, problems: list[str]) -> str:
    """The figures as a page."""
    lines = [
        "# Results",
        "",
        f"Made by `benchmarks/run` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load before {load:.1f},",
        "load generator and MariaDB included. Medians. What is measured how stands in the [README](README.md).",
        "",
        "![Durable orders a second](results.svg)",
    ]
    for name, table in results.items():
        columns = list(next(iter(table.values())))
        lines += ["", f"## {name}", "", f"| | {' | '.join(columns)} |", "|" + "---|" * (len(columns) + 1)]
        lines += [f"| {row} | {' | '.join(str(value) for value in cells.values())} |" for row, cells in table.items()]
    if found := results.get("orders"):
        lines += ["", *_ratios(found)]
    lines += ["", f"The audit after all of it: {problems or 'clean'}.", ""]
    return "\n".join(lines)


def _ratios(found: dict[str, Any]) -> list[str]:
    ours = found["ours"]["durable_per_second"]
    others = [name for name in found if not name.startswith("ours")]
    return [f"- ours / {name}: {ours / max(1, found[name]['durable_per_second']):.1f}" for name in others]


def chart(results: dict[str, Any]) -> str:
    """A bar per target: durable orders a second."""
    found = {name: row["durable_per_second"] for name, row in results.get("orders", {}).items()}
    most, height = max(found.values(), default=1), BAR_HEIGHT * len(found) + 10
    bars = "".join(
        f'<text x="200" y="{n * BAR_HEIGHT + 19}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="210" y="{n * BAR_HEIGHT + 5}" width="{value / most * BAR_WIDTH:.0f}" height="18" fill="#e4572e"/>'
        f'<text x="{215 + value / most * BAR_WIDTH:.0f}" y="{n * BAR_HEIGHT + 19}">{value}</text>'
        for n, (name, value) in enumerate(found.items())
    )
    style = "<style>text{font:13px sans-serif;fill:#555}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}">{style}{bars}</svg>\n'


if __name__ == "__main__":
    main()
