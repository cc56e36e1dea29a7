from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import menu.services
import payments.services
from menu.models import Stock, StockAdjustment, StockHold
from orders import services
from orders.desk.models import DeskOrder
from orders.models import Order, OrderChange, OrderLine, Saga
from payments.models import LedgerEntry, Payment, ProviderTransaction, Refund
from tests.factories import (
    Person,
    Stall,
    accepted,
    audit,
    completed,
    delivering,
    order,
    paid,
    placed,
    settle,
    start_payment,
)
from waimai.infra import ids, timers
from waimai.infra.clock import db_now
from waimai.infra.models import IdempotencyKey, OutboxMessage, Timer
from waimai.infra.sharding import shard_of_id
from waimai.management.commands import audit as audit_command

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_command, "SECOND_LOOK_AFTER_SECONDS", 0.01)


@pytest.fixture
def busy(mei: Person, tao: Person, stall: Stall, lan: Person) -> dict[str, int]:
    """An evening with an order in every state."""
    menu.services.set_stock(item_id=stall.fish, available=20)
    evening = {
        "unpaid": placed(mei, stall, key="k-1"),
        "paid": paid(mei, stall, key="k-2"),
        "accepted": accepted(mei, stall, lan, key="k-3"),
        "delivering": delivering(mei, stall, lan, key="k-4"),
        "completed": completed(mei, stall, lan, key="k-5"),
        "cancelled": placed(mei, stall, key="k-6"),
        "refunded": paid(mei, stall, key="k-7"),
        "rejected": paid(mei, stall, key="k-8"),
        "unlimited": paid(tao, stall, (stall.tofu, 2)),
    }
    services.cancel(order_id=evening["cancelled"], user_id=mei.id)
    services.cancel(order_id=evening["refunded"], user_id=mei.id)
    services.reject(order_id=evening["rejected"], staff_id=lan.id, reason="太忙了")
    settle()
    return evening


def ago(using: str, **age: float) -> Any:
    return db_now(using) - timedelta(**age)


def rows(model: type[Any], order_id: int) -> Any:
    return model.objects.of_order(order_id)


def test_after_an_evening_all_is_well(busy: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    assert audit() == []
    call_command("audit")
    assert capsys.readouterr().out == "all invariants hold\n"


def test_it_says_so_in_json(busy: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("audit", "--json")
    assert json.loads(capsys.readouterr().out) == {"ok": True, "violations": []}


def test_a_violation_is_a_line_and_an_exit_status(
    busy: dict[str, int], stall: Stall, capsys: pytest.CaptureFixture[str]
) -> None:
    Stock.objects.filter(item_id=stall.fish).update(available=99)
    with pytest.raises(CommandError) as failure:
        call_command("audit")
    lines = capsys.readouterr().out.splitlines()
    assert failure.value.returncode == 1
    assert len(lines) == 2
    assert lines[0].startswith(f"I1 stock of item {stall.fish}: available 99")
    assert lines[1] == "1 violations"


def test_a_violation_in_json(busy: dict[str, int], stall: Stall, capsys: pytest.CaptureFixture[str]) -> None:
    Stock.objects.filter(item_id=stall.fish).update(available=99)
    with pytest.raises(CommandError):
        call_command("audit", "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], len(document["violations"])) == (False, 1)


def test_what_looks_wrong_for_a_moment_is_looked_at_again(
    busy: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [["I4 something"], []]
    monkeypatch.setattr(audit_command, "problems", lambda: iter(looks.pop(0)))
    assert audit_command.lasting_problems() == []


# --- each invariant is seen when it is broken ---

Tamper = Callable[[dict[str, int], str, int], Any]


def stock_row(item: int, **changes: Any) -> None:
    assert Stock.objects.filter(item_id=item).update(**changes) == 1


def add_change(order_id: int, using: str, **changes: Any) -> None:
    values = {"n": 99, "transition": "complete", "source": "paid", "target": "completed", "actor": "staff"}
    values |= {"order_id": order_id, "bucket": 1, "at": db_now(using)} | changes
    OrderChange.objects.on(using).bulk_create([OrderChange(**values)])


def a_timer(using: str, **changes: Any) -> None:
    values = {"kind": "order.expire", "ref_id": 1, "bucket": 1, "due_at": ago(using, seconds=61)}
    Timer.objects.on(using).create(**values | changes)


def a_message(using: str, **changes: Any) -> None:
    values = {"bucket": 1, "topic": "order.paid", "key": 1, "version": 1, "payload": {}}
    moments = {"next_at": ago(using, seconds=61), "created_at": ago(using, seconds=61)}
    OutboxMessage.objects.on(using).create(**values | moments | changes)


def a_refund(order_id: int, using: str, **changes: Any) -> object:
    payment = Payment.objects.of_order(order_id).get()
    values = {"payment_id": payment.id, "order_id": order_id, "bucket": 1, "amount": payment.amount}
    values |= {"purpose": "extra", "ref": "1", "closing": True, "created_at": db_now(using)} | changes
    return Refund.objects.on(using).bulk_create([Refund(id=ids.new_id(1), **values)])


def entries(order_id: int) -> Any:
    """An order's rows of the ledger, past the managers that keep them from being changed."""
    using = shard_of_id(order_id)
    return LedgerEntry._base_manager.using(using).filter(order_id=order_id)


def add_entry(order_id: int, using: str) -> object:
    return entries(order_id).bulk_create([copied(entry, id=ids.new_id(entry.bucket)) for entry in entries(order_id)])


def copied(row: Any, **changes: Any) -> Any:
    values = {field.name: getattr(row, field.name) for field in row._meta.fields}
    return type(row)(**values | changes)


def adjust(order_id: int, amount: str) -> None:
    payment = Payment.objects.of_order(order_id).get()
    payments.services.adjust(payment_id=payment.id, amount=Decimal(amount), actor="lan", reason=f"差 {amount}")


BROKEN: dict[str, tuple[str, Tamper]] = {
    "portions appear": ("I1", lambda e, on, fish: stock_row(fish, available=99)),
    "portions are held for nobody": ("I1", lambda e, on, fish: stock_row(fish, held=7)),
    "an adjustment is lost": ("I1", lambda e, on, fish: StockAdjustment.objects.filter(item_id=fish).delete()),
    "a hold is lost": ("I1", lambda e, on, fish: StockHold.objects.filter(order_id=e["paid"]).delete()),
    "a cancelled order keeps its portions": (
        "I1",
        lambda e, on, fish: StockHold.objects.filter(order_id=e["refunded"]).update(state="sold"),
    ),
    "a completed order's portions went back": (
        "I1",
        lambda e, on, fish: StockHold.objects.filter(order_id=e["completed"]).update(state="released"),
    ),
    "two keys for one order": (
        "I2",
        lambda e, on, fish: IdempotencyKey.objects.on(on).filter(key="k-2").update(ref_id=e["unpaid"]),
    ),
    "a paid order has no money": ("I3", lambda e, on, fish: rows(Payment, e["paid"]).update(status="closed")),
    "less came in than it cost": ("I3", lambda e, on, fish: rows(Payment, e["paid"]).update(amount=Decimal("1.00"))),
    "money came in twice": ("I3", lambda e, on, fish: rows(Payment, e["accepted"]).update(order_id=e["paid"])),
    "money for no order": ("I3", lambda e, on, fish: rows(Payment, e["paid"]).update(order_id=ids.new_id(1))),
    "a refund too much": ("I3", lambda e, on, fish: a_refund(e["paid"], on)),
    "called refunded before it was": (
        "I3",
        lambda e, on, fish: rows(Refund, e["refunded"]).update(status="pending", succeeded_at=None),
    ),
    "a capture is not in the ledger": ("I3", lambda e, on, fish: entries(e["paid"]).delete()),
    "a refund is not in the ledger": ("I3", lambda e, on, fish: entries(e["refunded"]).filter(kind="refund").delete()),
    "an entry says another amount": ("I3", lambda e, on, fish: entries(e["paid"]).update(amount=1)),
    "an entry is of another order": ("I3", lambda e, on, fish: entries(e["paid"]).update(order_id=e["unpaid"])),
    "an entry of no payment": ("I3", lambda e, on, fish: add_entry(e["paid"], on)),
    "an adjustment that nothing makes up for": ("I3", lambda e, on, fish: adjust(e["paid"], "-6.00")),
    "a capture of no transaction": (
        "I3",
        lambda e, on, fish: (
            ProviderTransaction.objects.on(on).filter(payment_id=rows(Payment, e["paid"]).get().id).delete()
        ),
    ),
    "placing for ever": (
        "I4",
        lambda e, on, fish: Order.objects.by_id(e["unpaid"]).update(status="placing", placed_at=ago(on, seconds=61)),
    ),
    "unpaid for ever": (
        "I4",
        lambda e, on, fish: Order.objects.by_id(e["unpaid"]).update(expires_at=ago(on, seconds=61)),
    ),
    "unpaid without a timer": ("I4", lambda e, on, fish: Timer.objects.on(on).filter(kind="order.expire").delete()),
    "a timer that nobody fires": ("I4", lambda e, on, fish: a_timer(on)),
    "a timer that was parked": ("I9", lambda e, on, fish: a_timer(on, due_at=timers.PARKED, attempts=8)),
    "a timer that nobody fires on default": ("I4", lambda e, on, fish: a_timer("default")),
    "news that nobody relays": ("I4", lambda e, on, fish: a_message(on)),
    "news of default that nobody relays": ("I4", lambda e, on, fish: a_message("default")),
    "a saga that nobody takes up": (
        "I4",
        lambda e, on, fish: Saga.objects.by_id(e["unpaid"]).update(next_at=ago(on, seconds=61)),
    ),
    "a limited order without a saga": ("I4", lambda e, on, fish: Saga.objects.by_id(e["unpaid"]).delete()),
    "a refund that is never sent": (
        "I3",
        lambda e, on, fish: rows(Refund, e["refunded"]).update(status="pending", created_at=ago(on, hours=1)),
    ),
    "an acknowledged order is gone": ("I5", lambda e, on, fish: Order.objects.by_id(e["unpaid"]).delete()),
    "lines are gone": ("I5", lambda e, on, fish: rows(OrderLine, e["paid"]).delete()),
    "a line costs something else": ("I5", lambda e, on, fish: rows(OrderLine, e["paid"]).update(amount=1)),
    "the total is not its parts": ("I5", lambda e, on, fish: Order.objects.by_id(e["unpaid"]).update(delivery_fee=9)),
    "a state without a change": ("I6", lambda e, on, fish: Order.objects.by_id(e["accepted"]).update(status="paid")),
    "a change is gone": ("I6", lambda e, on, fish: rows(OrderChange, e["completed"]).filter(n=4).delete()),
    "a change that is not legal": (
        "I6",
        lambda e, on, fish: rows(OrderChange, e["accepted"]).filter(target="accepted").update(target="completed"),
    ),
    "a change after the end": ("I6", lambda e, on, fish: add_change(e["completed"], on, source="completed")),
    "a change beyond the version": ("I6", lambda e, on, fish: add_change(e["paid"], on)),
    "cancelled and paid without a refund": ("I7", lambda e, on, fish: rows(Refund, e["refunded"]).delete()),
    "cancelled and still called paid": (
        "I7",
        lambda e, on, fish: Order.objects.by_id(e["refunded"]).update(payment_status="paid"),
    ),
    "two refunds that close": (
        "I7",
        lambda e, on, fish: (rows(Refund, e["refunded"]).update(amount=1), a_refund(e["refunded"], on, amount=1)),
    ),
    "parked news": ("I9", lambda e, on, fish: a_message(on, state=OutboxMessage.State.PARKED, error="no plate")),
    "a stuck saga": ("I9", lambda e, on, fish: Saga.objects.by_id(e["unpaid"]).update(state="stuck", error="x")),
    "paid and not on the desk": (
        "I10",
        lambda e, on, fish: DeskOrder.objects.filter(order_id=e["unlimited"]).delete(),
    ),
    "the desk is behind": (
        "I10",
        lambda e, on, fish: DeskOrder.objects.filter(order_id=e["accepted"]).update(status="paid", version=2),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(name: str, busy: dict[str, int], mei: Person, stall: Stall) -> None:
    invariant, tamper = BROKEN[name]
    tamper(busy, mei.shard, stall.fish)
    found = audit()
    assert [line for line in found if line.startswith(f"{invariant} ")], found


@pytest.mark.parametrize("invariant", ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I10"])
def test_every_invariant_is_tried(invariant: str) -> None:
    # I8 is about coupons and slots, which are not there yet.
    assert invariant in {found for found, _ in BROKEN.values()}


def test_what_an_order_keeps_is_summed_from_the_ledger(busy: dict[str, int], mei: Person) -> None:
    entries(busy["paid"]).update(amount=Decimal("1.00"))
    assert f"I3 order {busy['paid']}: paid, paid, keeps 1.00 instead of 63.00 [{mei.shard}]" in audit()


def test_what_moved_outside_is_a_violation_until_somebody_writes_it_off(busy: dict[str, int], mei: Person) -> None:
    adjust(busy["paid"], "-6.00")
    assert audit() == [f"I3 order {busy['paid']}: paid, paid, keeps 57.00 instead of 63.00 [{mei.shard}]"]
    adjust(busy["paid"], "6.00")
    assert audit() == []


# --- what only looks wrong ---


def test_what_is_late_by_less_than_a_minute_is_no_violation(busy: dict[str, int], mei: Person) -> None:
    moment = ago(mei.shard, seconds=30)
    Order.objects.by_id(busy["unpaid"]).update(expires_at=moment)
    Timer.objects.on(mei.shard).filter(kind="order.expire").update(due_at=moment)
    a_message("default", next_at=ago("default", seconds=30))
    assert audit() == []


def test_news_under_way_excuses_the_desk(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    assert not DeskOrder.objects.filter(order_id=order_id).exists()
    assert audit() == []


def test_an_open_payment_is_no_money_yet(mei: Person, stall: Stall) -> None:
    start_payment(placed(mei, stall))
    assert audit() == []


def test_a_refund_under_way_is_no_violation(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    assert order(order_id).payment_status == "refunding"
    assert audit() == []


def test_more_orders_than_a_batch_are_all_looked_at(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orders.audit.BATCH", 2)
    made = [paid(mei, stall, key=f"k-{n}") for n in range(5)]
    settle()
    assert audit() == []
    Order.objects.by_id(made[-1]).update(delivery_fee=9)
    assert len(audit()) == 1
