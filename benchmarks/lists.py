"""Page 1 and page 1,000 of a customer with very many orders; and the memory that a million timers take."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchmarks.figures import Row, Table, alternate, resident_mb
from benchmarks.fleets import database_pid
from benchmarks.menus import load
from benchmarks.orders import OURS, PATH, REFERENCE, REFERENCE_SETTINGS, serving
from benchmarks.timers import ALL

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

PAGE, FAR_PAGE = 20, 1000
AT_ONCE, AUDITED = 50_000, 20_000
# A year's worth of orders: twelve months of partitions.
SECONDS_BETWEEN = 30
SETTLED_SECONDS = 15


def compare(fleet: Fleet, *, rounds: int, seconds: float, count: int) -> Table:
    """Requests a second on one connection for both pages, by our cursor and by OFFSET."""
    import accounts.services
    from tests import factories

    who = factories.person()
    began = time.monotonic()
    _fill(fleet, who, count)
    print(f"  {count} orders in {time.monotonic() - began:.0f} s", flush=True)
    headers = (f"Authorization: Bearer {accounts.services.issue_tokens(who.user).access}",)
    far = min(FAR_PAGE, count // PAGE)
    cursor = quote(b64encode(f"p={_last_id_before(who.id, far)}".encode()).decode())
    pages = {
        "cursor, page 1": (OURS, PATH),
        f"cursor, page {far}": (OURS, f"{PATH}?cursor={cursor}"),
        "offset, page 1": (REFERENCE, "/offset/orders/?page=1"),
        f"offset, page {far}": (REFERENCE, f"/offset/orders/?page={far}"),
    }
    return alternate(rounds, {name: partial(_page, fleet, *where, headers, seconds) for name, where in pages.items()})


def _page(fleet: Fleet, program: tuple[str, ...], path: str, headers: tuple[str, ...], seconds: float) -> Row:
    environment = REFERENCE_SETTINGS if program == REFERENCE else {}
    with serving(fleet, program, environment) as (port, pid):
        load(port, path, headers, 1, connections=1, server=[pid])
        return load(port, path, headers, seconds, connections=1, server=[pid], database=[database_pid(fleet)])


def _last_id_before(user_id: int, page: int) -> int:
    from orders.models import Order

    newest: Any = Order.objects.for_user(user_id).order_by("-id")
    last: int = newest.values_list("id", flat=True)[max(0, (page - 1) * PAGE - 1)]
    return last


def _fill(fleet: Fleet, who: Any, count: int) -> None:
    """Copies of one cancelled order, with all its rows, by sets; older ids first."""
    import orders.services
    from orders.models import Order, OrderChange, OrderLine, Saga
    from tests import factories
    from waimai.infra import ids
    from waimai.infra.models import ArchiveMark

    order_id = factories.placed(who, factories.stall("list"))
    orders.services.cancel(order_id=order_id, user_id=who.id)
    apart = SECONDS_BETWEEN << ids.SECONDS_SHIFT
    for model in (Order, OrderLine, OrderChange, Saga):
        _copy(fleet, who.shard, model, order_id, count, apart)
    # The audit would take longer than all of the measuring: it looks at the newest.
    ArchiveMark.objects.create(pk=1, below=order_id - AUDITED * apart)


def _copy(fleet: Fleet, using: str, model: Any, order_id: int, count: int, apart: int) -> None:
    columns = [field.column for field in model._meta.local_concrete_fields]
    key = "id" if "order_id" not in columns else "order_id"
    table, names = model._meta.db_table, ", ".join(f"`{column}`" for column in columns)
    own = {key: f"t.`{key}` - ({count} - s.seq) * {apart}"}
    values = ", ".join(own.get(column, f"t.`{column}`") for column in columns)
    for first, last in _batches(count - 1):
        sql = f"""INSERT INTO `{table}` ({names})
                  SELECT {values} FROM seq_{first}_to_{last} s JOIN `{table}` t ON t.`{key}` = %s"""  # noqa: S608 - ours
        fleet.ask(using, sql, order_id)


def _batches(count: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + AT_ONCE - 1, count)) for first in range(1, count + 1, AT_ONCE))


def compare_memory(fleet: Fleet, *, rounds: int, count: int) -> Table:
    """MB of each process with no timer pending, and with `count` of them over the next day."""
    return alternate(
        rounds, {"no timers": partial(_memory, fleet, 0), f"{count} timers": partial(_memory, fleet, count)}
    )


def _memory(fleet: Fleet, count: int) -> Row:
    from waimai.infra.clock import db_now
    from waimai.infra.sharding import shards

    for using in shards():
        _pend(fleet, using, count // len(shards()), db_now(using) + timedelta(minutes=10))
    programs = [fleet.start(kind) for kind in ALL]
    time.sleep(SETTLED_SECONDS)
    row = {f"{program.kind}_mb": resident_mb(program.process.pid) for program in programs if program.process}
    for program in programs:
        program.stop()
    for using in shards():
        fleet.ask(using, "TRUNCATE infra_timer")
    return row


def _pend(fleet: Fleet, using: str, count: int, first_due: datetime) -> None:
    """Timers of orders that don't exist: none of them falls due before they are gone again."""
    from orders.compensation import EXPIRE
    from waimai.infra.models import Timer

    for first, last in _batches(count):
        sql = f"""INSERT INTO `{Timer._meta.db_table}` (kind, ref_id, bucket, due_at, attempts, error)
                  SELECT %s, s.seq, 0, %s + INTERVAL s.seq * 86400 / {count} SECOND, 0, ''
                  FROM seq_{first}_to_{last} s"""  # noqa: S608 - ours
        fleet.ask(using, sql, EXPIRE, first_due.replace(tzinfo=None))
