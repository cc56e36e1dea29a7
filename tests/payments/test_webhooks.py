from __future__ import annotations

import time
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import time_machine

from payments import services
from payments.errors import WebhookMalformed, WebhookRefused, WebhookTooLarge
from payments.models import PaymentAlert, ProviderTransaction, WebhookReceipt
from payments.providers import sandbox_wire
from payments.services.polling import POLL
from tests.payments.factories import (
    MEI,
    PRICE,
    alerts,
    at_once,
    captured,
    due_at,
    new_order,
    pending,
    post,
    receive,
    row,
    signed,
)
from waimai.infra import outbox, sharding
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound
from waimai.infra.rows import insert_ignore

pytestmark = pytest.mark.data


def test_a_success_captures_the_payment_and_is_told_once(news: list[Any]) -> None:
    order_id = new_order()
    payment = pending(order_id)
    receive(payment.id)
    after = row(payment.id)
    assert (after.status, after.transaction_id) == ("captured", f"SB{payment.id}")
    assert after.captured_at is not None
    (event,) = news
    assert (event.key, event.order_id, event.payment_id, event.user_id) == (order_id, order_id, payment.id, MEI)
    assert (event.amount, event.provider, event.transaction_id) == (PRICE, "sandbox", f"SB{payment.id}")


def test_a_capture_ends_the_polling() -> None:
    payment = captured()
    assert due_at(POLL, payment.id) is None


def test_a_failure_fails_the_payment_and_says_why(news: list[Any]) -> None:
    payment = pending()
    receive(payment.id, "failure")
    assert (row(payment.id).status, row(payment.id).failure) == ("failed", "the payer's bank said no")
    assert [(event.topic, event.reason) for event in news] == [("payment.failed", "the payer's bank said no")]


def test_the_same_notification_again_changes_nothing(news: list[Any]) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    for _again in range(3):
        post(headers, body)
    assert len(news) == 1
    assert WebhookReceipt.objects.on(sharding.shard_of_id(payment.id)).count() == 1


def test_another_notification_of_the_same_success_changes_nothing(news: list[Any]) -> None:
    payment = captured()
    receive(payment.id)
    assert len(news) == 1
    assert alerts(payment.id) == []


def test_ten_copies_at_once_make_one_capture(news: list[Any]) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    assert at_once(*[lambda: post(headers, body)] * 10) == [None] * 10
    assert row(payment.id).status == "captured"
    assert len(news) == 1
    assert ProviderTransaction.objects.on(sharding.shard_of_id(payment.id)).count() == 1


def test_ten_different_notifications_of_one_success_at_once_make_one_capture(news: list[Any]) -> None:
    payment = pending()
    calls = [signed(payment.id, notify_id=f"n{number}") for number in range(10)]
    assert at_once(*[partial(post, *call) for call in calls]) == [None] * 10
    assert len(news) == 1
    assert alerts(payment.id) == []


def test_success_and_failure_at_once_end_captured() -> None:
    payment = pending()
    calls = [signed(payment.id, "success"), signed(payment.id, "failure")]
    at_once(*[partial(post, *call) for call in calls])
    assert row(payment.id).status == "captured"


def test_a_failure_that_comes_after_the_success_changes_nothing(news: list[Any]) -> None:
    payment = pending()
    late = signed(payment.id, "failure")
    receive(payment.id, "success")
    post(*late)
    assert row(payment.id).status == "captured"
    assert [event.topic for event in news] == ["payment.captured"]


def test_a_success_after_a_failure_is_money_all_the_same(news: list[Any]) -> None:
    payment = pending()
    receive(payment.id, "failure")
    receive(payment.id, "success")
    assert (row(payment.id).status, row(payment.id).failure) == ("captured", "")
    assert [event.topic for event in news] == ["payment.failed", "payment.captured"]


def test_what_the_hearer_refuses_captures_nothing_and_can_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = pending()
    headers, body = signed(payment.id)

    def stumble(event: outbox.Event, *, using: str) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setitem(outbox._inside, "payment.captured", [stumble])
        with pytest.raises(ZeroDivisionError):
            post(headers, body)
    assert row(payment.id).status == "pending"
    post(headers, body)
    assert row(payment.id).status == "captured"


# --- forged, old, broken ---


def test_a_notification_without_signature_is_refused() -> None:
    payment = pending()
    _headers, body = signed(payment.id)
    with pytest.raises(WebhookRefused):
        post({}, body)
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize("header", ["X-Sandbox-Timestamp", "X-Sandbox-Nonce", "X-Sandbox-Signature"])
@pytest.mark.parametrize("value", ["", "0", "é", "١٧", "1e9", "-1", "9" * 400])
def test_a_notification_with_a_changed_header_is_refused(header: str, value: str) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    with pytest.raises(WebhookRefused):
        post({**headers, header: value}, body)
    assert row(payment.id).status == "pending"


def test_a_changed_body_is_refused() -> None:
    payment = pending()
    headers, body = signed(payment.id)
    with pytest.raises(WebhookRefused):
        post(headers, body.replace(b"56.00", b"56.01"))


def test_a_signature_with_another_secret_is_refused() -> None:
    payment = pending()
    _headers, body = signed(payment.id)
    with pytest.raises(WebhookRefused):
        post(sandbox_wire.sign(body, secret=b"guessed"), body)


def test_the_secret_of_the_settings_is_the_one_that_counts(settings: Any) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    settings.WAIMAI_SANDBOX_SECRET = "another secret"
    with pytest.raises(WebhookRefused):
        post(headers, body)
    post(sandbox_wire.sign(body, secret=b"another secret"), body)
    assert row(payment.id).status == "captured"


@pytest.mark.parametrize("seconds", [-310, 310, 86_400])
def test_a_notification_from_more_than_five_minutes_away_is_refused(seconds: int) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    with time_machine.travel(time.time() + seconds), pytest.raises(WebhookRefused):
        post(headers, body)
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize("seconds", [-290, 290])
def test_clocks_may_differ_by_almost_five_minutes(seconds: int) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    with time_machine.travel(time.time() + seconds):
        post(headers, body)
    assert row(payment.id).status == "captured"


def test_more_than_64_kilobytes_are_refused_even_when_signed() -> None:
    payment = pending()
    body = b" " * (64 * 1024 + 1)
    with pytest.raises(WebhookTooLarge):
        post(sandbox_wire.sign(body), body)
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize(
    "changes",
    [
        {"payment": "one"},
        {"payment": -1},
        {"payment": 2**53},
        {"payment": 1.5},
        {"amount": 56},
        {"amount": "NaN"},
        {"amount": "-56.00"},
        {"amount": "56"},
        {"notify_id": ""},
        {"notify_id": "n" * 65},
        {"transaction_id": "t" * 65},
        {"transaction_id": ""},
        {"event": "payment.refunded"},
        {"merchant": None},
        {"merchant": "waimai\nsandbox"},
        {"amount": "５６.００"},
        {"amount": "56.00\n"},
        {"notify_id": "N1 "},
        {"notify_id": "通知"},
        {"transaction_id": "T 1"},
        {"refund": "1"},
        {"event": "refund.succeeded"},
        {"event": "refund.succeeded", "refund": 0},
    ],
)
def test_signed_nonsense_is_malformed(changes: dict[str, Any]) -> None:
    payment = pending()
    with pytest.raises(WebhookMalformed):
        receive(payment.id, **changes)
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"payment": 1}', b'{"x":' + b"[" * 60_000])
def test_a_signed_body_that_is_no_notification_is_malformed(body: bytes) -> None:
    with pytest.raises(WebhookMalformed):
        post(sandbox_wire.sign(body), body)


def replaced(old: bytes, new: bytes) -> tuple[dict[str, str], bytes]:
    """A notification that really is signed, with something in its body that its signer never writes."""
    _headers, body = signed(pending().id)
    assert body.count(old) == 1
    body = body.replace(old, new)
    return sandbox_wire.sign(body), body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"amount":"56.00"', b'"amount":"0.01","amount":"56.00"'),
        (b'"event":"payment.captured"', b'"event":"payment.captured","\\u0065vent":"payment.captured"'),
        (b'"reason":""', b'"reason":"","more":[{"a":1,"a":2}]'),
        (b'"reason":""', b'"reason":"\xff"'),
        (b'"reason":""', b'"reason":"\\ud800"'),
        (b'"reason":""', b'"reason":"","deep":' + b"[" * 30_000 + b"]" * 30_000),
        (b'"reason":""', b'"reason":"","long":' + b"9" * 30_000),
    ],
    ids=["a member twice", "twice, spelled differently", "twice within", "no UTF-8", "half a pair", "deep", "long"],
)
def test_what_two_readers_may_read_differently_is_malformed(news: list[Any], old: bytes, new: bytes) -> None:
    with pytest.raises(WebhookMalformed):
        post(*replaced(old, new))
    assert news == []


def test_the_same_in_utf_16_is_malformed() -> None:
    _headers, body = signed(pending().id)
    body = body.decode().encode("utf-16")
    with pytest.raises(WebhookMalformed):
        post(sandbox_wire.sign(body), body)


def test_an_unknown_provider_has_no_webhook() -> None:
    with pytest.raises(NotFound):
        services.handle_webhook(provider="wechat", headers={}, body=b"")


def test_a_provider_that_is_no_longer_offered_has_no_webhook(settings: Any) -> None:
    headers, body = signed(pending().id)
    settings.WAIMAI_PAYMENT_PROVIDERS = []
    with pytest.raises(NotFound):
        post(headers, body)


# --- genuine, but not about a payment of ours ---


@pytest.mark.parametrize("amount", ["0.01", "55.99", "56.01", "5600.00"])
def test_another_amount_is_an_alert_and_no_capture(news: list[Any], amount: str) -> None:
    payment = pending()
    receive(payment.id, amount=amount)
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == ["wrong_amount"]
    assert news == []


def test_ten_copies_of_a_wrong_amount_are_one_alert() -> None:
    payment = pending()
    headers, body = signed(payment.id, amount="0.01")
    at_once(*[lambda: post(headers, body)] * 10)
    assert alerts(payment.id) == ["wrong_amount"]


def test_a_right_amount_after_a_wrong_one_is_captured() -> None:
    payment = pending()
    receive(payment.id, amount="0.01")
    receive(payment.id)
    assert row(payment.id).status == "captured"


def test_another_merchant_is_an_alert_and_no_capture(news: list[Any]) -> None:
    payment = pending()
    receive(payment.id, merchant="someone-else")
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == ["other_merchant"]
    assert news == []


def test_an_unknown_payment_is_an_alert() -> None:
    stranger = new_order()
    receive(pending().id, payment=stranger)
    assert alerts(stranger) == ["unknown_payment"]


def test_a_payment_with_another_provider_is_an_alert_and_no_capture() -> None:
    payment = pending()
    type(payment).objects.by_id(payment.id).update(provider="wechat")
    receive(payment.id)
    assert row(payment.id).status == "pending"
    assert alerts(payment.id) == ["other_provider"]


def test_one_transaction_pays_one_payment(news: list[Any]) -> None:
    first, second = pending(), pending(key="pay-2")
    receive(first.id, transaction_id="T1")
    receive(second.id, transaction_id="T1")
    assert [row(first.id).status, row(second.id).status] == ["captured", "pending"]
    assert alerts(second.id) == ["transaction_reused"]
    assert len(news) == 1


def test_a_second_transaction_for_a_captured_payment_is_an_alert(news: list[Any]) -> None:
    payment = captured()
    receive(payment.id, transaction_id="T2")
    assert row(payment.id).transaction_id == f"SB{payment.id}"
    assert alerts(payment.id) == ["second_transaction"]
    assert len(news) == 1


def test_alerts_say_what_was_found() -> None:
    payment = pending()
    receive(payment.id, amount="0.01")
    alert = PaymentAlert.objects.on(sharding.shard_of_id(payment.id)).get()
    assert alert.detail == f"SB{payment.id}: ¥0.01, expected ¥56.00"
    assert alert.provider == "sandbox"


def test_two_captured_payments_of_one_order_are_both_told(news: list[Any]) -> None:
    order_id = new_order()
    first, second = pending(order_id), pending(order_id, key="pay-2", amount=Decimal("56.00"))
    receive(first.id)
    receive(second.id)
    assert [event.payment_id for event in news] == [first.id, second.id]


def test_notices_whose_numbers_differ_in_case_are_two_notices() -> None:
    rows = [
        {"provider": "p", "notify_id": name, "payment_id": 1, "bucket": 0, "received_at": db_now("orders_0")}
        for name in ("EV-a", "EV-A")
    ]
    assert insert_ignore(WebhookReceipt, rows, using="orders_0") == 2
