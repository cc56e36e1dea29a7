"""What providers tell of refunds by themselves: before, beside and after what our own calls hear."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from payments import services
from payments.errors import WebhookRefused
from payments.models import Payment, Refund, SandboxRefund
from payments.providers import base, sandbox
from payments.providers.base import ProviderRefused, RefundCall
from payments.services.refunding import SEND
from tests.payments.factories import (
    PRICE,
    alerts,
    ask_refund,
    at_once,
    captured,
    due_at,
    fire,
    just_after,
    new_order,
    pending,
    post,
    receive,
    refund_row,
    row,
    signed,
    signed_refund,
)
from waimai.infra import ids, sharding

pytestmark = pytest.mark.data


def on_its_way(payment: Payment) -> int:
    """A refund that the provider has done, while its answer to us was lost."""
    refund_id = ask_refund(payment)
    assert refund_id is not None
    sandbox.fail_next("refund", near=payment.id, mode=sandbox.Fault.LOST_ANSWER)
    fire(SEND, refund_id)
    assert refund_row(refund_id).status == "pending"
    return refund_id


def topics(news: list[Any]) -> list[str]:
    return [event.topic for event in news]


def given_back(payment: Payment) -> list[tuple[int, Any]]:
    """(our number, yuan) of what the provider gave back, by its own books."""
    rows = SandboxRefund.objects.on(sharding.shard_of_id(payment.id)).filter(payment_id=payment.id)
    return list(rows.values_list("refund_id", "amount"))


def console_refund(payment: Payment) -> int:
    """Money given back in the provider's own console, under a number that isn't ours."""
    number = ids.new_id(payment.bucket)
    made = SandboxRefund(
        refund_id=number, bucket=payment.bucket, payment_id=payment.id, amount=PRICE, created_at=payment.created_at
    )
    made.save(using=sharding.shard_of_id(payment.id), force_insert=True)
    return number


def test_a_notice_finishes_the_refund_whose_answer_was_lost(news: list[Any]) -> None:
    refund_id = on_its_way(captured())
    post(*signed_refund(refund_id))
    refund = refund_row(refund_id)
    assert (refund.status, refund.last_error) == ("succeeded", "")
    assert refund.succeeded_at is not None
    assert due_at(SEND, refund_id) is None
    assert topics(news) == ["payment.captured", "refund.succeeded"]
    assert (news[-1].refund_id, news[-1].amount, news[-1].closing) == (refund_id, PRICE, True)


def test_a_notice_that_comes_before_the_answer_of_our_call_is_the_one_effect(news: list[Any]) -> None:
    refund_id = ask_refund(captured()) or 0
    with just_after(sandbox.Sandbox, "refund", lambda: post(*signed_refund(refund_id))):
        fire(SEND, refund_id)
    assert refund_row(refund_id).status == "succeeded"
    assert due_at(SEND, refund_id) is None
    assert topics(news).count("refund.succeeded") == 1


def test_a_notice_during_a_call_that_then_fails_stands(news: list[Any]) -> None:
    refund_id = ask_refund(captured()) or 0
    payment_id = refund_row(refund_id).payment_id
    sandbox.fail_next("refund", near=payment_id, mode=sandbox.Fault.LOST_ANSWER)
    with just_after(sandbox, "_refund", lambda: post(*signed_refund(refund_id))):
        fire(SEND, refund_id)
    assert (refund_row(refund_id).status, refund_row(refund_id).attempts) == ("succeeded", 0)
    assert topics(news).count("refund.succeeded") == 1


def test_a_notice_for_a_refund_the_provider_works_on_finishes_it(
    news: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = captured()
    refund_id = ask_refund(payment) or 0
    original = sandbox.Sandbox.refund

    def work_on_it(self: sandbox.Sandbox, call: RefundCall) -> bool:
        original(self, call)
        return False

    monkeypatch.setattr(sandbox.Sandbox, "refund", work_on_it)
    fire(SEND, refund_id)
    assert refund_row(refund_id).status == "pending"
    post(*signed_refund(refund_id))
    assert (refund_row(refund_id).status, due_at(SEND, refund_id)) == ("succeeded", None)
    assert topics(news).count("refund.succeeded") == 1


def test_the_same_notice_again_and_another_one_of_it_change_nothing(news: list[Any]) -> None:
    payment = captured()
    refund_id = on_its_way(payment)
    first, second = signed_refund(refund_id), signed_refund(refund_id)
    for each in (first, first, second, first):
        post(*each)
    assert topics(news).count("refund.succeeded") == 1
    assert alerts(payment.id) == []


def test_ten_notices_and_three_tries_at_once_are_one_effect(news: list[Any]) -> None:
    payment = captured()
    refund_id = on_its_way(payment)
    same = signed_refund(refund_id)
    notices = [same] * 5 + [signed_refund(refund_id) for _number in range(5)]
    tries = [partial(services.send_refund, refund_id=refund_id, using=sharding.shard_of_id(refund_id))] * 3
    assert at_once(*[partial(post, *each) for each in notices], *tries) == [None] * 13
    assert topics(news).count("refund.succeeded") == 1
    assert given_back(payment) == [(refund_id, PRICE)]
    assert (refund_row(refund_id).status, due_at(SEND, refund_id)) == ("succeeded", None)


def test_two_refunds_of_one_order_told_at_once_close_it_once(news: list[Any]) -> None:
    order_id = new_order()
    payments = [pending(order_id, key="1"), pending(order_id, key="2")]
    for payment in payments:
        receive(payment.id)
    notices = [signed_refund(on_its_way(row(payment.id))) for payment in payments]
    assert at_once(*[partial(post, *each) for each in notices]) == [None, None]
    assert sorted(event.closing for event in news if event.topic == "refund.succeeded") == [False, True]


# --- not about a refund of ours ---


def test_a_refund_we_never_asked_for_moves_nothing_and_calls_a_person_once(news: list[Any]) -> None:
    payment = captured()
    number = console_refund(payment)
    for _again in range(2):
        post(*signed_refund(number))
    assert alerts(payment.id) == ["unknown_refund"]
    assert not Refund.objects.on(sharding.shard_of_id(payment.id)).exists()
    assert topics(news) == ["payment.captured"]


def test_a_refund_of_another_payment_of_ours_is_unknown_here() -> None:
    first, second = captured(key="1"), captured(key="2")
    refund_id = on_its_way(first)
    post(*signed_refund(refund_id, payment=second.id))
    assert alerts(second.id) == ["unknown_refund"]
    assert refund_row(refund_id).status == "pending"


def test_a_refund_of_no_payment_is_an_alert() -> None:
    refund_id = on_its_way(captured())
    stranger = new_order()
    post(*signed_refund(refund_id, payment=stranger))
    assert alerts(stranger) == ["unknown_payment"]
    assert refund_row(refund_id).status == "pending"


@pytest.mark.parametrize("amount", ["0.01", "55.99", "56.01"])
def test_another_amount_is_an_alert_and_the_right_one_still_counts(amount: str) -> None:
    payment = captured()
    refund_id = on_its_way(payment)
    post(*signed_refund(refund_id, amount=amount))
    assert (refund_row(refund_id).status, alerts(payment.id)) == ("pending", ["wrong_amount"])
    post(*signed_refund(refund_id))
    assert refund_row(refund_id).status == "succeeded"


def test_another_merchant_is_an_alert() -> None:
    payment = captured()
    refund_id = on_its_way(payment)
    post(*signed_refund(refund_id, merchant="someone-else"))
    assert (refund_row(refund_id).status, alerts(payment.id)) == ("pending", ["other_merchant"])


def test_a_forged_refund_notice_is_refused() -> None:
    refund_id = on_its_way(captured())
    headers, body = signed_refund(refund_id)
    with pytest.raises(WebhookRefused):
        post(headers, body.replace(b"56.00", b"55.00"))
    assert refund_row(refund_id).status == "pending"


# --- before the news of the payment itself ---


def test_a_refund_told_before_its_payment_is_an_alert_and_the_payment_is_captured_all_the_same(news: list[Any]) -> None:
    payment = pending()
    pay_notice = signed(payment.id)
    post(*signed_refund(console_refund(payment)))
    assert (row(payment.id).status, alerts(payment.id)) == ("pending", ["unknown_refund"])
    post(*pay_notice)
    assert row(payment.id).status == "captured"
    assert topics(news) == ["payment.captured"]


def test_the_notice_of_a_payment_that_is_already_refunded_changes_nothing(news: list[Any]) -> None:
    payment = pending()
    pay_notice, failure = signed(payment.id), signed(payment.id, "failure")
    services.poll_payment(payment_id=payment.id, using=sharding.shard_of_id(payment.id))
    refund_id = on_its_way(row(payment.id))
    post(*signed_refund(refund_id))
    post(*pay_notice)
    post(*failure)
    receive(payment.id)
    assert (row(payment.id).status, refund_row(refund_id).status) == ("captured", "succeeded")
    assert topics(news) == ["payment.captured", "refund.succeeded"]
    assert given_back(payment) == [(refund_id, PRICE)]


# --- one number for ever ---


def test_whatever_happens_every_try_has_the_same_number(news: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CALL_SECONDS", 0.05)
    payment = captured()
    refund_id = ask_refund(payment) or 0
    numbers: list[int] = []
    original = sandbox.Sandbox.refund

    def count(self: sandbox.Sandbox, call: RefundCall) -> bool:
        numbers.append(call.refund_id)
        if len(numbers) == 3:
            raise ProviderRefused("not today")
        return original(self, call)

    monkeypatch.setattr(sandbox.Sandbox, "refund", count)
    faults: list[tuple[sandbox.Fault, float]] = [
        (sandbox.Fault.DOWN, 0),
        (sandbox.Fault.SLOW, 5),
        (sandbox.Fault.LOST_ANSWER, 0),
        (sandbox.Fault.LOST_ANSWER, 0),
    ]
    for mode, seconds in faults:
        sandbox.fail_next("refund", near=payment.id, mode=mode, seconds=seconds)
        fire(SEND, refund_id)
        post(*signed(payment.id))
        assert refund_row(refund_id).status == "pending"
    assert ask_refund(payment) == refund_id
    fire(SEND, refund_id)
    assert refund_row(refund_id).status == "succeeded"
    assert numbers == [refund_id] * 5
    assert given_back(payment) == [(refund_id, PRICE)]
    assert topics(news).count("refund.succeeded") == 1
