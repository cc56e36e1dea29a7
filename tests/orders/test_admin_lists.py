"""Every list of the admin asks its databases the same number of questions for ten rows and for a thousand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import accounts.services
from accounts.models import Address, Membership, User
from menu.models import Category, Item, OptionGroup, Shop, Stock, StockAdjustment
from orders.desk.models import DeskOrder
from orders.models import Order, OrderChange, Saga
from payments.models import LedgerEntry, Payment, PaymentAlert, Refund
from tests.factories import Person
from waimai.infra.admin import ShardedAdmin
from waimai.infra.models import Breaker, OutboxMessage
from waimai.infra.sharding import databases

pytestmark = pytest.mark.data
FEW, MANY = 10, 1000
FIRST = 385_000_000_000_000
SHARD = "orders_0"
# These grow with every order: nobody counts their rows, however the list is filtered.
GROWING = {
    "accounts.User",
    "accounts.Address",
    "desk.DeskOrder",
    "infra.OutboxMessage",
    "menu.StockAdjustment",
    "orders.Order",
    "orders.Saga",
    "payments.LedgerEntry",
    "payments.Payment",
    "payments.PaymentAlert",
    "payments.Refund",
}
# As many rows as this installation has outside services.
FIXED = {"infra.Breaker"}
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def bulk(model: Any, rows: Iterator[dict[str, Any]], using: str = "default") -> None:
    model._base_manager.using(using).bulk_create([model(**row) for row in rows])


def users(numbers: range) -> None:
    bulk(User, ({"phone": f"137{n:08}", "nickname": f"食客{n}", "password": "!"} for n in numbers))


def addresses(numbers: range) -> None:
    users(numbers)
    people = User.objects.filter(phone__startswith="137").order_by("-pk")[: len(numbers)]
    bulk(Address, ({"user": who, "contact_name": "梅", "phone": who.phone, "detail": "某路"} for who in people))


def memberships(numbers: range) -> None:
    accounts.services.ensure_roles()
    kitchen = Group.objects.get(name="kitchen")
    lan, _made = User.objects.get_or_create(username="lan", defaults={"is_staff": True})
    bulk(Membership, ({"user": lan, "shop_id": n, "group": kitchen} for n in numbers))


def groups(numbers: range) -> None:
    bulk(Group, ({"name": f"role {n}"} for n in numbers))


def shops(numbers: range) -> None:
    bulk(Shop, ({"name": f"店{n}"} for n in numbers))


def categories(numbers: range) -> None:
    shop, _made = Shop.objects.get_or_create(name="川味小馆")
    bulk(Category, ({"shop": shop, "name": f"类{n}"} for n in numbers))


def items(numbers: range) -> None:
    categories(range(numbers.start, numbers.start + 1))
    category = Category.objects.latest("pk")
    rows = ({"shop": category.shop, "category": category, "name": f"菜{n}", "price": Decimal(9)} for n in numbers)
    bulk(Item, rows)
    made = Item.objects.filter(category=category)
    bulk(Stock, ({"item": item, "limited": True, "available": 3} for item in made))


def option_groups(numbers: range) -> None:
    items(numbers)
    made = Item.objects.order_by("-pk")[: len(numbers)]
    bulk(OptionGroup, ({"item": item, "name": "辣度"} for item in made))


def adjustments(numbers: range) -> None:
    items(numbers)
    made = Item.objects.order_by("-pk")[: len(numbers)]
    bulk(StockAdjustment, ({"item": item, "delta": 1} for item in made))


def order_facts(number: int) -> dict[str, Any]:
    now = timezone.now()
    return {
        "user_id": 1,
        "shop_id": 1,
        "shop_name": "川味小馆",
        "status": "paid",
        "payment_status": "paid",
        "version": 1,
        "total": Decimal("63.00"),
        "contact_name": "梅",
        "phone": "13911110001",
        "address_text": "某路",
        "note": "",
        "tableware": 1,
        "business_date": date(2026, 11, 30),
        "placed_at": now,
        "paid_at": now,
    }


def orders(numbers: range) -> None:
    prices = {name: Decimal(1) for name in ("goods_total", "packing_fee", "delivery_fee")}
    more = {"bucket": 0, "expires_at": timezone.now(), **prices}
    bulk(Order, ({"id": FIRST + n, **order_facts(n), **more} for n in numbers), SHARD)


def desk_orders(numbers: range) -> None:
    line = {"name": "酸菜鱼", "quantity": 1, "amount": "56.00", "options": [], "components": []}
    more = {"lines": [line], "applied_at": timezone.now()}
    bulk(DeskOrder, ({"order_id": FIRST + n, "number": n, **order_facts(n), **more} for n in numbers))


def sagas(numbers: range) -> None:
    bulk(Saga, ({"order_id": FIRST + n, "bucket": 0, "state": "done", "step": "confirm"} for n in numbers), SHARD)
    change = {"n": 1, "bucket": 0, "transition": "pay", "source": "x", "target": "paid", "at": timezone.now()}
    bulk(OrderChange, ({"order_id": FIRST + n, "actor": "system", **change} for n in numbers), SHARD)


def money(numbers: range) -> Iterator[dict[str, Any]]:
    for n in numbers:
        yield {"id": FIRST + n, "bucket": 0, "order_id": FIRST + n, "amount": Decimal(1), "created_at": timezone.now()}


def payments(numbers: range) -> None:
    more = {"user_id": 1, "provider": "sandbox", "status": "captured", "expires_at": timezone.now()}
    bulk(Payment, (row | more for row in money(numbers)), SHARD)


def refunds(numbers: range) -> None:
    more = {"purpose": "cancel", "ref": "1", "closing": True}
    bulk(Refund, (row | more | {"payment_id": row["id"]} for row in money(numbers)), SHARD)


def ledger(numbers: range) -> None:
    more = {"kind": "charge", "provider": "sandbox"}
    bulk(LedgerEntry, (row | more | {"payment_id": row["id"]} for row in money(numbers)), SHARD)


def alerts(numbers: range) -> None:
    more = {"bucket": 0, "kind": "wrong_amount", "provider": "sandbox", "detail": "x", "created_at": timezone.now()}
    bulk(PaymentAlert, ({"id": FIRST + n, "payment_id": FIRST + n, **more} for n in numbers), SHARD)


def news(numbers: range) -> None:
    now = timezone.now()
    more = {"bucket": 0, "topic": "order.paid", "version": 1, "payload": {}, "next_at": now, "created_at": now}
    bulk(OutboxMessage, ({"id": uuid.uuid4(), "key": n, **more} for n in numbers), SHARD)


def nothing(numbers: range) -> None:
    Breaker.objects.get_or_create(name="sms")


FILL: dict[str, Callable[[range], None]] = {
    "accounts.Address": addresses,
    "accounts.Membership": memberships,
    "accounts.User": users,
    "auth.Group": groups,
    "desk.DeskOrder": desk_orders,
    "infra.Breaker": nothing,
    "infra.OutboxMessage": news,
    "menu.Category": categories,
    "menu.Item": items,
    "menu.OptionGroup": option_groups,
    "menu.Shop": shops,
    "menu.Stock": items,
    "menu.StockAdjustment": adjustments,
    "orders.Order": orders,
    "orders.Saga": sagas,
    "payments.LedgerEntry": ledger,
    "payments.Payment": payments,
    "payments.PaymentAlert": alerts,
    "payments.Refund": refunds,
}


@contextmanager
def asked() -> Iterator[list[str]]:
    """What every database is asked meanwhile, but for the bucket map, which is looked at by the clock."""
    found: list[str] = []
    with ExitStack() as stack:
        captured = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in databases()]
        yield found
    for capture in captured:
        found += [query["sql"] for query in capture.captured_queries if "infra_bucket" not in query["sql"]]


@pytest.fixture
def boss(db_all: object) -> Person:
    return Person(User.objects.create_superuser("boss"))


def where(model: Any) -> dict[str, str]:
    """What names the database, where there is a choice."""
    return {"database": SHARD} if isinstance(admin.site._registry[model], ShardedAdmin) else {}


def questions(client: Client, url: str, query: dict[str, str]) -> tuple[list[str], Any]:
    with asked() as found:
        page = client.get(url, query)
    assert page.status_code == 200
    return found, page


def test_every_list_is_here() -> None:
    assert sorted(FILL) == [model._meta.label for model in MODELS]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_asks_no_more_with_more_rows(model: Any, boss: Person) -> None:
    client, label = Client(), model._meta.label
    client.force_login(boss.user)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    FILL[label](range(FEW))
    questions(client, url, where(model))
    few, _page = questions(client, url, where(model))
    FILL[label](range(FEW, MANY))
    many, page = questions(client, url, where(model))
    assert len(many) == len(few), "\n".join(many)
    if label not in FIXED:
        assert len(page.context["cl"].result_list) >= 100
    if label in GROWING:
        own = [sql for sql in many if "COUNT(" in sql and model._meta.db_table in sql]
        assert own == []
        assert "1000000000" not in page.content.decode()


@pytest.mark.parametrize("label", sorted(GROWING))
def test_who_looks_on_finds_the_next_page(label: str, boss: Person) -> None:
    model = next(model for model in MODELS if model._meta.label == label)
    client = Client()
    client.force_login(boss.user)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    FILL[label](range(150))
    first = client.get(url, where(model))
    assert "p=2" in first.content.decode()
    second = client.get(url, where(model) | {"p": "2"})
    rows = [{row.pk for row in page.context["cl"].result_list} for page in (first, second)]
    assert (len(rows[0]), len(rows[0] & rows[1])) == (100, 0)
    assert 50 <= len(rows[1]) <= 52
    assert "p=3" not in second.content.decode()
