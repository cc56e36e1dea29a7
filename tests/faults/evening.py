"""An evening in short chapters that pass every crash point; each is lived by a process that may die anywhere in it.

A chapter writes into a diary what it asks for and what it hears, line by line, before it goes on: what a customer who
outlives the process would know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

import accounts.services
import menu.services
import payments.services
from accounts.models import ClosedAccount
from menu.services import SoldOut
from orders import erasing, saga, services
from orders.desk import board, tickets
from orders.models import Saga
from payments.errors import PaymentRefused
from payments.models import Refund
from payments.providers.base import ProviderRefused
from payments.providers.sandbox import Sandbox, fail_next, tell
from tests import factories
from tests.factories import Person, Stall
from waimai.infra import timers
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer
from waimai.infra.sharding import DEFAULT, databases, shards

SOLD_OUT = 0
# Calls to our own webhook are the sandbox's affair: nobody answers them here.
OURS = ("order.expire", "order.complete", "order.amend", "payment.poll", "refund.send")


@dataclass(frozen=True)
class Evening:
    """Who orders where, and the diary."""

    who: Person
    at: Stall
    diary: Path

    def place(self, key: str, *wanted: tuple[int, int]) -> int:
        """Order one fish, or what is wanted; the order's number, or `SOLD_OUT`."""
        self._write("asked", key, list(wanted))
        answer = place(self.who, self.at, key, *wanted)
        self._write("heard", key, answer)
        return answer

    def paid(self, key: str) -> int:
        """Order one fish and pay for it."""
        order_id = self.place(key)
        factories.capture(factories.start_payment(order_id))
        return order_id

    def cancel(self, order_id: int) -> None:
        """The customer cancels."""
        services.cancel(order_id=order_id, user_id=self.who.id)

    def asked(self) -> dict[str, list[tuple[int, int]]]:
        """What was asked for, by key."""
        return {key: [(item, count) for item, count in wanted] for key, wanted in self._read("asked")}

    def heard(self) -> dict[str, int]:
        """What was answered, by key."""
        return dict(self._read("heard"))

    def _write(self, *facts: object) -> None:
        with self.diary.open("a") as diary:
            diary.write(json.dumps(facts) + "\n")

    def _read(self, wanted: str) -> Iterator[tuple[str, Any]]:
        for line in self.diary.read_text().splitlines() if self.diary.exists() else []:
            kind, key, fact = json.loads(line)
            if kind == wanted:
                yield key, fact


def place(who: Person, at: Stall, key: str, *wanted: tuple[int, int]) -> int:
    """The number of the order, or `SOLD_OUT`."""
    try:
        return factories.place(who, at, *wanted, key=key).order_id
    except SoldOut:
        return SOLD_OUT


@contextmanager
def broken(owner: object, name: str, error: Exception) -> Iterator[None]:
    """`owner.name` always raises."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield


def due(kind: str, using: str, *, in_seconds: float = 0) -> None:
    """Every timer of a kind is due now, or in so many seconds."""
    Timer.objects.on(using).filter(kind=kind).update(due_at=db_now(using) + timedelta(seconds=in_seconds))


def left_over() -> list[str]:
    """Work that is still to be done, though nothing hinders it."""
    found = [
        f"message {row.topic} of {row.key}"
        for alias in databases()
        for row in OutboxMessage.objects.on(alias).exclude(state=OutboxMessage.State.DONE)
    ]
    found += [f"account {user_id}" for user_id in accounts.services.closed_accounts()]
    for alias in shards():
        found += [f"saga of {row.order_id}" for row in Saga.objects.on(alias).filter(next_at__isnull=False)]
        found += [f"refund {row.id}" for row in Refund.objects.on(alias).exclude(status="succeeded")]
        late = Timer.objects.on(alias).filter(kind__in=OURS, due_at__lte=db_now(alias))
        found += [f"timer {row.kind} of {row.ref_id}" for row in late]
    return found


def ordering(evening: Evening) -> None:
    evening.place("rice", (evening.at.rice, 10))
    evening.place("fish")
    evening.place("more fish")
    evening.place("all fish", (evening.at.fish, 99))
    factories.relay()


def cancelling(evening: Evening) -> None:
    for order_id in (evening.paid("first"), evening.paid("second")):
        evening.cancel(order_id)
    factories.settle()


def cancelling_without_stock(evening: Evening) -> None:
    first, second = evening.paid("first"), evening.paid("second")
    with broken(menu.services, "release_stock", OperationalError("gone away")):
        evening.cancel(first)
        evening.cancel(second)
    saga.recover(evening.who.shard)


def expiring(evening: Evening) -> None:
    for key in ("first", "second"):
        factories.overdue(evening.place(key))
    factories.sweep()
    late = evening.place("late")
    factories.overdue(late)
    services.get_order(order_id=late, user_id=evening.who.id)


def selling_out(evening: Evening) -> None:
    evening.place("the last tofu", (evening.at.tofu, 1), (evening.at.rice, 1))
    factories.relay()


def handing_out(evening: Evening) -> None:
    first, second = evening.place("first"), evening.place("second")
    for order_id, seconds in ((first, 5), (second, 8)):
        moment = db_now(evening.who.shard) + timedelta(seconds=seconds)
        timers.schedule(saga.EXPIRE, order_id, due_at=moment, using=evening.who.shard)
    timers.hand_out(evening.who.shard, lambda *_: None)


def recovering(evening: Evening) -> None:
    with broken(menu.services, "hold_stock", OperationalError("gone away")):
        for key in ("first", "second"):
            with suppress(OperationalError):
                evening.place(key)
            factories.saga_due(factories.orders_of(evening.who)[-1])
        saga.recover(evening.who.shard)
    for order_id in factories.orders_of(evening.who):
        factories.saga_due(order_id)
    saga.recover(evening.who.shard)


def polling(evening: Evening) -> None:
    using = evening.who.shard
    payment_id = factories.start_payment(evening.place("fish"))
    fail_next("query", near=payment_id)
    due("payment.poll", using)
    timers.sweep(using, lane="network")
    tell(payment_id, "success", times=0)
    due("payment.poll", using)
    timers.sweep(using, lane="network")
    payments.services.poll_payment(payment_id=payment_id, using=using)


def refunding(evening: Evening) -> None:
    using = evening.who.shard
    order_id = evening.paid("fish")
    evening.cancel(order_id)
    fail_next("refund", near=order_id)
    timers.sweep(using, lane="network")
    due("refund.send", using)
    with pytest.MonkeyPatch.context() as patch:
        # The provider has it and works on it.
        patch.setattr(Sandbox, "refund", lambda *_: False)
        timers.sweep(using, lane="network")
    due("refund.send", using)
    timers.sweep(using, lane="network")
    refund_id = Refund.objects.of_order(order_id).values_list("id", flat=True).get()
    payments.services.send_refund(refund_id=refund_id, using=using)


def refusing(evening: Evening) -> None:
    order_id = evening.place("fish")
    with broken(Sandbox, "create", ProviderRefused("no")), suppress(PaymentRefused):
        factories.start_payment(order_id)


def hearing_badly(evening: Evening) -> None:
    evening.paid("fish")
    with broken(board, "follow", ValueError("deaf")):
        factories.relay()


def firing_badly(evening: Evening) -> None:
    factories.start_payment(evening.place("fish"))
    due("payment.poll", evening.who.shard)
    with broken(payments.services, "poll_payment", ValueError("blind")):
        timers.sweep(evening.who.shard, lane="network")


def printing(evening: Evening) -> None:
    cook = factories.works_at(evening.at.shop_id, "kitchen", f"cook of {evening.who.id}")
    for key in ("first", "second"):
        services.accept(order_id=evening.paid(key), staff_id=cook.id)
    factories.relay()
    printed = tickets.take_next(shop_ids=[evening.at.shop_id], staff_id=cook.id)
    assert printed is not None
    tickets.print_again(order_id=printed.order.order_id, staff_id=cook.id)


def amending(evening: Evening) -> None:
    cook = factories.works_at(evening.at.shop_id, "kitchen", f"cook for {evening.who.id}")
    order_id = evening.place("fish and rice", (evening.at.fish, 1), (evening.at.rice, 2))
    factories.capture(factories.start_payment(order_id))
    services.accept(order_id=order_id, staff_id=cook.id)
    for n, (line, instead) in enumerate(((2, None), (1, evening.at.rice)), start=1):
        services.propose_amendment(
            order_id=order_id, staff_id=cook.id, line=line, quantity=1, replacement=instead, reason="卖完了"
        )
        services.answer_amendment(order_id=order_id, user_id=evening.who.id, n=n, accept=instead is None)


def leaving(evening: Evening) -> None:
    for key in ("first", "second"):
        evening.cancel(evening.place(key))
    evening.who.user.set_password("four-treasures-8")
    evening.who.user.save()
    services.close_account(user_id=evening.who.id, address="203.0.113.7", current_password="four-treasures-8")
    ClosedAccount.objects.update(closed_at=db_now(DEFAULT) - timedelta(minutes=2))
    erasing.erase_closed()


CHAPTERS: tuple[Callable[[Evening], None], ...] = (
    ordering,
    cancelling,
    cancelling_without_stock,
    expiring,
    selling_out,
    handing_out,
    recovering,
    polling,
    refunding,
    refusing,
    hearing_badly,
    firing_badly,
    printing,
    amending,
    leaving,
)
