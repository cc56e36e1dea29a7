from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from payments import services
from payments.errors import RefundNotPossible, RefundTooLarge
from payments.models import Payment, Refund, SandboxRefund
from payments.providers import sandbox
from payments.services.refunding import SEND, pause_after
from tests.payments.factories import (
    MEI,
    PRICE,
    alerts,
    ask_refund,
    at_once,
    captured,
    due_at,
    fire,
    new_order,
    pending,
    receive,
    refund_row,
    row,
    signed,
)
from waimai.infra import ids, outbox, sharding
from waimai.infra.clock import db_now

pytestmark = pytest.mark.data


def refunds(payment: Payment) -> list[Decimal]:
    """What was asked to go back, oldest first."""
    rows = Refund.objects.on(sharding.shard_of_id(payment.id)).filter(payment_id=payment.id)
    return list(rows.order_by("id").values_list("amount", flat=True))


def given_back(payment: Payment) -> list[Decimal]:
    """What the gateway gave back, by its own books."""
    rows = SandboxRefund.objects.on(sharding.shard_of_id(payment.id)).filter(payment_id=payment.id)
    return list(rows.order_by("refund_id").values_list("amount", flat=True))


def must(refund_id: int | None) -> int:
    assert refund_id is not None
    return refund_id


def told(news: list[Any]) -> list[tuple[Decimal, bool]]:
    return [(event.amount, event.closing) for event in news if event.topic == "refund.succeeded"]


# --- asking ---


def test_a_refund_of_everything_is_closing_and_due_at_once() -> None:
    payment = captured()
    refund = refund_row(must(ask_refund(payment)))
    assert (refund.amount, refund.closing, refund.status) == (PRICE, True, "pending")
    assert (refund.payment_id, refund.order_id, refund.purpose, refund.ref) == (
        payment.id,
        payment.order_id,
        "cancel",
        "1",
    )
    assert ids.bucket_of(refund.id) == payment.bucket
    assert due_at(SEND, refund.id) == refund.created_at


def test_a_part_is_not_closing_and_the_rest_is() -> None:
    payment = captured()
    part, rest = ask_refund(payment, Decimal("18.00"), purpose="swap"), ask_refund(payment)
    assert (refund_row(must(part)).closing, refund_row(must(rest)).closing) == (False, True)
    assert refunds(payment) == [Decimal("18.00"), Decimal("38.00")]


def test_parts_that_add_up_to_everything_close() -> None:
    payment = captured()
    parts = [ask_refund(payment, Decimal(amount), ref=amount) for amount in ("18.10", "18.20", "19.70")]
    assert [refund_row(must(part)).closing for part in parts] == [False, False, True]


def test_the_same_name_is_the_same_refund() -> None:
    payment = captured()
    assert ask_refund(payment) == ask_refund(payment)
    assert refunds(payment) == [PRICE]


def test_nothing_is_left_after_everything() -> None:
    payment = captured()
    ask_refund(payment)
    assert ask_refund(payment, ref="2") is None
    assert ask_refund(payment, purpose="late") is None
    assert refunds(payment) == [PRICE]


def ask_part(order_id: int, amount: str, ref: str = "1") -> Decimal:
    """Ask for a part of an order's money; the amount of the refund that was made of it."""
    using = sharding.shard_of_id(order_id)
    with transaction.atomic(using=using):
        number = services.refund_part(order_id=order_id, amount=Decimal(amount), purpose="amend", ref=ref, using=using)
    return refund_row(number).amount


def test_a_part_of_an_order_comes_from_the_payment_that_is_kept() -> None:
    order_id = new_order()
    first, second = pending(order_id), pending(order_id, key="pay-2")
    for payment in (first, second):
        receive(payment.id, "success")
    ask_refund(first, purpose="duplicate")
    for _time in range(2):
        assert ask_part(order_id, "18.00") == Decimal("18.00")
    assert (refunds(first), refunds(second)) == ([PRICE], [Decimal("18.00")])
    with pytest.raises(RefundTooLarge):
        ask_part(order_id, "38.01", ref="2")


def test_no_part_of_what_was_never_paid_goes_back() -> None:
    with pytest.raises(RefundNotPossible):
        ask_part(pending().order_id, "18.00")


@pytest.mark.parametrize("amount", ["56.01", "1000.00", "0.00", "-1.00"])
def test_an_amount_that_is_not_there_is_refused(amount: str) -> None:
    payment = captured()
    with pytest.raises(RefundTooLarge) as refusal:
        ask_refund(payment, Decimal(amount))
    assert refusal.value.extra == {"remaining": "56.00"}
    assert refunds(payment) == []


def test_a_second_part_may_not_exceed_what_is_left() -> None:
    payment = captured()
    ask_refund(payment, Decimal("38.01"), purpose="swap")
    with pytest.raises(RefundTooLarge) as refusal:
        ask_refund(payment, Decimal("18.00"), purpose="swap", ref="2")
    assert refusal.value.extra == {"remaining": "17.99"}


def test_an_unpaid_payment_has_nothing_to_give_back() -> None:
    with pytest.raises(RefundNotPossible):
        ask_refund(pending())


def test_a_refund_belongs_inside_a_transaction() -> None:
    payment = captured()
    with pytest.raises(RuntimeError, match="inside the transaction"):
        services.request_refund(
            payment_id=payment.id, amount=None, purpose="cancel", ref="1", using=sharding.shard_of_id(payment.id)
        )


def test_a_transaction_rolled_back_asks_for_nothing() -> None:
    payment = captured()

    def ask_and_stumble() -> None:
        with sharding.atomic_of_id(payment.id) as using:
            services.request_refund(payment_id=payment.id, amount=None, purpose="cancel", ref="1", using=using)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_and_stumble()
    assert refunds(payment) == []


def test_eight_requests_for_everything_at_once_make_one_refund() -> None:
    payment = captured()
    answers = at_once(*[partial(ask_refund, payment, ref=str(number)) for number in range(8)])
    assert sorted(answer is None for answer in answers) == [False] + [True] * 7
    assert refunds(payment) == [PRICE]


def test_two_parts_at_once_never_exceed_what_was_captured() -> None:
    payment = captured()
    part = Decimal("30.00")
    answers = at_once(*[partial(ask_refund, payment, part, ref=str(number)) for number in range(2)])
    assert sorted(type(answer).__name__ for answer in answers) == ["RefundTooLarge", "int"]
    assert refunds(payment) == [part]


def refund_order(order_id: int) -> int:
    with sharding.atomic_of_id(order_id) as using:
        return services.refund_order(order_id=order_id, purpose="cancel", reason="顾客取消", using=using)


def test_an_order_is_refunded_with_the_rest_of_each_of_its_payments() -> None:
    order_id = new_order()
    first, second, unpaid = pending(order_id), pending(order_id, key="2"), pending(order_id, key="3")
    receive(first.id)
    receive(second.id)
    ask_refund(row(first.id), Decimal("6.00"), purpose="swap")
    assert refund_order(order_id) == 2
    assert [refunds(payment) for payment in (first, second, unpaid)] == [
        [Decimal("6.00"), Decimal("50.00")],
        [PRICE],
        [],
    ]


def test_an_order_refunded_twice_is_refunded_once() -> None:
    payment = captured()
    refund_order(payment.order_id)
    refund_order(payment.order_id)
    assert refunds(payment) == [PRICE]


def test_an_unpaid_order_has_nothing_to_refund() -> None:
    assert refund_order(pending().order_id) == 0


# --- sending ---


def test_a_sent_refund_is_done_here_and_there(news: list[Any]) -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    fire(SEND, refund_id)
    refund = refund_row(refund_id)
    assert refund.status == "succeeded"
    assert refund.succeeded_at is not None
    assert given_back(payment) == [PRICE]
    assert due_at(SEND, refund_id) is None
    event = news[-1]
    assert (event.order_id, event.payment_id, event.refund_id) == (payment.order_id, payment.id, refund_id)
    assert (event.user_id, event.amount, event.purpose, event.closing) == (MEI, PRICE, "cancel", True)


def test_a_refund_is_tried_until_it_is_done_with_one_number(news: list[Any]) -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    sandbox.fail_next("refund", near=payment.id, times=3)
    for attempts in (1, 2, 3):
        fire(SEND, refund_id)
        assert (refund_row(refund_id).attempts, refund_row(refund_id).status) == (attempts, "pending")
    assert refund_row(refund_id).last_error == "ProviderUnavailable: sandbox: refund is down"
    fire(SEND, refund_id)
    assert (refund_row(refund_id).status, refund_row(refund_id).last_error) == ("succeeded", "")
    rows = SandboxRefund.objects.on(sharding.shard_of_id(payment.id))
    assert list(rows.values_list("refund_id", "amount")) == [(refund_id, PRICE)]
    assert told(news) == [(PRICE, True)]


def test_a_refund_whose_answer_was_lost_is_given_once(news: list[Any]) -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    sandbox.fail_next("refund", near=payment.id, times=2, mode=sandbox.Fault.LOST_ANSWER)
    for _try in range(3):
        fire(SEND, refund_id)
    assert given_back(payment) == [PRICE]
    assert told(news) == [(PRICE, True)]


def test_the_pauses_grow_to_five_minutes_and_stay() -> None:
    pauses = [pause_after(attempts).total_seconds() for attempts in (1, 2, 3, 9, 10, 1000)]
    assert pauses == [1, 2, 4, 256, 300, 300]


def test_after_a_failed_try_the_next_is_due_after_the_pause() -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    Refund.objects.by_id(refund_id).update(attempts=4)
    sandbox.fail_next("refund", near=payment.id)
    before = db_now(sharding.shard_of_id(payment.id))
    fire(SEND, refund_id)
    assert timedelta(seconds=15) < due_at(SEND, refund_id) - before < timedelta(seconds=20)


def test_the_fifth_failure_calls_a_person_once() -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    sandbox.fail_next("refund", near=payment.id, times=7)
    for _try in range(7):
        fire(SEND, refund_id)
    assert alerts(payment.id) == ["refund_stuck"]


def test_a_refusal_of_the_provider_is_tried_again_too() -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    # Somebody gave the money back in the gateway's own console.
    SandboxRefund(
        refund_id=1, bucket=payment.bucket, payment_id=payment.id, amount=PRICE, created_at=payment.created_at
    ).save(using=sharding.shard_of_id(payment.id), force_insert=True)
    fire(SEND, refund_id)
    assert refund_row(refund_id).status == "pending"
    assert refund_row(refund_id).last_error.startswith("ProviderRefused")
    assert due_at(SEND, refund_id) is not None


def test_a_refund_sent_five_times_at_once_is_given_and_told_once(news: list[Any]) -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    using = sharding.shard_of_id(refund_id)
    assert at_once(*[lambda: services.send_refund(refund_id=refund_id, using=using)] * 5) == [None] * 5
    assert given_back(payment) == [PRICE]
    assert told(news) == [(PRICE, True)]


def test_a_part_given_back_is_told_as_not_closing(news: list[Any]) -> None:
    payment = captured()
    fire(SEND, must(ask_refund(payment, Decimal("18.00"), purpose="swap")))
    assert told(news) == [(Decimal("18.00"), False)]


def test_the_last_of_several_refunds_is_told_as_closing_whatever_their_order(news: list[Any]) -> None:
    payment = captured()
    part, rest = must(ask_refund(payment, Decimal("18.00"), purpose="swap")), must(ask_refund(payment))
    fire(SEND, rest)
    fire(SEND, part)
    assert told(news) == [(Decimal("38.00"), False), (Decimal("18.00"), True)]


def test_two_refunds_done_at_once_are_told_as_closing_once(news: list[Any]) -> None:
    payment = captured()
    numbers = [must(ask_refund(payment, Decimal("18.00"), purpose="swap")), must(ask_refund(payment))]
    using = sharding.shard_of_id(payment.id)
    at_once(*[partial(services.send_refund, refund_id=number, using=using) for number in numbers])
    assert sorted(closing for _amount, closing in told(news)) == [False, True]


def test_the_refund_of_a_duplicate_does_not_close_the_order(news: list[Any]) -> None:
    order_id = new_order()
    first, second = pending(order_id), pending(order_id, key="2")
    receive(first.id)
    receive(second.id)
    fire(SEND, must(ask_refund(row(second.id), purpose="duplicate")))
    assert told(news) == [(PRICE, False)]
    fire(SEND, must(ask_refund(row(first.id))))
    assert told(news)[1:] == [(PRICE, True)]


def test_a_refund_that_waits_can_be_sent_at_once() -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    sandbox.fail_next("refund", near=payment.id)
    Refund.objects.by_id(refund_id).update(attempts=9)
    fire(SEND, refund_id)
    using = sharding.shard_of_id(refund_id)
    assert services.send_refunds_now(refund_ids=[refund_id], using=using) == 1
    assert due_at(SEND, refund_id) <= db_now(using)


def test_a_refund_that_is_done_is_not_sent_again() -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    fire(SEND, refund_id)
    using = sharding.shard_of_id(refund_id)
    assert services.send_refunds_now(refund_ids=[refund_id], using=using) == 0
    assert due_at(SEND, refund_id) is None


def test_a_payment_is_refunded_though_its_provider_is_no_longer_offered(settings: Any) -> None:
    payment = captured()
    refund_id = must(ask_refund(payment))
    settings.WAIMAI_PAYMENT_PROVIDERS = []
    fire(SEND, refund_id)
    assert refund_row(refund_id).status == "succeeded"


# --- capture against refund ---


def refund_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hearer as orders has one: the order is cancelled, so what is captured goes back, in the same transaction."""

    def go_back(event: Any, *, using: str) -> None:
        services.request_refund(payment_id=event.payment_id, amount=None, purpose="late", ref="order", using=using)

    monkeypatch.setitem(outbox._inside, "payment.captured", [go_back])


def test_a_payment_captured_after_the_cancel_is_refunded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refund_late(monkeypatch)
    payment = pending()
    assert refund_order(payment.order_id) == 0
    headers, body = signed(payment.id)
    at_once(*[lambda: services.handle_webhook(provider="sandbox", headers=headers, body=body)] * 10)
    assert refunds(payment) == [PRICE]


def test_capture_and_cancel_at_once_leave_exactly_one_refund(monkeypatch: pytest.MonkeyPatch) -> None:
    refund_late(monkeypatch)
    for number in range(10):
        payment = pending(key=f"key-{number}")
        headers, body = signed(payment.id)
        at_once(
            partial(services.handle_webhook, provider="sandbox", headers=headers, body=body),
            partial(refund_order, payment.order_id),
        )
        assert refunds(payment) == [PRICE]


def test_a_refund_asked_for_in_a_capture_that_rolls_back_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = pending()
    headers, body = signed(payment.id)

    def refund_and_stumble(event: Any, *, using: str) -> None:
        assert services.refund_order(order_id=event.order_id, purpose="late", using=using) == 1
        raise ZeroDivisionError

    monkeypatch.setitem(outbox._inside, "payment.captured", [refund_and_stumble])
    with pytest.raises(ZeroDivisionError):
        services.handle_webhook(provider="sandbox", headers=headers, body=body)
    assert row(payment.id).status == "pending"
    assert refunds(payment) == []
