from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from payments import services
from payments.models import LedgerEntry, Payment, ProviderTransaction, Refund
from payments.services import OrderBooks, audit, ledger_audit
from payments.services.refunding import SEND
from tests.payments.factories import (
    MEI,
    PRICE,
    ask_refund,
    captured,
    expire,
    fire,
    new_order,
    pending,
    receive,
    refund_row,
    row,
)
from waimai.infra import ids, sharding

pytestmark = pytest.mark.data
SHARD = sharding.shard_of_user
SIX = Decimal("6.00")


def problems() -> list[str]:
    return services.payment_problems(SHARD(MEI))


def book(order_id: int) -> OrderBooks | None:
    return next((book for book in services.books(SHARD(MEI)) if book.order_id == order_id), None)


def test_an_unpaid_order_has_no_books() -> None:
    assert book(pending().order_id) is None


def test_the_books_of_a_paid_order() -> None:
    payment = captured()
    assert book(payment.order_id) == OrderBooks(
        order_id=payment.order_id,
        charged=PRICE,
        refunded=Decimal("0.00"),
        adjusted=Decimal("0.00"),
        promised=Decimal("0.00"),
        charges=1,
        closing_refunds=0,
    )


def test_the_books_of_an_order_paid_twice_and_half_refunded() -> None:
    order_id = new_order()
    first, second = pending(order_id), pending(order_id, key="2")
    receive(first.id)
    receive(second.id)
    ask_refund(row(first.id), Decimal("6.10"), purpose="swap")
    fire(SEND, ask_refund(row(second.id)) or 0)
    assert book(order_id) == OrderBooks(
        order_id=order_id,
        charged=Decimal("112.00"),
        refunded=PRICE,
        adjusted=Decimal("0.00"),
        promised=Decimal("6.10"),
        charges=2,
        closing_refunds=1,
    )


def test_the_books_are_read_in_batches_and_miss_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    orders = [captured(key=str(number)).order_id for number in range(5)]
    assert [book.order_id for book in services.books(SHARD(MEI))] == orders


def test_sums_are_exact_to_the_fen() -> None:
    payment = captured(amount=Decimal("0.30"))
    for ref in ("1", "2", "3"):
        ask_refund(payment, Decimal("0.10"), ref=ref)
    assert problems() == []
    found = book(payment.order_id)
    assert found is not None
    assert str(found.promised) == "0.30"
    assert str(found.kept) == "0.00"


def test_ordinary_business_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    monkeypatch.setattr(ledger_audit, "BATCH", 2)
    pending()
    receive(pending(key="2").id, "failure")
    for number in range(5):
        payment = captured(key=f"k{number}")
        ask_refund(payment, Decimal("6.00"), purpose="swap")
        fire(SEND, ask_refund(payment) or 0)
    assert problems() == []


def test_refunds_beyond_the_capture_are_a_problem() -> None:
    payment = captured()
    refund_id = ask_refund(payment)
    Refund.objects.by_id(refund_id).update(amount=Decimal("56.01"))
    assert problems() == [
        f"payment {payment.id}: refunds of 56.01 exceed the 56.00 captured",
        f"payment {payment.id}: 1 closing refunds for 56.01 of 56.00",
    ]


def test_two_closing_refunds_are_a_problem() -> None:
    payment = captured()
    part = ask_refund(payment, Decimal("6.00"), purpose="swap")
    ask_refund(payment)
    Refund.objects.by_id(part).update(closing=True)
    assert problems() == [f"payment {payment.id}: 2 closing refunds for 56.00 of 56.00"]


def test_a_refund_of_an_uncaptured_payment_is_a_problem() -> None:
    payment = captured()
    ask_refund(payment)
    Payment.objects.by_id(payment.id).update(status="failed")
    assert f"payment {payment.id}: refunds of 56.00 exceed the 0.00 captured" in problems()


def test_a_capture_without_a_transaction_is_a_problem() -> None:
    payment = captured()
    ProviderTransaction.objects.on(SHARD(MEI)).all().delete()
    assert problems() == [f"payment {payment.id}: captured without a provider's transaction of its own"]


def test_a_payment_open_long_after_its_time_is_a_problem() -> None:
    payment = pending()
    expire(payment.id)
    assert problems() == []  # Its timer will see to it.
    Payment.objects.by_id(payment.id).update(expires_at=payment.created_at - timedelta(minutes=11))
    assert problems() == [f"payment {payment.id}: pending long after it expired"]


def test_a_refund_that_waits_too_long_is_a_problem() -> None:
    refund_id = ask_refund(captured()) or 0
    long_ago = refund_row(refund_id).created_at - timedelta(minutes=31)
    Refund.objects.by_id(refund_id).update(created_at=long_ago, attempts=9)
    assert problems() == [f"refund {refund_id}: pending after 9 tries"]


# --- the ledger and what it records, row for row ---


def entry_of(number: int) -> Any:
    """A row of the ledger, past the managers that keep it from being changed."""
    return LedgerEntry._base_manager.using(SHARD(MEI)).filter(pk=number)


def add_entry(payment: Payment, **changes: Any) -> int:
    number = ids.new_id(payment.bucket)
    values = {"kind": "charge", "amount": PRICE, "order_id": payment.order_id, "payment_id": payment.id}
    values |= {"bucket": payment.bucket, "provider": "sandbox", "created_at": payment.created_at, "id": number}
    LedgerEntry(**values | changes).save(using=SHARD(MEI), force_insert=True)
    return number


def test_a_capture_that_is_not_booked_is_a_problem() -> None:
    payment = captured()
    entry_of(payment.id).delete()
    assert problems() == [f"payment {payment.id}: 56.00 is not in the ledger"]


def test_a_refund_that_is_not_booked_is_a_problem() -> None:
    refund_id = ask_refund(captured()) or 0
    fire(SEND, refund_id)
    entry_of(refund_id).delete()
    assert problems() == [f"refund {refund_id}: -56.00 is not in the ledger"]


def test_an_entry_of_another_amount_is_a_problem() -> None:
    payment = captured()
    entry_of(payment.id).update(amount=Decimal("65.00"))
    is_, says = (f"a charge of {x} for order {payment.order_id} by payment {payment.id}" for x in ("56.00", "65.00"))
    assert problems() == [f"payment {payment.id}: is {is_}, the ledger says {says}"]


def test_a_payment_whose_amount_was_changed_is_a_problem() -> None:
    payment = captured()
    Payment.objects.by_id(payment.id).update(amount=Decimal("65.00"))
    assert [line for line in problems() if "the ledger says a charge of 56.00" in line]


def test_a_refund_whose_amount_was_changed_is_a_problem() -> None:
    refund_id = ask_refund(captured(), SIX) or 0
    fire(SEND, refund_id)
    Refund.objects.by_id(refund_id).update(amount=Decimal("5.00"))
    assert [line for line in problems() if "the ledger says a refund of -6.00" in line]


@pytest.mark.parametrize("column", ["order_id", "payment_id"])
def test_an_entry_of_another_order_or_payment_is_a_problem(column: str) -> None:
    payment = captured()
    entry_of(payment.id).update(**{column: payment.id + 1})
    assert [line for line in problems() if line.startswith(f"payment {payment.id}: is a charge of 56.00")]


def test_money_that_is_booked_twice_is_a_problem() -> None:
    payment = captured()
    number = add_entry(payment)
    assert problems() == [f"ledger entry {number}: a charge of 56.00 that was never made"]
    found = book(payment.order_id)
    assert found is not None
    assert found.kept == Decimal("112.00")


def test_an_entry_of_an_open_payment_is_a_problem() -> None:
    payment = pending()
    add_entry(payment, id=payment.id)
    assert problems() == [f"ledger entry {payment.id}: a charge of 56.00 that was never made"]


def test_an_entry_without_any_payment_is_a_problem() -> None:
    payment = captured()
    number = add_entry(payment, order_id=new_order(), payment_id=ids.new_id(payment.bucket))
    assert problems() == [f"ledger entry {number}: a charge of 56.00 that was never made"]


def test_an_entry_of_a_refund_that_still_waits_is_a_problem() -> None:
    payment = captured()
    refund_id = ask_refund(payment, SIX) or 0
    add_entry(payment, id=refund_id, kind="refund", amount=-SIX)
    assert problems() == [f"ledger entry {refund_id}: a refund of -6.00 that was never made"]


def test_an_entry_called_a_refund_that_is_a_charge_is_a_problem() -> None:
    payment = captured()
    entry_of(payment.id).update(kind="refund", amount=-PRICE)
    found = problems()
    assert [line for line in found if line.startswith(f"payment {payment.id}: is a charge")]
    assert f"ledger entry {payment.id}: a refund of -56.00 that was never made" in found


def test_rows_are_compared_in_batches_and_none_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_audit, "BATCH", 2)
    payments = [captured(key=str(number)) for number in range(5)]
    entry_of(payments[2].id).delete()
    extra = add_entry(payments[4])
    assert problems() == [
        f"payment {payments[2].id}: 56.00 is not in the ledger",
        f"ledger entry {extra}: a charge of 56.00 that was never made",
    ]


def test_what_a_person_adjusted_is_no_problem_and_counts() -> None:
    payment = captured()
    services.adjust(payment_id=payment.id, amount=-SIX, actor="lan", reason="退现金")
    assert problems() == []
    found = book(payment.order_id)
    assert found is not None
    assert (found.adjusted, found.kept) == (-SIX, PRICE - SIX)
