from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from payments import services
from payments.models import SandboxCharge
from payments.providers import sandbox
from payments.services.polling import POLL, pause_after
from tests.payments.factories import (
    alerts,
    at_once,
    captured,
    due_at,
    expire,
    fire,
    just_after,
    notice,
    pending,
    receive,
    row,
    signed,
)
from waimai.infra import sharding, timers
from waimai.infra.clock import db_now

pytestmark = pytest.mark.data


def poll(payment_id: int) -> None:
    services.poll_payment(payment_id=payment_id, using=sharding.shard_of_id(payment_id))


def age(payment_id: int, seconds: int) -> None:
    """As if the payment had been started so long ago."""
    payment = row(payment_id)
    past = payment.created_at - timedelta(seconds=seconds)
    type(payment).objects.by_id(payment_id).update(
        created_at=past, expires_at=payment.expires_at - timedelta(seconds=seconds)
    )


def charge(payment_id: int) -> SandboxCharge:
    found: SandboxCharge = SandboxCharge.objects.by_id(payment_id).get()
    return found


def test_the_poller_finds_a_payment_whose_webhook_never_came(news: list[Any]) -> None:
    payment = pending()
    sandbox.tell(payment.id, "success", times=0)
    fire(POLL, payment.id)
    assert (row(payment.id).status, row(payment.id).transaction_id) == ("captured", f"SB{payment.id}")
    assert [event.topic for event in news] == ["payment.captured"]
    assert due_at(POLL, payment.id) is None


def test_the_poller_finds_a_failure(news: list[Any]) -> None:
    payment = pending()
    sandbox.tell(payment.id, "failure", times=0)
    fire(POLL, payment.id)
    assert row(payment.id).status == "failed"
    assert [event.topic for event in news] == ["payment.failed"]


@pytest.mark.parametrize(("seconds", "following"), [(0, 30), (31, 120), (121, 300)])
def test_an_unpaid_payment_is_asked_about_again(seconds: int, following: int) -> None:
    payment = pending()
    age(payment.id, seconds)
    fire(POLL, payment.id)
    assert row(payment.id).status == "pending"
    assert due_at(POLL, payment.id) == row(payment.id).created_at + timedelta(seconds=following)


def test_after_five_minutes_the_next_look_is_at_expiry() -> None:
    payment = pending()
    age(payment.id, 301)
    fire(POLL, payment.id)
    assert due_at(POLL, payment.id) == row(payment.id).expires_at


def test_an_expired_payment_is_closed_here_and_there() -> None:
    payment = pending()
    age(payment.id, 901)
    fire(POLL, payment.id)
    assert (row(payment.id).status, charge(payment.id).state) == ("closed", "closed")
    assert due_at(POLL, payment.id) == row(payment.id).expires_at + timedelta(seconds=120)


def test_the_last_look_ends_the_polling() -> None:
    payment = pending()
    age(payment.id, 901)
    poll(payment.id)
    age(payment.id, 120)
    poll(payment.id)
    assert row(payment.id).status == "closed"
    assert due_at(POLL, payment.id) is None


def test_the_last_look_finds_the_payer_who_was_at_the_till(news: list[Any]) -> None:
    payment = pending()
    age(payment.id, 901)
    poll(payment.id)
    sandbox.tell(payment.id, "success", times=0)
    age(payment.id, 120)
    poll(payment.id)
    assert row(payment.id).status == "captured"
    assert len(news) == 1


def test_a_capture_between_our_question_and_our_note_stands(news: list[Any]) -> None:
    payment = pending()
    expire(payment.id)
    with just_after(sandbox.Sandbox, "close", lambda: receive(payment.id)):
        poll(payment.id)
    assert row(payment.id).status == "captured"
    assert len(news) == 1
    assert due_at(POLL, payment.id) is None


def test_a_payment_given_up_while_the_provider_answers_is_closed_at_once() -> None:
    payment = pending()
    with just_after(sandbox.Sandbox, "query", lambda: expire(payment.id)):
        poll(payment.id)
    assert due_at(POLL, payment.id) <= db_now(sharding.shard_of_id(payment.id))
    fire(POLL, payment.id)
    assert (row(payment.id).status, charge(payment.id).state) == ("closed", "closed")


def test_a_payment_that_stays_open_after_it_expired_is_not_asked_about_without_a_pause() -> None:
    payment = pending()
    notice(payment.id)
    SandboxCharge.objects.by_id(payment.id).update(amount=Decimal("5.60"))
    expire(payment.id)
    fire(POLL, payment.id)
    assert row(payment.id).status == "pending"
    assert due_at(POLL, payment.id) == row(payment.id).expires_at + timedelta(seconds=120)


def test_webhook_and_poller_at_once_capture_once(news: list[Any]) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    webhook = lambda: services.handle_webhook(provider="sandbox", headers=headers, body=body)  # noqa: E731
    assert at_once(webhook, lambda: poll(payment.id), webhook, lambda: poll(payment.id)) == [None] * 4
    assert len(news) == 1
    assert alerts(payment.id) == []


def test_a_provider_that_is_down_is_asked_again_in_half_a_minute() -> None:
    payment = pending()
    sandbox.fail_next("query", near=payment.id)
    asked_at = db_now(sharding.shard_of_id(payment.id))
    fire(POLL, payment.id)
    assert row(payment.id).status == "pending"
    assert timedelta(seconds=29) < due_at(POLL, payment.id) - asked_at < timedelta(seconds=35)
    sandbox.tell(payment.id, "success", times=0)
    fire(POLL, payment.id)
    assert row(payment.id).status == "captured"


def test_the_pauses_grow_with_the_age_of_the_payment() -> None:
    ages = (0, 300, 900, 3600, 86_400, 86_400 * 365)
    assert [pause_after(timedelta(seconds=age)).total_seconds() for age in ages] == [30, 30, 90, 360, 600, 600]


def test_a_provider_that_is_down_for_days_is_asked_for_ever_and_a_person_is_told_once() -> None:
    payment = pending()
    sandbox.fail_next("query", near=payment.id, times=4)
    for days in (0, 3, 0, 0):
        age(payment.id, days * 86_400)
        fire(POLL, payment.id)
        assert due_at(POLL, payment.id) - db_now(sharding.shard_of_id(payment.id)) <= timedelta(minutes=10)
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == ["payment_unsettled"]
    # The provider is back: the payment is closed, looked at once more, and done with.
    sandbox.tell(payment.id, "failure", times=0)
    fire(POLL, payment.id)
    assert (row(payment.id).status, due_at(POLL, payment.id)) == ("failed", None)


def test_a_payment_expired_for_nine_minutes_worries_nobody_yet() -> None:
    payment = pending()
    age(payment.id, 900 + 9 * 60)
    sandbox.fail_next("query", near=payment.id)
    fire(POLL, payment.id)
    assert alerts(payment.id) == []


def test_a_payment_that_no_answer_settles_is_asked_about_for_ever() -> None:
    payment = pending()
    notice(payment.id)
    SandboxCharge.objects.by_id(payment.id).update(amount=Decimal("5.60"))
    age(payment.id, 86_400)
    for _look in range(3):
        fire(POLL, payment.id)
        assert timedelta(minutes=9) < due_at(POLL, payment.id) - db_now(sharding.shard_of_id(payment.id))
    assert alerts(payment.id) == ["wrong_amount", "payment_unsettled"]
    # Somebody gave the money back at the provider.
    SandboxCharge.objects.by_id(payment.id).update(state="closed")
    fire(POLL, payment.id)
    assert (row(payment.id).status, due_at(POLL, payment.id)) == ("closed", None)


def test_a_close_that_failed_is_tried_again_even_after_the_last_look() -> None:
    payment = pending()
    age(payment.id, 2000)
    sandbox.fail_next("close", near=payment.id, times=2)
    for _try in range(3):
        fire(POLL, payment.id)
    assert (row(payment.id).status, charge(payment.id).state) == ("closed", "closed")
    assert due_at(POLL, payment.id) is None


def test_another_amount_at_the_provider_is_an_alert_and_no_capture(news: list[Any]) -> None:
    payment = pending()
    notice(payment.id)
    SandboxCharge.objects.by_id(payment.id).update(amount=Decimal("5.60"))
    fire(POLL, payment.id)
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == ["wrong_amount"]
    assert news == []


def test_a_failed_payment_can_still_turn_out_paid(news: list[Any]) -> None:
    payment = pending()
    receive(payment.id, "failure")
    sandbox.tell(payment.id, "success", times=0)
    fire(POLL, payment.id)
    assert row(payment.id).status == "captured"


def test_a_failed_payment_is_not_closed_at_expiry() -> None:
    payment = pending()
    receive(payment.id, "failure")
    expire(payment.id)
    fire(POLL, payment.id)
    assert row(payment.id).status == "failed"


def test_a_stray_timer_of_a_captured_payment_ends(news: list[Any]) -> None:
    payment = captured()
    using = sharding.shard_of_id(payment.id)
    timers.schedule(POLL, payment.id, due_at=db_now(using), using=using)
    fire(POLL, payment.id)
    assert due_at(POLL, payment.id) is None
    assert len(news) == 1


def test_a_stray_timer_of_no_payment_ends() -> None:
    nobody = pending().id + 1
    using = sharding.shard_of_id(nobody)
    timers.schedule(POLL, nobody, due_at=db_now(using), using=using)
    fire(POLL, nobody)
    assert due_at(POLL, nobody) is None
