"""Mei's and Tao's evening: a shop to order from, orders brought to any state through the real services."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

import pytest
from django.db import connections, transaction

import accounts.services
import payments.services
from accounts.models import User
from menu.models import Stock
from menu.services import LineRequest
from orders import services
from orders.models import Order, OrderChange, Saga
from orders.services import Checkout, Placed
from payments.models import Payment, PaymentAlert, Refund, SandboxNotice, SandboxRefund
from payments.providers import sandbox, sandbox_delivery
from tests.accounts.factories import Api, customer, home_of, staff
from tests.menu.factories import make_dish, make_shop
from waimai.infra import outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.models import IdempotencyKey, OutboxMessage, Timer
from waimai.infra.sharding import databases, shard_of_id, shard_of_user, shards
from waimai.management.commands import audit as audit_command

T = TypeVar("T")
MEI, TAO = "13911110001", "13911110002"
# One fish: 56.00, packing 1.00, delivery 6.00.
FISH_TOTAL = Decimal("63.00")
THREADS_END_WITHIN_SECONDS = 50


@dataclass(frozen=True)
class Person:
    """Somebody with an account; customers have an address."""

    user: User
    address_id: int = 0

    @property
    def id(self) -> int:
        return int(self.user.pk)

    @property
    def shard(self) -> str:
        return shard_of_user(self.id)

    @cached_property
    def api(self) -> Api:
        return Api(self.user)


@dataclass(frozen=True)
class Stall:
    """An open shop: delivery 6, packing 1 each, minimum 20; fish 56, tofu 18, rice 2, nothing limited."""

    shop_id: int
    fish: int
    tofu: int
    rice: int


def stall(name: str = "川味小馆", **terms: Any) -> Stall:
    """Open a shop."""
    shop = make_shop(name, **terms)
    dishes = {"fish": ("酸菜鱼", "56.00"), "tofu": ("麻婆豆腐", "18.00"), "rice": ("米饭", "2.00")}
    return Stall(shop.pk, **{key: make_dish(shop, title, price).pk for key, (title, price) in dishes.items()})


def person(phone: str = MEI) -> Person:
    """A customer with an address; no password, as hashing one takes long."""
    user = customer(phone, password=None)
    return Person(user, home_of(user).id)


def neighbour_of(other: Person, *, same_shard: bool) -> Person:
    """Another customer, on the same shard or on another one."""
    for number in range(100):
        user = customer(f"1380000{number:04}", password=None)
        if (shard_of_user(user.pk) == other.shard) == same_shard:
            return Person(user, home_of(user).id)
    raise AssertionError("a hundred customers, and all on one side")


def works_at(shop_id: int, role: str, username: str = "") -> Person:
    """Somebody who works in a shop."""
    user = staff(username or role, password=None)
    accounts.services.add_member(user_id=user.pk, shop_id=shop_id, role=role)
    user.refresh_from_db()
    return Person(user)


# --- orders in any state ---


def lines(*wanted: tuple[int, int]) -> tuple[LineRequest, ...]:
    """(item, quantity) pairs as lines."""
    return tuple(LineRequest(item_id=item, quantity=quantity) for item, quantity in wanted)


def checkout(who: Person, at: Stall, *wanted: tuple[int, int], **changes: Any) -> Checkout:
    """One fish for `who`, or what is wanted, with a key of its own."""
    values: dict[str, Any] = {
        "user_id": who.id,
        "shop_id": at.shop_id,
        "address_id": who.address_id,
        "lines": lines(*(wanted or [(at.fish, 1)])),
        "key": "k-1",
    }
    return Checkout(**values | changes)


def wish(who: Person, at: Stall, *wanted: tuple[int, int], **changes: Any) -> dict[str, Any]:
    """The body of a POST to orders/: one fish for `who`, or what is wanted. A change to `...` leaves a member out."""
    asked = [{"item": item, "quantity": quantity} for item, quantity in (wanted or [(at.fish, 1)])]
    body = {"shop": at.shop_id, "address": who.address_id, "lines": asked} | changes
    return {name: value for name, value in body.items() if value is not ...}


def place(who: Person, at: Stall, *wanted: tuple[int, int], **changes: Any) -> Placed:
    return services.place(checkout(who, at, *wanted, **changes))


def placed(who: Person, at: Stall, *wanted: tuple[int, int], **changes: Any) -> int:
    """The number of an order that waits for its payment."""
    return place(who, at, *wanted, **changes).order_id


def start_payment(order_id: int, *, key: str = "") -> int:
    """The number of an open payment for an order."""
    owner = order(order_id).user_id
    started = services.pay(order_id=order_id, user_id=owner, provider="sandbox", key=key or f"pay-{order_id}")
    return started.payment_id


def capture(payment_id: int) -> None:
    """The payer pays at the sandbox's till, and its signed notice arrives."""
    receive(notice(payment_id))


def notice(payment_id: int, outcome: str = "success", **claims: Any) -> tuple[dict[str, str], bytes]:
    """The payer acts; the sandbox's signed notice of it, which it will not send by itself."""
    return _signed(sandbox.tell(payment_id, outcome, times=0, **claims))


def refund_notice(refund_id: int, **claims: Any) -> tuple[dict[str, str], bytes]:
    """The sandbox's signed notice of a refund that it has done, which it will not send by itself."""
    done: SandboxRefund = SandboxRefund.objects.by_id(refund_id).get()
    return _signed(sandbox.tell_refund(done, times=0, **claims))


def _signed(number: int) -> tuple[dict[str, str], bytes]:
    row: SandboxNotice = SandboxNotice.objects.by_id(number).get()
    return sandbox_delivery.signed_notice(row, using=shard_of_id(number))


def receive(signed: tuple[dict[str, str], bytes]) -> None:
    """A notice of the sandbox arrives."""
    headers, body = signed
    payments.services.handle_webhook(provider="sandbox", headers=headers, body=body)


def paid(who: Person, at: Stall, *wanted: tuple[int, int], **changes: Any) -> int:
    order_id = placed(who, at, *wanted, **changes)
    capture(start_payment(order_id))
    return order_id


def accepted(who: Person, at: Stall, by: Person, *wanted: tuple[int, int], **changes: Any) -> int:
    order_id = paid(who, at, *wanted, **changes)
    services.accept(order_id=order_id, staff_id=by.id)
    return order_id


def delivering(who: Person, at: Stall, by: Person, *wanted: tuple[int, int], **changes: Any) -> int:
    order_id = accepted(who, at, by, *wanted, **changes)
    services.deliver(order_id=order_id, staff_id=by.id)
    return order_id


def completed(who: Person, at: Stall, by: Person, *wanted: tuple[int, int], **changes: Any) -> int:
    order_id = delivering(who, at, by, *wanted, **changes)
    services.complete(order_id=order_id, staff_id=by.id)
    return order_id


# --- looking ---


def order(order_id: int) -> Order:
    row: Order = Order.objects.by_id(order_id).get()
    return row


def saga_of(order_id: int) -> Saga:
    row: Saga = Saga.objects.by_id(order_id).get()
    return row


def history(order_id: int) -> list[str]:
    """The states an order went through, the first one first."""
    rows = OrderChange.objects.of_order(order_id).order_by("n")
    return list(rows.values_list("target", flat=True))


def changes_of(order_id: int) -> list[tuple[str, str, str]]:
    """(transition, actor, reason) of each change."""
    rows = OrderChange.objects.of_order(order_id).order_by("n")
    return list(rows.values_list("transition", "actor", "reason"))


def orders_of(who: Person) -> list[int]:
    return list(Order.objects.for_user(who.id).order_by("id").values_list("pk", flat=True))


def keys_of(who: Person) -> list[str]:
    """The idempotency keys bound for somebody."""
    return list(IdempotencyKey.objects.on(who.shard).filter(user_id=who.id).values_list("key", flat=True))


def nothing_stored(who: Person) -> bool:
    """Neither an order nor a key, saga, timer or message of it stands on the person's shard."""
    tables = (Order, OrderChange, Saga, IdempotencyKey, Timer, OutboxMessage)
    return not any(table.objects.on(who.shard).exists() for table in tables)


def stock(item_id: int) -> tuple[int, int, int]:
    """(available, held, sold) of an item."""
    row = Stock.objects.get(item_id=item_id)
    return row.available, row.held, row.sold


def refunds_of(order_id: int) -> list[tuple[Decimal, str, str]]:
    """(amount, purpose, status) of each refund of an order."""
    rows = Refund.objects.of_order(order_id).order_by("id")
    return list(rows.values_list("amount", "purpose", "status"))


def payments_of(order_id: int) -> list[str]:
    """The states of an order's payments, oldest first."""
    return list(Payment.objects.of_order(order_id).order_by("id").values_list("status", flat=True))


def alerts_on(shard: str) -> list[tuple[str, int]]:
    """(kind, payment) of each alert about money, oldest first."""
    return list(PaymentAlert.objects.on(shard).order_by("id").values_list("kind", "payment_id"))


def timer(kind: str, ref_id: int) -> Any:
    """When a timer is due; None when there is none."""
    rows = Timer.objects.on(shard_of_id(ref_id)).filter(kind=kind, ref_id=ref_id)
    return rows.values_list("due_at", flat=True).first()


def audit() -> list[str]:
    """What the audit finds, at one look."""
    return list(audit_command.problems())


# --- time and news ---


def relay() -> int:
    """Run the hearers of all news on every database; returns how many messages there were."""
    total = 0
    for alias in databases():
        while claimed := outbox.relay(alias):
            total += claimed
    return total


def sweep() -> int:
    """Fire what is due on every database, calls to the sandbox included."""
    return sum(timers.sweep(alias, lane=lane) for alias in databases() for lane in ("db", "network"))


def settle() -> None:
    """Let the clock and the news run until nothing is left to do now."""
    while sweep() + relay():
        pass


def overdue(order_id: int, *, by_seconds: float = 1) -> None:
    """The time to pay is over since so many seconds, and nobody has noticed yet."""
    using = shard_of_id(order_id)
    moment = db_now(using) - timedelta(seconds=by_seconds)
    Order.objects.by_id(order_id).update(expires_at=moment)
    Timer.objects.on(using).filter(kind="order.expire", ref_id=order_id).update(due_at=moment)


def payment_older(payment_id: int, *, seconds: float) -> None:
    """As if the payment had been started so long ago, and now were a time to ask the provider about it."""
    payment, using = Payment.objects.by_id(payment_id).get(), shard_of_id(payment_id)
    ago = timedelta(seconds=seconds)
    Payment.objects.by_id(payment_id).update(created_at=payment.created_at - ago, expires_at=payment.expires_at - ago)
    Timer.objects.on(using).filter(kind="payment.poll", ref_id=payment_id).update(due_at=db_now(using))


def saga_due(order_id: int) -> None:
    """Recovery may look at the order's saga now."""
    Saga.objects.by_id(order_id).update(next_at=db_now(shard_of_id(order_id)))


# --- races and faults ---


def at_once(*bodies: Callable[[], T]) -> list[T | Exception]:
    """Run all bodies at the same moment, each in a thread of its own; their results or errors, in order."""
    results: list[T | Exception] = [RuntimeError("did not run")] * len(bodies)
    start = threading.Barrier(len(bodies))

    def run(number: int) -> None:
        try:
            start.wait(THREADS_END_WITHIN_SECONDS)
            results[number] = bodies[number]()
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREADS_END_WITHIN_SECONDS)
        assert not thread.is_alive()
    return results


@contextmanager
def just_before(owner: Any, name: str, action: Callable[[], object]) -> Iterator[None]:
    """Do `action` once, right before `owner.name` is called the first time: a race made certain."""
    original = getattr(owner, name)
    done: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(True)
            action()
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, call)
        yield
    assert done, f"{name} was never called"


class Crash(BaseException):
    """The process dies here; nothing catches it on the way."""


@contextmanager
def crash_before(owner: Any, name: str) -> Iterator[None]:
    """The process dies right before `owner.name` is called."""

    def die() -> None:
        raise Crash

    with pytest.raises(Crash), just_before(owner, name, die):
        yield


@contextmanager
def rolled_back(using: str) -> Iterator[None]:
    """A transaction that fails at its end."""
    with suppress(ZeroDivisionError), transaction.atomic(using=using):
        yield
        raise ZeroDivisionError


@contextmanager
def down(alias: str) -> Iterator[None]:
    """The database doesn't answer: new connections of this thread and of new ones fail."""
    connection = connections[alias]
    broken = {"NAME": "/nonexistent/folder/db.sqlite3"} if connection.vendor == "sqlite" else {"PORT": "1"}
    kept = {key: connection.settings_dict[key] for key in broken}
    connection.close()
    connection.settings_dict.update(broken)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(kept)


def other_shard(alias: str) -> str:
    return next(other for other in shards() if other != alias)


def numbers(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The ids of the documents of a page."""
    return [row["id"] for row in rows]
