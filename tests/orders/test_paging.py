"""Page 1,000 of somebody's orders reads as many rows as page 1: by the index, and on MariaDB in the nearest months."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from orders import services
from orders.models import BY_USER, Order, OrderChange, OrderLine
from orders.views import ORDERS_PER_PAGE
from tests.accounts.factories import read
from tests.factories import Person, Stall, neighbour_of, numbers, placed
from tests.support import months
from tests.support.explain import ask, on_mariadb, statements, work_of
from tests.support.months import this_month
from waimai.infra import ids, partitions

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(180)]

# 2^15 orders of Mei, one every eight minutes, are half a year; her neighbour has as many, and they alternate.
DOUBLINGS, EVERY_SECONDS, OLDEST_MONTH = 15, 480, -7
FAR = 1_000
# On MariaDB: the month of the page and two before; on the first page also three ahead and pmax.
FEW, FEW_OF_THE_FIRST = 3, 7
Page = Callable[[Person, int | None], list[int]]


@pytest.fixture
def mei(mei: Person, stall: Stall) -> Iterator[Person]:
    """Mei has ordered for half a year; on MariaDB each month has its partition."""
    if on_mariadb(mei.shard):
        months.have_months(this_month().plus(OLDEST_MONTH).until(this_month().plus(partitions.MONTHS_AHEAD)))
    for who in (mei, neighbour_of(mei, same_shard=True)):
        placed(who, stall)
    for n, model in itertools.product(range(DOUBLINGS), (Order, OrderLine, OrderChange)):
        double(model, mei.shard, back_by=EVERY_SECONDS << n << ids.SECONDS_SHIFT)
    if on_mariadb(mei.shard):
        ask(mei.shard, "ANALYZE TABLE orders_order")
    yield mei
    if on_mariadb(mei.shard):
        months.have_months(this_month().plus(-1).until(this_month().plus(partitions.MONTHS_AHEAD)))


def double(model: Any, using: str, *, back_by: int) -> None:
    """Copy every row, to ids so much earlier."""
    key = model.partitioned_by
    others = ", ".join(f"`{each.column}`" for each in model._meta.local_concrete_fields if each.column != key)
    table = model._meta.db_table
    ask(using, f"INSERT INTO {table} ({key}, {others}) SELECT {key} - {back_by}, {others} FROM {table}")


def of_the_api(who: Person, before: int | None) -> list[int]:
    cursor = "" if before is None else urlencode({"cursor": b64encode(f"p={before}".encode()).decode()})
    return numbers(read(who.api.get(f"orders/?{cursor}"))["results"])


def of_the_history(who: Person, before: int | None) -> list[int]:
    found = services.newest_orders(user_id=who.id, before=before, limit=ORDERS_PER_PAGE + 1)[:ORDERS_PER_PAGE]
    return [document["id"] for document in services.documents_of(found, user_id=who.id)]


def plan_of(sqls: list[str], using: str) -> tuple[str, int]:
    """The index by which the one list of orders is read, and in how many partitions."""
    (sql,) = [each for each in sqls if f"LIMIT {ORDERS_PER_PAGE + 1}" in each]
    if on_mariadb(using):
        (row,) = ask(using, f"EXPLAIN PARTITIONS {sql}")
        assert (row["type"], "filesort" in row["Extra"]) == ("range", False)
        return row["key"], len(row["partitions"].split(","))
    (row,) = ask(using, f"EXPLAIN QUERY PLAN {sql}")
    found = re.fullmatch(r"SEARCH orders_order USING INDEX (\w+) \(user_id=\? AND id>\?( AND id<\?)?\)", row["detail"])
    assert found, row["detail"]
    return found[1], 1


@pytest.mark.parametrize("page", [of_the_api, of_the_history])
def test_page_1000_reads_as_many_rows_as_page_1(page: Page, mei: Person) -> None:
    every = list(Order.objects.for_user(mei.id).order_by("-id").values_list("id", flat=True))
    assert len(every) == 1 << DOUBLINGS
    seen = (FAR - 1) * ORDERS_PER_PAGE
    found, first = statements(mei.shard, lambda: page(mei, None))
    assert found == every[:ORDERS_PER_PAGE]
    found, far = statements(mei.shard, lambda: page(mei, every[seen - 1]))
    assert found == every[seen : seen + ORDERS_PER_PAGE]

    index, opened = plan_of(first, mei.shard)
    assert (index, opened <= FEW_OF_THE_FIRST) == (BY_USER, True)
    index, opened = plan_of(far, mei.shard)
    assert (index, opened <= FEW) == (BY_USER, True)
    assert work_of(far, mei.shard) <= work_of(first, mei.shard) + FEW
