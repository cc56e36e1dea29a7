from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import User
from payments import api
from payments.models import Payment, SandboxNotice
from payments.providers import sandbox
from tests.payments.factories import fire, new_order, pending, row, signed, start
from waimai.infra import sharding

pytestmark = pytest.mark.data
WEBHOOK = "/api/v1/payments/webhooks/sandbox/"


@pytest.fixture
def mei() -> User:
    return User.objects.create_user(phone="13800000001", nickname="Mei")


@pytest.fixture
def tao() -> User:
    return User.objects.create_user(phone="13800000002", nickname="Tao")


def payment_of(user: User, *, key: str = "pay-1") -> Payment:
    return pending(new_order(user.pk), user_id=user.pk, key=key)


def bearer(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}


def tell(user: User, payment_id: int, **wish: Any) -> Any:
    address = f"/api/v1/payments/sandbox/{payment_id}/"
    return Client().post(address, wish, content_type="application/json", headers=bearer(user))


def notices(payment_id: int) -> list[tuple[str, int]]:
    rows = SandboxNotice.objects.on(sharding.shard_of_id(payment_id)).filter(payment_id=payment_id)
    return list(rows.order_by("id").values_list("outcome", "times"))


def test_the_payer_tells_the_sandbox(mei: User) -> None:
    payment = payment_of(mei)
    answer = tell(mei, payment.id, outcome="success")
    assert answer.status_code == 202
    assert answer.json() == {"payment": payment.id, "outcome": "success", "delay_seconds": 0.0, "times": 1}
    assert notices(payment.id) == [("success", 1)]


def test_delay_and_repetition_are_passed_on(mei: User) -> None:
    payment = payment_of(mei)
    assert tell(mei, payment.id, outcome="failure", delay_seconds=2.5, times=3).status_code == 202
    (row_,) = SandboxNotice.objects.on(sharding.shard_of_id(payment.id))
    assert (row_.outcome, row_.times, row_.booked) == ("failure", 3, False)


def test_someone_elses_payment_is_not_found(mei: User, tao: User) -> None:
    payment = payment_of(mei)
    answer = tell(tao, payment.id, outcome="success")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert notices(payment.id) == []


@pytest.mark.parametrize("number", [0, 1, 2**53, 2**80])
def test_a_payment_that_does_not_exist_is_not_found(mei: User, number: int) -> None:
    assert tell(mei, number, outcome="success").status_code == 404


def test_nobody_pays_without_logging_in(mei: User) -> None:
    payment = payment_of(mei)
    address = f"/api/v1/payments/sandbox/{payment.id}/"
    answer = Client().post(address, {"outcome": "success"}, content_type="application/json")
    assert answer.status_code == 401
    assert notices(payment.id) == []


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "outcome"),
        ({"outcome": "maybe"}, "outcome"),
        ({"outcome": "success", "delay_seconds": -1}, "delay_seconds"),
        ({"outcome": "success", "delay_seconds": "nan"}, "delay_seconds"),
        ({"outcome": "success", "delay_seconds": "inf"}, "delay_seconds"),
        ({"outcome": "success", "delay_seconds": 86_401}, "delay_seconds"),
        ({"outcome": "success", "times": -1}, "times"),
        ({"outcome": "success", "times": 101}, "times"),
        ({"outcome": "success", "times": 1.5}, "times"),
    ],
)
def test_a_wish_that_makes_no_sense_names_its_field(mei: User, wish: dict[str, Any], field: str) -> None:
    payment = payment_of(mei)
    answer = tell(mei, payment.id, **wish)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    assert list(answer.json()["errors"]) == [field]
    assert notices(payment.id) == []


def test_a_payment_with_another_provider_has_no_sandbox(mei: User) -> None:
    payment = payment_of(mei)
    Payment.objects.by_id(payment.id).update(provider="wechat")
    assert tell(mei, payment.id, outcome="success").status_code == 404


def test_where_the_sandbox_is_not_offered_it_does_not_exist(mei: User, settings: Any) -> None:
    payment = payment_of(mei)
    settings.WAIMAI_PAYMENT_PROVIDERS = []
    assert tell(mei, payment.id, outcome="success").status_code == 404


def test_a_payment_the_gateway_never_heard_of_is_refused(mei: User) -> None:
    order_id = new_order(mei.pk)
    sandbox.fail_next("create", near=order_id)
    with pytest.raises(Exception, match="service_unavailable"):
        start(order_id, user_id=mei.pk)
    intent = Payment.objects.of_order(order_id).get()
    answer = tell(mei, intent.id, outcome="success")
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_refused")


# --- the webhook's door ---


def deliver(headers: dict[str, str], body: bytes, content_type: str = "application/json") -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.post(WEBHOOK, body, content_type=content_type, headers=headers)


def test_a_notification_needs_no_login_and_no_csrf_token() -> None:
    payment = pending()
    answer = deliver(*signed(payment.id))
    assert (answer.status_code, answer.json()) == (200, {"code": "SUCCESS"})
    assert row(payment.id).status == "captured"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    payment = pending()
    assert deliver(*signed(payment.id), content_type).status_code == 200
    assert row(payment.id).status == "captured"


def changed(change: Callable[[dict[str, str]], dict[str, str]]) -> Any:
    headers, body = signed(pending().id)
    return deliver(change(headers), body)


def test_a_forged_notification_is_401() -> None:
    answer = changed(lambda headers: {**headers, "X-Sandbox-Signature": "0" * 64})
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_refused")
    assert answer["Content-Type"] == "application/problem+json"


def test_a_notification_without_headers_is_401() -> None:
    assert changed(lambda headers: {}).status_code == 401


def test_a_login_does_not_make_a_notification_genuine(mei: User) -> None:
    payment = payment_of(mei)
    _headers, body = signed(payment.id)
    assert deliver(bearer(mei), body).status_code == 401
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize("size", [64 * 1024 + 1, 900_000, 2_000_000])
def test_a_long_notification_is_413(size: int) -> None:
    answer = deliver({}, b"x" * size)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_64_kilobytes_are_read() -> None:
    assert deliver({}, b"x" * 64 * 1024).status_code == 401


def test_a_wrong_amount_is_taken_so_that_it_does_not_come_again() -> None:
    payment = pending()
    assert deliver(*signed(payment.id, amount="0.01")).status_code == 200
    assert row(payment.id).status == "pending"


@pytest.mark.parametrize("provider", ["wechat", "alipay", "nobody"])
def test_a_provider_that_is_not_offered_is_404(provider: str) -> None:
    address = f"/api/v1/payments/webhooks/{provider}/"
    assert Client().post(address, b"{}", content_type="application/json").status_code == 404


def test_a_webhook_is_posted_to() -> None:
    assert Client().get(WEBHOOK).status_code == 405


# --- from the payer's wish to the captured payment ---


def test_the_wish_becomes_a_capture(mei: User, server: Any) -> None:
    payment = payment_of(mei)
    tell(mei, payment.id, outcome="success", times=3)
    (number,) = SandboxNotice.objects.on(sharding.shard_of_id(payment.id)).values_list("id", flat=True)
    fire(sandbox.NOTIFY, number)
    assert row(payment.id).status == "captured"


def test_both_calls_stand_in_the_openapi_document() -> None:
    document = Client().get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    till = document["paths"]["/api/v1/payments/sandbox/{payment_id}/"]["post"]
    hook = document["paths"]["/api/v1/payments/webhooks/{provider}/"]["post"]
    assert set(till["responses"]) >= {"202"}
    assert "security" not in hook  # Its signature is its proof.
    wish = document["components"]["schemas"]["SandboxRequestRequest"]["properties"]
    assert wish["times"]["maximum"] == api.MOST_CALLS
