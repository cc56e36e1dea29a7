from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections, transaction

from payments import services
from payments.errors import AlreadyPaid, PaymentRefused
from payments.models import Payment, SandboxCharge
from payments.providers import sandbox
from payments.services.paying import StartedPayment
from payments.services.polling import POLL
from tests.payments.factories import (
    MEI,
    PRICE,
    TAO,
    ask_refund,
    at_once,
    captured,
    due_at,
    expire,
    fire,
    just_after,
    new_order,
    pending,
    receive,
    row,
    start,
)
from waimai.infra import ids, sharding
from waimai.infra.errors import IdempotencyKeyReused, NotFound, ServiceUnavailable, ValidationFailed

pytestmark = pytest.mark.data


def charges(payment_id: int) -> list[Decimal]:
    rows = SandboxCharge.objects.on(sharding.shard_of_id(payment_id))
    return list(rows.values_list("amount", flat=True))


def test_a_started_payment_is_pending_and_tells_where_to_pay() -> None:
    started = start()
    assert started.client_parameters == {"pay_url": f"/pay/sandbox/{started.payment_id}/"}
    assert not started.replayed
    assert row(started.payment_id).status == "pending"
    assert charges(started.payment_id) == [PRICE]


def test_a_payment_lives_in_the_bucket_of_its_order() -> None:
    order_id = new_order()
    payment = pending(order_id)
    assert payment.bucket == ids.bucket_of(order_id) == ids.bucket_of(payment.id)
    assert payment.id < 2**53


def test_the_first_look_is_thirty_seconds_after_the_start() -> None:
    payment = pending()
    assert due_at(POLL, payment.id) == payment.created_at + timedelta(seconds=30)


def test_a_short_payment_is_looked_at_when_it_expires() -> None:
    payment = pending(seconds=4)
    assert due_at(POLL, payment.id) == payment.expires_at


def test_the_same_key_returns_the_payment_it_opened() -> None:
    order_id = new_order()
    first, second = start(order_id), start(order_id)
    assert second == StartedPayment(
        payment_id=first.payment_id, provider="sandbox", client_parameters=first.client_parameters, replayed=True
    )
    assert len(charges(first.payment_id)) == 1


def test_the_same_key_answers_the_same_after_the_payment_was_captured() -> None:
    order_id = new_order()
    first = start(order_id)
    receive(first.payment_id)
    assert start(order_id).client_parameters == first.client_parameters


def test_another_request_with_the_key_is_refused() -> None:
    start(new_order())
    with pytest.raises(IdempotencyKeyReused):
        start(new_order())


def test_the_same_key_of_another_person_is_another_key() -> None:
    mei, tao = start(new_order(MEI)), start(new_order(TAO), user_id=TAO)
    assert mei.payment_id != tao.payment_id
    assert not tao.replayed


def test_sixteen_requests_with_one_key_at_once_open_one_payment() -> None:
    order_id = new_order()
    answers = at_once(*[lambda: start(order_id).payment_id] * 16)
    assert len(set(answers)) == 1
    assert Payment.objects.of_order(order_id).count() == 1


class GivenUp(Exception):
    """The order doesn't wait for payment any more."""


def give_up() -> None:
    raise GivenUp


def test_no_payment_is_opened_for_an_order_given_up_meanwhile() -> None:
    order_id = new_order()
    with pytest.raises(GivenUp):
        start(order_id, still_wanted=give_up)
    assert not Payment.objects.of_order(order_id).exists()
    assert not start(order_id).replayed  # The refusal bound no key.


def test_whether_it_is_still_wanted_is_asked_inside_the_transaction_of_the_intent() -> None:
    order_id = new_order()
    asked: list[bool] = []
    start(order_id, still_wanted=lambda: asked.append(connections[sharding.shard_of_id(order_id)].in_atomic_block))
    assert asked == [True]


def test_the_provider_is_not_told_of_an_intent_whose_order_was_given_up() -> None:
    order_id = new_order()
    sandbox.fail_next("create", near=order_id)
    with pytest.raises(ServiceUnavailable):
        start(order_id)
    with pytest.raises(GivenUp):
        start(order_id, still_wanted=give_up)
    intent = Payment.objects.of_order(order_id).get()
    assert (intent.status, charges(intent.id)) == ("init", [])


def test_an_answer_already_given_is_given_again_whatever_became_of_the_order() -> None:
    order_id = new_order()
    first = start(order_id)
    assert start(order_id, still_wanted=give_up).client_parameters == first.client_parameters


def test_a_provider_that_is_down_leaves_an_intent_that_the_key_finds_again() -> None:
    order_id = new_order()
    sandbox.fail_next("create", near=order_id)
    with pytest.raises(ServiceUnavailable):
        start(order_id)
    intent = Payment.objects.of_order(order_id).get()
    assert intent.status == "init"
    retried = start(order_id)
    assert retried.payment_id == intent.id
    assert not retried.replayed  # Nobody had this answer before.
    assert row(intent.id).status == "pending"


def test_an_answer_that_was_lost_opens_no_second_charge() -> None:
    order_id = new_order()
    sandbox.fail_next("create", near=order_id, mode=sandbox.Fault.LOST_ANSWER)
    with pytest.raises(ServiceUnavailable):
        start(order_id)
    retried = start(order_id)
    assert charges(retried.payment_id) == [PRICE]


def test_a_payer_faster_than_our_note_of_the_answer_keeps_the_capture_and_the_answer() -> None:
    order_id = new_order()

    def pay() -> None:
        receive(Payment.objects.of_order(order_id).get().id)

    with just_after(sandbox.Sandbox, "create", pay):
        first = start(order_id)
    assert row(first.payment_id).status == "captured"
    assert start(order_id).client_parameters == first.client_parameters


def test_a_paid_order_takes_no_other_payment() -> None:
    order_id = new_order()
    captured(order_id)
    with pytest.raises(AlreadyPaid):
        start(order_id, key="pay-2")
    assert Payment.objects.of_order(order_id).count() == 1


def test_a_refusal_binds_no_key() -> None:
    paid, unpaid = new_order(), new_order()
    captured(paid)
    with pytest.raises(AlreadyPaid):
        start(paid, key="pay-2")
    assert not start(unpaid, key="pay-2").replayed


def test_after_a_failed_attempt_another_key_opens_another_payment(news: list[Any]) -> None:
    order_id = new_order()
    first = start(order_id)
    receive(first.payment_id, "failure")
    second = start(order_id, key="pay-2")
    receive(second.payment_id)
    assert [row(p.payment_id).status for p in (first, second)] == ["failed", "captured"]
    assert [event.topic for event in news] == ["payment.failed", "payment.captured"]


def test_a_provider_that_refuses_fails_the_payment_for_good(news: list[Any]) -> None:
    order_id = new_order()
    sandbox.fail_next("create", near=order_id)
    with pytest.raises(ServiceUnavailable):
        start(order_id)
    intent = Payment.objects.of_order(order_id).get()
    # The gateway has another amount under this number.
    SandboxCharge(
        payment_id=intent.id, bucket=intent.bucket, amount=Decimal("1.00"), created_at=intent.created_at
    ).save(using=sharding.shard_of_id(order_id), force_insert=True)
    for _again in range(2):
        with pytest.raises(PaymentRefused):
            start(order_id)
    assert row(intent.id).status == "failed"
    assert len(news) == 1


def test_a_provider_that_is_not_offered_is_a_field_error() -> None:
    order_id = new_order()
    with pytest.raises(ValidationFailed) as refusal:
        services.start_payment(
            order_id=order_id,
            user_id=MEI,
            amount=PRICE,
            provider="cash",
            key="k",
            fingerprint="f",
            expires_at=ids.made_at(order_id),
            still_wanted=lambda: None,
        )
    assert refusal.value.errors == {"provider": ["支付渠道应为：sandbox。"]}


def test_the_provider_is_never_called_inside_a_transaction() -> None:
    order_id = new_order()
    with sharding.atomic_of_id(order_id), pytest.raises(RuntimeError, match="not inside a transaction"):
        start(order_id)
    assert not Payment.objects.of_order(order_id).exists()


def test_a_payment_is_seen_by_its_payer_only() -> None:
    payment = pending()
    seen = services.get_payment(payment_id=payment.id, user_id=MEI)
    assert (seen.id, seen.order_id, seen.amount, seen.status) == (payment.id, payment.order_id, PRICE, "pending")
    with pytest.raises(NotFound):
        services.get_payment(payment_id=payment.id, user_id=TAO)


@pytest.mark.parametrize("number", [0, 1, 2**53, 2**70])
def test_a_number_that_is_no_payment_is_not_found(number: int) -> None:
    with pytest.raises(NotFound):
        services.get_payment(payment_id=number, user_id=MEI)


def test_captured_payments_are_told_oldest_first_and_refunded_ones_too() -> None:
    order_id = new_order()
    first, second = pending(order_id), pending(order_id, key="pay-2")
    pending(order_id, key="pay-3")
    receive(second.id)
    receive(first.id)
    ask_refund(row(second.id))
    assert [payment.id for payment in services.captured_payments(order_id)] == [first.id, second.id]


def test_a_payment_is_found_though_its_number_is_hours_older_than_its_orders() -> None:
    order_id = new_order() + (5 * 3600 << ids.SECONDS_SHIFT)
    payment = captured(order_id)
    assert payment.id < order_id
    assert [found.id for found in services.captured_payments(order_id)] == [payment.id]


def stop(order_id: int) -> int:
    using = sharding.shard_of_id(order_id)
    with transaction.atomic(using=using):
        return services.stop_collecting(order_ids=[order_id], using=using)


def test_stop_collecting_closes_the_open_payments_at_the_provider() -> None:
    order_id = new_order()
    payment, other = pending(order_id), pending(new_order(), key="pay-2")
    assert stop(order_id) == 1
    fire(POLL, payment.id)
    assert row(payment.id).status == "closed"
    assert row(other.id).status == "pending"


def test_stop_collecting_leaves_captured_payments_alone() -> None:
    order_id = new_order()
    payment = captured(order_id)
    assert stop(order_id) == 0
    assert row(payment.id).status == "captured"


def test_a_payer_faster_than_stop_collecting_is_captured(news: list[Any]) -> None:
    order_id = new_order()
    payment = pending(order_id)
    stop(order_id)
    sandbox.tell(payment.id, "success", times=0)
    fire(POLL, payment.id)
    assert row(payment.id).status == "captured"
    assert [event.payment_id for event in news] == [payment.id]


def test_an_intent_the_provider_never_heard_of_is_closed_at_expiry() -> None:
    order_id = new_order()
    sandbox.fail_next("create", near=order_id)
    with pytest.raises(ServiceUnavailable):
        start(order_id)
    intent = Payment.objects.of_order(order_id).get()
    expire(intent.id)
    fire(POLL, intent.id)
    assert row(intent.id).status == "closed"
    with pytest.raises(PaymentRefused):
        start(order_id)
