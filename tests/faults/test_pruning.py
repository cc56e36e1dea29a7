"""With two years of months, each statement of the product opens few of them: EXPLAIN says which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

import orders.audit
from orders import services
from orders.models import Order
from tests.accounts.factories import read
from tests.factories import completed, numbers, overdue, paid, placed, settle, start_payment, sweep
from tests.support import months
from tests.support.fleet import Fleet
from tests.support.months import Town, this_month
from waimai.infra import partitions, sharding
from waimai.infra.months import Month

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]
SHARD = "orders_0"
# The month of an id and the one before (a payment's bound lies a day before its order), three ahead, pmax.
FEW = 6
TABLE = re.compile(r"(?:FROM|UPDATE|INTO) `(\w+)`")


@pytest.fixture(autouse=True)
def town(fleet: Fleet) -> Town:
    """A shop that has been there for two years."""
    months.have_months(this_month().plus(-24).until(this_month().plus(3)))
    return Town.make()


@dataclass
class Seen:
    """(table, partitions, statement) of each statement on a partitioned table."""

    opened: list[tuple[str, list[str], str]] = field(default_factory=list)

    def most(self) -> int:
        """The most partitions that a statement opened; -1 when there was none to look at."""
        return max((len(parts) for _table, parts, _sql in self.opened), default=-1)

    def wide(self, limit: int = FEW) -> list[str]:
        """Statements that opened more than so many."""
        return [f"{table}: {len(parts)} by {sql[:300]}" for table, parts, sql in self.opened if len(parts) > limit]


@contextmanager
def explained() -> Iterator[Seen]:
    """What the statements inside opened, all databases."""
    seen = Seen()
    with ExitStack() as stack:
        captured = {
            alias: stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in sharding.shards()
        }
        yield seen
    tables = {model._meta.db_table for model in partitions.partitioned_models()}
    for alias, capture in captured.items():
        for query in capture.captured_queries:
            table = TABLE.search(query["sql"])
            if table and table[1] in tables and not query["sql"].startswith("INSERT"):
                seen.opened.append((table[1], opened_by(query["sql"], alias), query["sql"]))


def opened_by(sql: str, alias: str) -> list[str]:
    """The partitions that a statement opens; EXPLAIN's column of that name."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN PARTITIONS {sql}".replace("%", "%%"), [])
        at = [column[0] for column in cursor.description].index("partitions")
        return [name for row in cursor.fetchall() if row[at] for name in row[at].split(",")]


def test_by_its_id_an_order_is_in_one_month(town: Town) -> None:
    order_id = placed(town.mei, town.stall)
    with explained() as seen:
        list(Order.objects.by_id(order_id))
        services.get_order(order_id=order_id, user_id=town.mei.id)
    assert len(seen.opened) == 4
    assert seen.most() == 1


def test_the_life_of_an_order_opens_few_months(town: Town) -> None:
    """Placed, paid, cooked, cancelled, refunded, expired, swept, relayed: whatever statement that takes."""
    with explained() as seen:
        completed(town.mei, town.stall, town.lan, key="k-1")
        services.cancel(order_id=paid(town.mei, town.stall, key="k-2"), user_id=town.mei.id)
        start_payment(late := placed(town.mei, town.stall, key="k-3"))
        overdue(late)
        settle()
    assert len(seen.opened) > 50
    assert seen.wide() == []


def test_the_clock_asks_its_own_table(town: Town) -> None:
    """A sweep with nothing due doesn't look at orders at all."""
    placed(town.mei, town.stall)
    sweep()
    with explained() as seen:
        sweep()
    assert seen.opened == []


def scattered(town: Town, per_month: int, *ages: int) -> list[int]:
    """So many orders in each of some months, the newest first."""
    made = []
    for age in ages:
        with months.ids_made_in(this_month().plus(-age)):
            made += [placed(town.mei, town.stall, key=f"{age}-{n}") for n in range(per_month)]
    return sorted(made, reverse=True)


@pytest.mark.parametrize("path", ["orders/?page_size=3", "orders/?page_size=3&status=pending_payment"])
def test_a_page_of_the_api_opens_the_last_months_only(path: str, town: Town) -> None:
    made = scattered(town, 4, 0, 6, 20)
    with explained() as seen:
        page = read(town.mei.api.get(path))
    assert numbers(page["results"]) == made[:3]
    # This month and the two before, three ahead, pmax.
    assert 1 <= seen.most() <= 7
    pages = [numbers(page["results"])]
    while page["next"]:
        page = read(town.mei.api.get(page["next"].partition("/api/v1/")[2]))
        pages.append(numbers(page["results"]))
    assert [number for each in pages for number in each] == made
    before = read(town.mei.api.get(page["previous"].partition("/api/v1/")[2]))
    assert numbers(before["results"]) == made[6:9]


def test_back_and_forth_through_two_years(town: Town) -> None:
    """The pages before a page, reached from behind, are those that lead to it; near ones open few months."""
    made = scattered(town, 7, 18)
    url, seen_pages, links = "orders/?page_size=2", [], []
    while url:
        page = read(town.mei.api.get(url))
        seen_pages.append(numbers(page["results"]))
        links.append(page["previous"])
        url = (page["next"] or "").partition("/api/v1/")[2]
    assert [number for each in seen_pages for number in each] == made
    with explained() as seen:
        page = read(town.mei.api.get(links[-1].partition("/api/v1/")[2]))
    assert numbers(page["results"]) == seen_pages[-2]
    lists = [parts for table, parts, _sql in seen.opened if table == "orders_order"]
    assert max(map(len, lists)) <= 4


def test_the_page_of_orders_opens_the_last_months_only(town: Town) -> None:
    made = scattered(town, 3, 0, 9)
    with explained() as seen:
        found = services.newest_orders(user_id=town.mei.id, limit=3)
    assert [order.pk for order in found] == made[:3]
    assert 1 <= seen.most() <= 7
    with explained() as seen:
        found = services.newest_orders(user_id=town.mei.id, before=made[3] + 1, limit=3)
    assert [order.pk for order in found] == made[3:]
    assert 1 <= seen.most() <= 4
    # Few orders: the rest of the months has to be looked at too, once.
    with explained() as seen:
        found = services.newest_orders(user_id=town.mei.id, limit=20)
    assert [order.pk for order in found] == made
    assert len(seen.opened) == 2


def test_the_audit_walks_the_months_by_id(town: Town) -> None:
    scattered(town, 2, 1, 3)
    newest = placed(town.mei, town.stall)
    with pytest.MonkeyPatch.context() as patch, explained() as seen:
        patch.setattr(orders.audit, "BATCH", 2)
        assert list(orders.audit.batches(SHARD))
    walk = [len(parts) for table, parts, _sql in seen.opened if table == "orders_order"]
    assert walk == sorted(walk, reverse=True)
    assert walk[-1] <= 5
    assert Month.of_id(newest) == this_month()


def test_a_search_without_a_bound_would_open_all(town: Town) -> None:
    """That the tests above can fail."""
    placed(town.mei, town.stall)
    with explained() as seen:
        list(Order.objects.for_user(town.mei.id))
    assert seen.most() == 24 + 1 + 3 + 1
