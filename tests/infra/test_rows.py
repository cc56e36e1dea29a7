"""Rows that go in without the ORM are the rows that the ORM would have written."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from orders.desk.models import BoardCounter
from orders.models import Order, OrderLine
from orders.states import Status
from tests.factories import at_once
from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.models import OutboxMessage, Timer
from waimai.infra.rows import insert_ignore, insert_rows, new, update_or_insert
from waimai.infra.sharding import DEFAULT

pytestmark = pytest.mark.data
HERE = "orders_0"
MOMENT = datetime(2026, 11, 27, 8, 9, 10, 123456, tzinfo=UTC)
HOSTILE = [
    "",
    "'; DROP TABLE orders_order; -- ",
    "\\' OR 1=1 #",
    'a"b`c',
    "100 %s %% %(x)s {}",
    "two\nlines\r\tand \\n no line",
    "鱼香肉丝 🍜 \u2028 ¥",
    "\x1a\x00 end",
    "NULL",
]


def order(**values: Any) -> dict[str, Any]:
    """A row of `Order` by attributes."""
    money = dict.fromkeys(("goods_total", "packing_fee", "delivery_fee", "total"), Decimal("12.50"))
    base = {"id": ids.new_id(7), "bucket": 7, "user_id": 3, "shop_id": 4, "shop_name": "店", "status": Status.PLACING}
    where = {"contact_name": "Mei", "phone": "1", "address_text": "x", "business_date": date(2026, 11, 27)}
    return base | money | where | {"placed_at": MOMENT, "expires_at": MOMENT} | values


def line(**values: Any) -> dict[str, Any]:
    """A row of `OrderLine` by attributes."""
    base = {"order_id": ids.new_id(7), "n": 1, "bucket": 7, "item_id": 9, "kind": "dish", "name": "fish"}
    return base | {"unit_price": Decimal("1.00"), "quantity": 1, "amount": Decimal("1.00"), "options": []} | values


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_come_back_letter_by_letter(text: str) -> None:
    rows = [order(note=text, shop_name="店"), order(note=text, sold_out=[{"name": text, text: None}])]
    insert_rows(Order, rows, using=HERE)
    found = Order.objects.on(HERE).order_by("id")
    assert [row.note for row in found] == [text, text]
    assert [row.sold_out for row in found] == [None, [{"name": text, text: None}]]


def test_every_value_is_what_the_orm_would_have_written() -> None:
    values = order(
        latitude=Decimal("31.230416"),
        longitude=Decimal("-0.000001"),
        deliver_at=MOMENT.astimezone(timezone(timedelta(hours=8))),
        limited=True,
        cart_version=2**31 - 1,
        total=Decimal("99999999.99"),
    )
    insert_rows(Order, [values], using=HERE)
    twin = Order.objects.on(HERE).create(**values | {"id": ids.new_id(7)})
    ours, theirs = (Order.objects.on(HERE).values().get(pk=pk) for pk in (values["id"], twin.pk))
    assert ours | {"id": 0} == theirs | {"id": 0}


def test_what_is_left_out_is_the_default() -> None:
    insert_rows(OrderLine, [line()], using=HERE)
    row = OrderLine.objects.on(HERE).get()
    assert (row.components, row.image, row.options) == ([], "", [])


def test_a_default_that_is_made_is_made_for_each_row() -> None:
    row = {"bucket": 0, "topic": "t", "key": 1, "version": 1, "payload": {"a": 1}, "next_at": MOMENT}
    insert_rows(OutboxMessage, [row | {"created_at": MOMENT}] * 2, using=HERE)
    first, second = OutboxMessage.objects.on(HERE).values_list("id", flat=True)
    assert isinstance(first, uuid.UUID)
    assert first != second


def test_what_has_no_default_must_be_there() -> None:
    row = line()
    del row["name"]
    with pytest.raises(KeyError, match="name"):
        insert_rows(OrderLine, [row], using=HERE)


@pytest.mark.parametrize("values", [{"item_id": "1); --"}, {"quantity": "2, 3"}, {"unit_price": "1.00), (2"}])
def test_no_value_stands_in_a_column_of_another_kind(values: dict[str, Any]) -> None:
    with pytest.raises((ValueError, ValidationError)):
        insert_rows(OrderLine, [line(**values)], using=HERE)
    assert not OrderLine.objects.on(HERE).exists()


def test_what_the_orm_would_convert_is_converted() -> None:
    insert_rows(OrderLine, [line(item_id="8", unit_price="7.5", name=3, n=True)], using=HERE)
    row = OrderLine.objects.on(HERE).get()
    assert (row.item_id, row.unit_price, row.name, row.n) == (8, Decimal("7.50"), "3", 1)
    insert_rows(Order, [order(business_date="2026-11-27", placed_at="2026-11-27T08:00:00+08:00")], using=HERE)
    placed = Order.objects.on(HERE).get()
    assert (placed.business_date, placed.placed_at) == (date(2026, 11, 27), datetime(2026, 11, 27, tzinfo=UTC))


def test_more_rows_than_one_statement_takes() -> None:
    many = [{"kind": "tea", "ref_id": n, "bucket": 0, "due_at": MOMENT} for n in range(12_000)]
    assert insert_ignore(Timer, many, using=HERE) == 12_000
    assert insert_ignore(Timer, [*many, many[0] | {"ref_id": -1}], using=HERE) == 1


def test_a_new_instance_is_one_that_can_be_saved() -> None:
    made = new(Order, **order(note="fresh"))
    assert (made.payment_status, made.version, made.paid_at) == ("unpaid", 1, None)
    made.save(using=HERE, force_insert=True)
    assert Order.objects.on(HERE).get().note == "fresh"


# --- insert_ignore ---


def timer(ref_id: int, kind: str = "tea") -> dict[str, object]:
    return {"kind": kind, "ref_id": ref_id, "bucket": 0, "due_at": db_now(HERE)}


def test_what_is_free_goes_in() -> None:
    assert insert_ignore(Timer, [timer(1) | {"attempts": 0}, timer(2) | {"attempts": 0}], using=HERE) == 2


def test_what_is_taken_is_passed_over_and_not_counted() -> None:
    rows = [timer(n) | {"attempts": 4} for n in (1, 2)]
    insert_ignore(Timer, rows, using=HERE)
    again = [timer(n) | {"attempts": 9} for n in (1, 2, 3)]
    assert insert_ignore(Timer, again, using=HERE) == 1
    assert list(Timer.objects.on(HERE).order_by("ref_id").values_list("attempts", flat=True)) == [4, 4, 9]


def test_the_same_row_again_counts_nothing() -> None:
    row = timer(1) | {"attempts": 0}
    assert [insert_ignore(Timer, [row], using=HERE) for _ in range(3)] == [1, 0, 0]


def test_nothing_to_insert_asks_no_database() -> None:
    assert insert_ignore(Timer, [], using="no such database") == 0


def test_times_and_large_numbers_come_back_as_they_were() -> None:
    ref_id, now = ids.new_id(1023), db_now(HERE)
    insert_ignore(Timer, [timer(ref_id) | {"attempts": 0, "due_at": now}], using=HERE)
    row = Timer.objects.on(HERE).get(ref_id=ref_id)
    assert (row.ref_id, row.due_at) == (ref_id, now)


def test_of_eight_at_once_one_goes_in() -> None:
    row = timer(1) | {"attempts": 0}

    def insert() -> int:
        return run_atomic(HERE, lambda: insert_ignore(Timer, [row], using=HERE), tries=10)

    assert sorted(at_once(*[insert] * 8), key=str) == [0] * 7 + [1]


# --- numbers in a condition ---


@pytest.mark.parametrize("numbers", [[1, 2, 2], (1, 2), {1, 2}, ["1", 2], [1, 2, 2**70], [1, 2, True]])
def test_numbers_are_found_however_they_are_given(numbers: Any) -> None:
    for ref_id in (1, 2, 3):
        insert_rows(Timer, [{"kind": "tea", "ref_id": ref_id, "bucket": 0, "due_at": MOMENT}], using=HERE)
    found = Timer.objects.on(HERE).filter(ref_id__in=numbers)
    assert sorted(found.values_list("ref_id", flat=True)) == [1, 2]
    assert sorted(Timer.objects.on(HERE).exclude(ref_id__in=numbers).values_list("ref_id", flat=True)) == [3]


def test_no_number_finds_nothing_and_nonsense_is_refused() -> None:
    assert not Timer.objects.on(HERE).filter(ref_id__in=[]).exists()
    with pytest.raises(ValueError, match="1\\) OR"):
        Timer.objects.on(HERE).filter(ref_id__in=["1) OR (1=1"]).exists()


def test_numbers_of_a_query_stay_a_query() -> None:
    insert_rows(Timer, [{"kind": "tea", "ref_id": 1, "bucket": 0, "due_at": MOMENT}], using=HERE)
    numbers = Timer.objects.on(HERE).values("ref_id")
    assert Timer.objects.on(HERE).filter(ref_id__in=numbers).count() == 1


def test_a_counter_is_put_in_once_and_from_then_on_only_raised() -> None:
    def up() -> None:
        run_atomic(DEFAULT, lambda: update_or_insert(BoardCounter, {"shop_id": 1}, {"n": 0}, more, using=DEFAULT))

    more = {"n": F("n") + 1}
    up()
    # An INSERT IGNORE that finds its row would hold it shared, and two of those wait for each other.
    with CaptureQueriesContext(connections[DEFAULT]) as asked:
        up()
    assert not any("INSERT" in query["sql"] for query in asked.captured_queries)
    assert BoardCounter.objects.get().n == 2
