from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.test import Client

from accounts.models import User
from payments import ledger_fill, services
from payments.models import AppendOnlyError, LedgerEntry, Payment, SandboxCharge
from payments.services import ledger
from payments.services.refunding import SEND
from tests.payments.factories import (
    MEI,
    PRICE,
    TAO,
    ask_refund,
    at_once,
    captured,
    fire,
    new_order,
    pending,
    receive,
    refund_row,
    row,
)
from waimai.infra import ids, outbox, sharding
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound, ValidationFailed

pytestmark = pytest.mark.data
SHARD = sharding.shard_of_user


def entries(order_id: int) -> list[LedgerEntry]:
    return list(LedgerEntry.objects.of_order(order_id).order_by("created_at", "id"))


def forget(using: str) -> None:
    """The ledger as it was before there was one; only tests may."""
    LedgerEntry._base_manager.using(using).all().delete()


def adjust(payment: Payment, amount: str = "-6.00", **changes: Any) -> int:
    words = {"actor": "lan", "reason": "给错了菜", "reference": "SBR1"}
    return services.adjust(payment_id=payment.id, amount=Decimal(amount), **words | changes)


# --- what is booked ---


def test_nothing_is_booked_before_money_moves() -> None:
    failed = pending()
    receive(failed.id, "failure")
    assert entries(failed.order_id) == []


def test_a_capture_is_one_charge() -> None:
    payment = captured()
    (entry,) = entries(payment.order_id)
    assert (entry.id, entry.kind, entry.amount) == (payment.id, "charge", PRICE)
    assert (entry.payment_id, entry.provider, entry.reference) == (payment.id, "sandbox", f"SB{payment.id}")
    assert (entry.bucket, entry.created_at) == (payment.bucket, payment.captured_at)


def test_a_capture_told_ten_times_is_one_charge() -> None:
    payment = pending()
    for _ in range(10):
        receive(payment.id)
    assert len(entries(payment.order_id)) == 1


def test_a_refund_is_booked_when_it_was_made_and_not_when_it_was_asked_for() -> None:
    payment = captured()
    refund_id = ask_refund(payment, Decimal("6.00")) or 0
    assert len(entries(payment.order_id)) == 1
    fire(SEND, refund_id)
    entry = entries(payment.order_id)[1]
    assert (entry.id, entry.kind, entry.amount) == (refund_id, "refund", Decimal("-6.00"))
    assert (entry.payment_id, entry.reference) == (payment.id, str(refund_id))
    assert entry.created_at == refund_row(refund_id).succeeded_at


def test_a_capture_that_is_rolled_back_is_not_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = pending()
    monkeypatch.setattr(outbox, "publish", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        receive(payment.id)
    assert row(payment.id).status == "pending"
    assert entries(payment.order_id) == []


def test_a_capture_whose_entry_fails_is_no_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = pending()
    monkeypatch.setattr(ledger, "book_charge", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        receive(payment.id)
    assert row(payment.id).status == "pending"


def test_the_ledger_is_written_inside_a_transaction_only() -> None:
    payment = pending()
    with pytest.raises(RuntimeError, match="transaction"):
        ledger.book_charge(payment, "SB1", at=db_now(SHARD(MEI)), using=SHARD(MEI))


# --- what was booked stays ---


def test_entries_are_neither_changed_nor_deleted() -> None:
    payment = captured()
    (entry,) = entries(payment.order_id)
    rows = LedgerEntry.objects.of_order(payment.order_id)
    entry.amount = Decimal("1.00")
    attempts: list[Any] = [
        lambda: entry.save(using=SHARD(MEI), update_fields=["amount"]),
        lambda: entry.save(using=SHARD(MEI), force_insert=True),
        entry.delete,
        lambda: rows.update(amount=1),
        rows.delete,
        lambda: rows.bulk_update([entry], ["amount"]),
        lambda: rows.update_or_create(id=entry.id, defaults={"amount": 1}),
    ]
    for attempt in attempts:
        with pytest.raises(AppendOnlyError):
            attempt()
    assert [found.amount for found in entries(payment.order_id)] == [PRICE]


def test_a_number_is_booked_once() -> None:
    payment = captured()
    with pytest.raises(IntegrityError), transaction.atomic(using=SHARD(MEI)):
        ledger.book_charge(payment, "SB1", at=db_now(SHARD(MEI)), using=SHARD(MEI))


@pytest.mark.parametrize(("kind", "amount"), [("charge", "-1"), ("refund", "1"), ("adjustment", "0"), ("gift", "1")])
def test_the_database_knows_the_signs(kind: str, amount: str) -> None:
    (entry,) = entries(captured().order_id)
    wrong = {"id": ids.new_id(entry.bucket), "kind": kind, "amount": Decimal(amount), "bucket": entry.bucket}
    same = {"order_id": 1, "payment_id": 1, "provider": "sandbox", "created_at": entry.created_at}
    with pytest.raises(IntegrityError):
        LedgerEntry(**wrong, **same).save(using=SHARD(MEI), force_insert=True)


# --- people ---


def test_a_person_books_what_moved_outside() -> None:
    payment = captured()
    number = adjust(payment)
    entry = entries(payment.order_id)[1]
    assert (entry.id, entry.kind, entry.amount) == (number, "adjustment", Decimal("-6.00"))
    assert (entry.actor, entry.reason, entry.reference) == ("lan", "给错了菜", "SBR1")
    assert (entry.payment_id, entry.provider) == (payment.id, "sandbox")
    assert row(payment.id).amount == PRICE


def test_the_same_adjustment_again_is_the_first_one() -> None:
    payment = captured()
    first = adjust(payment)
    assert adjust(payment) == first
    assert adjust(payment, reason="又给错了") != first
    assert len(entries(payment.order_id)) == 3


def test_the_same_adjustment_twice_at_once_is_one() -> None:
    payment = captured()
    numbers = at_once(lambda: adjust(payment), lambda: adjust(payment))
    assert len(set(numbers)) == 1
    assert len(entries(payment.order_id)) == 2


@pytest.mark.parametrize("amount", ["0", "0.001", "100000000", "-100000000.00"])
def test_an_adjustment_is_a_sum_of_money(amount: str) -> None:
    with pytest.raises(ValidationFailed):
        adjust(captured(), amount)


@pytest.mark.parametrize("missing", ["actor", "reason"])
def test_an_adjustment_says_who_and_why(missing: str) -> None:
    with pytest.raises(ValidationFailed):
        adjust(captured(), **{missing: " "})


def test_an_adjustment_concerns_a_payment() -> None:
    with pytest.raises(NotFound):
        services.adjust(payment_id=new_order(), amount=PRICE, actor="lan", reason="?")


def test_adjusting_by_command() -> None:
    payment = captured()
    said = StringIO()
    words = ["--by", "lan", "--reason", "给错了菜", "--reference", "SBR1"]
    call_command("payments", "adjust", str(payment.id), "-6.00", *words, stdout=said)
    entry = entries(payment.order_id)[1]
    assert said.getvalue() == f"adjustment {entry.id} of -6.00 booked\n"
    with pytest.raises(CommandError, match="not_found"):
        call_command("payments", "adjust", str(new_order()), "6", "--by", "lan", "--reason", "x")
    with pytest.raises(CommandError, match="validation_error"):
        call_command("payments", "adjust", str(payment.id), "0", "--by", "lan", "--reason", "x")


def test_the_admin_shows_the_ledger_and_offers_no_change() -> None:
    payment = captured()
    adjust(payment)
    chief = Client()
    chief.force_login(User.objects.create_superuser("chief", "a-long-password"))
    where = {"database": SHARD(MEI)}
    page = chief.get("/admin/payments/ledgerentry/", where | {"kind": "adjustment"}).content.decode()
    assert "给错了菜" in page
    assert f"SB{payment.id}<" not in page
    assert f"SB{payment.id}<" in chief.get("/admin/payments/ledgerentry/", where | {"q": payment.id}).content.decode()
    assert "delete_selected" not in page
    assert "ledgerentry/add/" not in page
    assert chief.post(f"/admin/payments/ledgerentry/{payment.id}/change/", {"amount": "1"}).status_code == 403
    assert chief.post(f"/admin/payments/ledgerentry/{payment.id}/delete/", {"post": "yes"}).status_code == 403
    assert chief.post("/admin/payments/ledgerentry/add/", {"amount": "1"}).status_code == 403


# --- what was there before the ledger ---


def test_the_migration_books_what_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_fill, "BATCH", 2)
    payments = [captured(key=str(number)) for number in range(5)]
    for payment in payments[:3]:
        fire(SEND, ask_refund(payment, Decimal("6.00")) or 0)
    ask_refund(payments[4])
    pending(key="open")
    before = [[vars_of(entry) for entry in entries(payment.order_id)] for payment in payments]
    forget(SHARD(MEI))
    SandboxCharge.objects.on(SHARD(MEI)).update(captured_at=None)
    migrate()
    migrate()
    assert [[vars_of(entry) for entry in entries(payment.order_id)] for payment in payments] == before
    assert services.payment_problems(SHARD(MEI)) == []
    times = SandboxCharge.objects.on(SHARD(MEI)).filter(captured_at=None)
    assert list(times.values_list("state", flat=True)) == ["open"]


def migrate() -> None:
    """The data's part of the migration, with the tables as they were then."""
    connection = connections[SHARD(MEI)]
    state = MigrationLoader(connection).project_state(("payments", "0012_fill_ledger"))
    fill: Any = import_module("payments.migrations.0012_fill_ledger").fill_books
    fill(state.apps, SimpleNamespace(connection=connection))


def vars_of(entry: LedgerEntry) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in LedgerEntry._meta.fields}


def test_filling_by_command_books_what_an_older_release_noted() -> None:
    mei, tao = captured(), captured(user_id=TAO)
    forget(SHARD(MEI))
    forget(SHARD(TAO))
    receive(pending(key="2").id)  # By a process of the new release.
    said = StringIO()
    call_command("payments", "fill", stdout=said)
    call_command("payments", "fill", stdout=said)
    assert said.getvalue() == "2 entries booked\n0 entries booked\n"
    assert [len(entries(payment.order_id)) for payment in (mei, tao)] == [1, 1]


def test_filling_at_once_books_once() -> None:
    for number in range(4):
        captured(key=str(number))
    forget(SHARD(MEI))
    assert sum(int(str(count)) for count in at_once(*[services.fill_ledger] * 3)) == 4
    assert services.payment_problems(SHARD(MEI)) == []


def test_filling_passes_over_a_refund_whose_payment_is_in_the_archive() -> None:
    payment = captured()
    fire(SEND, ask_refund(payment) or 0)
    forget(SHARD(MEI))
    Payment.objects.by_id(payment.id).delete()
    assert services.fill_ledger() == 0


def test_an_entry_is_as_old_as_what_it_books() -> None:
    payment = captured()
    long_ago = payment.created_at - timedelta(days=40)
    Payment.objects.by_id(payment.id).update(captured_at=long_ago)
    forget(SHARD(MEI))
    services.fill_ledger()
    assert entries(payment.order_id)[0].created_at == long_ago
