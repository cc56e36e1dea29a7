"""Page 1,000 of the desk's orders in a state begins in the index where it begins: it reads as much as page 1."""

from __future__ import annotations

import copy
import re
from base64 import b64encode
from datetime import timedelta
from urllib.parse import urlencode

import pytest

import accounts.services
from orders.desk.models import OF_A_SHOP, OF_ALL, DeskOrder
from tests import factories
from tests.accounts.factories import read
from tests.factories import Person, Stall, completed, numbers, relay, works_at
from tests.support.explain import ask, on_mariadb, statements, work_of
from waimai.infra.rows import insert_rows
from waimai.infra.sharding import DEFAULT

pytestmark = [pytest.mark.data, pytest.mark.slow]
PAGE_SIZE, FAR, SHOPS = 5, 1_000, 3
# What a page holds of one shop, and of all three.
EACH = PAGE_SIZE * (FAR + 10)


@pytest.fixture
def stall(stall: Stall, mei: Person) -> Stall:
    """A shop that has completed thousands of orders; two others have done so in the same minutes."""
    completed(mei, stall, works_at(stall.shop_id, "manager", "wang"))
    relay()
    (like,) = DeskOrder.objects.all()
    others = [factories.stall(f"摊位{n}").shop_id for n in range(SHOPS - 1)]
    rows: list[DeskOrder] = []
    for n in range(1, EACH):
        for shop_id in (stall.shop_id, *others):
            row = copy.copy(like)
            row.order_id, row.shop_id = like.order_id + len(rows) + 1, shop_id
            row.paid_at = like.paid_at + timedelta(minutes=n)
            rows.append(row)
    insert_rows(DeskOrder, list(map(vars, rows)), using=DEFAULT)
    if on_mariadb(DEFAULT):
        ask(DEFAULT, "ANALYZE TABLE desk_deskorder")
    return stall


def page(who: Person, query: str, after: DeskOrder | None = None) -> list[int]:
    """Orders that are completed; those paid after that one."""
    cursor = (
        "" if after is None else urlencode({"cursor": b64encode(urlencode({"p": after.paid_at}).encode()).decode()})
    )
    url = f"staff/orders/?status=completed&page_size={PAGE_SIZE}&{query}&{cursor}"
    return numbers(read(who.api.get(url))["results"])


def index_of(sqls: list[str]) -> str:
    """The index by which the one list of orders is read, without sorting."""
    (sql,) = [each for each in sqls if f"LIMIT {PAGE_SIZE + 1}" in each]
    if on_mariadb(DEFAULT):
        (row,) = ask(DEFAULT, f"EXPLAIN {sql}")
        assert (row["type"], "filesort" in row["Extra"]) == ("range", False)
        return str(row["key"])
    # Orders of the same moment it sorts by their numbers, and nothing else.
    row, *rest = ask(DEFAULT, f"EXPLAIN QUERY PLAN {sql}")
    assert [each["detail"] for each in rest] == ["USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"]
    found = re.fullmatch(r"SEARCH desk_deskorder USING INDEX (\w+) \(.*status=\? AND paid_at>\?\)", row["detail"])
    assert found, row["detail"]
    return found[1]


@pytest.mark.parametrize(
    ("shops", "query", "index"),
    [(1, "", OF_A_SHOP), (SHOPS, "shop={}", OF_A_SHOP), (2, "", OF_ALL)],
    ids=["of the only shop", "of one of three", "of two of three"],
)
def test_page_1000_reads_as_much_as_page_1(lan: Person, stall: Stall, shops: int, query: str, index: str) -> None:
    hers = sorted(DeskOrder.objects.values_list("shop_id", flat=True).distinct())[:shops]
    for shop_id in hers:
        accounts.services.add_member(user_id=lan.id, shop_id=shop_id, role="manager")
    query, asked = query.format(stall.shop_id), [stall.shop_id] if query else hers
    every = list(DeskOrder.objects.filter(shop_id__in=asked).order_by("paid_at", "order_id"))
    seen = every[PAGE_SIZE * (FAR - 1) - 1]
    to_come = [row.pk for row in every if row.paid_at > seen.paid_at]

    page(lan, query)  # Logged in, and whatever is remembered is.
    found, first = statements(DEFAULT, lambda: page(lan, query))
    assert found == [row.pk for row in every[:PAGE_SIZE]]
    found, far = statements(DEFAULT, lambda: page(lan, query, seen))
    assert found == to_come[:PAGE_SIZE]
    assert index_of(far) == index
    assert work_of(far, DEFAULT) <= work_of(first, DEFAULT) + PAGE_SIZE * SHOPS
