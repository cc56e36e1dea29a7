"""All comparisons in one go: `benchmarks/run`, see the README beside this file."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import lists, menus, orders, overload, sagas, timers
from benchmarks.figures import Table
from benchmarks.fleets import fleets
from benchmarks.report import HEADLINES, chart, report

HERE = Path(__file__).resolve().parent
SIZES = {"overdue": 20_000, "orders": 1_000_000, "timers": 1_000_000}
QUICK = {"overdue": 400, "orders": 25_000, "timers": 20_000}
# Lateness and overload need longer than a rate to show.
LONGER = 2.5


def main() -> None:
    """Measure, print, and write the results."""
    options = _options()
    # Told to stop, we still remove our servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results: dict[str, Table] = {}
    problems: list[str] = []
    load = os.getloadavg()[0]
    comparisons = _comparisons(options.rounds, options.seconds, QUICK if options.quick else SIZES, options.peer)
    with fleets(options.folder) as opened:
        from tests import factories

        for name in options.only or comparisons:
            print(name, flush=True)
            try:
                with opened() as fleet:
                    results[name] = comparisons[name](fleet)
                    problems += [f"{name}: {problem}" for problem in factories.audit()[:5]]
            except Exception as error:  # noqa: BLE001 - the figures of the others are worth keeping
                traceback.print_exc()
                problems.append(f"{name}: {error!r}")
    text = report(results, load, problems, rounds=options.rounds)
    print(text)
    _write(options, results, text)
    if problems:
        raise SystemExit("not as it should be: " + "; ".join(problems))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Ratios, measured in one run on this machine.")
    parser.add_argument("--only", choices=HEADLINES, action="append", help="this one; may be given several times")
    parser.add_argument("--json", type=Path, help="where the figures go as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="length of one load")
    parser.add_argument("--quick", action="store_true", help="one short round of everything, to see that it works")
    parser.add_argument("--peer", type=Path, help="folder of the Go gateway to be measured beside ours")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where MariaDB writes")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    return options


def _comparisons(
    rounds: int, seconds: float, sizes: Mapping[str, int], peer: Path | None
) -> dict[str, Callable[[Any], Table]]:
    longer = LONGER * seconds
    return {
        "orders": partial(orders.compare, rounds=rounds, seconds=seconds, peer=peer),
        "menu": partial(menus.compare, rounds=rounds, seconds=seconds),
        "sweep": partial(timers.compare_sweep, rounds=rounds, count=sizes["overdue"]),
        "window": partial(timers.compare_window, rounds=rounds, seconds=round(longer)),
        "saga": partial(sagas.compare, rounds=rounds, seconds=seconds),
        "lists": partial(lists.compare, rounds=rounds, seconds=seconds, count=sizes["orders"]),
        "memory": partial(lists.compare_memory, rounds=rounds, count=sizes["timers"]),
        "overload": partial(overload.compare, rounds=rounds, seconds=longer),
    }


def _write(options: argparse.Namespace, results: Mapping[str, Table], text: str) -> None:
    found = json.dumps(results, indent=1) + "\n"
    if options.json:
        options.json.write_text(found)
    if options.only is None and not options.quick:
        (HERE / "RESULTS.md").write_text(text)
        (HERE / "results.json").write_text(found)
        (HERE / "results.svg").write_text(chart(results))


if __name__ == "__main__":
    main()
