"""How late unpaid orders are cancelled: `python -m benchmarks.timers`, see the README beside this file.

Copies orders by the ten thousand onto two shards of a MariaDB of its own, lets our real processes run, and reads the
lateness of each cancellation from the order's history: by the clock of the database, as everything about time is.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.fleet import Fleet, Kind

SETUPS: dict[str, list[Kind]] = {
    "all": ["events", "worker", "beat"],
    "events": ["events"],
    "worker": ["worker", "beat"],
}
TICK_SECONDS = 0.05
# The processes start, and beat's window is filled, before the first one is due.
LEAD = timedelta(seconds=20)
FAR = timedelta(hours=2)
PORTIONS = 1_000_000


@dataclass
class Process:
    """What one process used while the orders were due."""

    name: str
    pid: int
    cpu_before: float = 0.0
    resident: list[int] = field(default_factory=list)

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        parts = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def note_memory(self) -> None:
        """Remember how many MB it holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGE_SIZE") // 2**20)


def main() -> None:
    """Measure one setup and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setup", choices=SETUPS, default="all")
    parser.add_argument("--rate", type=int, default=500, help="orders that fall due each second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--limited", type=int, default=25, help="per cent of the orders that hold stock")
    parser.add_argument("--overdue", type=int, default=0, help="instead: so many overdue at once; prints orders/s")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where MariaDB writes")
    options = parser.parse_args()
    with _fleet(options.folder) as fleet:
        like = _originals(options.limited)
        if options.overdue:
            _measure_overdue(options.overdue, like)
        else:
            _measure(fleet, SETUPS[options.setup], options.rate, options.seconds, like)


@contextmanager
def _fleet(parent: Path) -> Iterator[Fleet]:
    """Servers of our own; Django is pointed at them."""
    with tempfile.TemporaryDirectory(prefix="waimai-benchmark-", dir=parent) as name:
        folder = Path(name)
        os.environ |= {"DJANGO_SETTINGS_MODULE": "waimai.settings", "WAIMAI_DATA_DIR": name}
        os.environ["WAIMAI_SECRET_KEY"] = secrets.token_hex(32)
        import django

        django.setup()
        from tests.support import valkey
        from tests.support.fleet import Fleet, django_on, make_template
        from waimai.infra import parts

        cache = valkey.start(parts.embedded_socket(folder))
        fleet = Fleet(folder / "fleet", make_template(folder / "template"), separate=False, broker="redis", aof=False)
        try:
            fleet.open()
            with django_on({alias: fleet.database_url(alias) for alias in fleet.aliases}):
                yield fleet
        finally:
            fleet.close()
            valkey.stop(cache)


def _originals(limited: int) -> list[int]:
    """A hundred orders' worth of what to copy: that many of them of a dish that is counted."""
    import menu.services
    from tests import factories

    stall, mei = factories.stall(), factories.person()
    unlimited = factories.placed(mei, stall, (stall.fish, 1), (stall.rice, 2), key="unlimited")
    menu.services.set_stock(item_id=stall.tofu, available=PORTIONS)
    counted = factories.placed(mei, stall, (stall.tofu, 2), key="limited")
    return [counted if n * limited // 100 != (n + 1) * limited // 100 else unlimited for n in range(100)]


def _measure(fleet: Fleet, kinds: Sequence[Kind], rate: int, seconds: int, like: Sequence[int]) -> None:
    from tests.support import bulk
    from waimai.infra.clock import db_now
    from waimai.infra.sharding import shards

    print(f"{rate} orders/s for {seconds} s; processes: {', '.join(kinds)}; load before {os.getloadavg()[0]:.2f}")
    far = db_now("default") + FAR
    bulk.unpaid(rate * seconds, like, first_due=far, over_seconds=seconds)
    bulk.cancel(set(like))
    processes = [Process(program.name, program.process.pid) for program in map(fleet.start, kinds) if program.process]
    if fleet.database.process:
        processes.append(Process("MariaDB", fleet.database.process.pid))
    due = db_now("default") + LEAD
    bulk.put_off(due - far)
    _wait_until(due)
    for process in processes:
        process.cpu_before = process.cpu()
    oldest = _watch(due + timedelta(seconds=seconds), processes)
    late = sorted(value for using in shards() for value in _lateness(fleet, using))
    _print_lateness("by its history", late)
    _print_lateness("oldest still there, looked at every 50 ms", sorted(oldest))
    for process in processes:
        used = (process.cpu() - process.cpu_before) / seconds
        memory = f"{process.resident[0]} MB at first, {max(process.resident)} MB at most"
        print(f"  {process.name:<10} {used * 100:5.1f} % of a processor, {memory}")
    print(f"  cancelled {len(late)} of {rate * seconds}; audit: {fleet.manage('audit', check=False).stdout.strip()}")


def _wait_until(moment: object) -> None:
    from waimai.infra.clock import db_now

    while db_now("default") < moment:  # type: ignore[operator]
        time.sleep(TICK_SECONDS)


def _watch(end: object, processes: Sequence[Process]) -> list[float]:
    """Until the last one is gone: how late, at each look, the oldest timer was that anybody could still see."""
    from orders.compensation import EXPIRE
    from waimai.infra.clock import db_now
    from waimai.infra.models import Timer
    from waimai.infra.sharding import shards

    found: list[float] = []
    while True:
        now = db_now("default")
        rows = [Timer.objects.on(using).filter(kind=EXPIRE).order_by("due_at") for using in shards()]
        first = [due for each in rows if (due := each.values_list("due_at", flat=True).first())]
        found.append(max(0.0, (now - min(first)).total_seconds()) if first else 0.0)
        for process in processes:
            process.note_memory()
        if not first or now > end + timedelta(seconds=60):  # type: ignore[operator]
            return found
        time.sleep(TICK_SECONDS)


def _lateness(fleet: Fleet, using: str) -> list[float]:
    sql = """SELECT TIMESTAMPDIFF(MICROSECOND, o.expires_at, c.at) FROM orders_order o
             JOIN orders_orderchange c ON c.order_id = o.id AND c.transition = 'expire'"""
    return [microseconds / 1e6 for (microseconds,) in fleet.ask(using, sql)]


def _print_lateness(what: str, late: Sequence[float]) -> None:
    if not late:
        print(f"  {what}: nothing")
        return
    p99 = late[min(int(len(late) * 0.99), len(late) - 1)]
    print(f"  lateness, {what}: p50 {statistics.median(late):.3f} s, p99 {p99:.3f} s, max {late[-1]:.3f} s")


def _measure_overdue(count: int, like: Sequence[int]) -> None:
    """One thread of one process sweeps what piled up while nothing ran."""
    from tests.support import bulk
    from waimai.infra import timers
    from waimai.infra.clock import db_now
    from waimai.infra.sharding import shards

    bulk.unpaid(count, like, first_due=db_now("default") - timedelta(hours=1), over_seconds=60)
    started, cpu = time.monotonic(), time.process_time()
    fired = sum(timers.sweep(using) for using in shards())
    took = time.monotonic() - started
    busy = (time.process_time() - cpu) / took
    print(f"{fired} overdue orders cancelled in {took:.1f} s: {fired / took:.0f}/s, this process at {busy:.0%}")


if __name__ == "__main__":
    main()
