from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import User
from payments import services
from payments.models import Payment, SandboxNotice
from tests.payments.factories import new_order, pending, receive
from waimai.infra import sharding

pytestmark = pytest.mark.data
TOO_LATE = "订单已取消或超时，现在付款会原路退回。"


@pytest.fixture
def mei() -> User:
    return User.objects.create_user(phone="13800000001", nickname="Mei")


@pytest.fixture
def client(mei: User) -> Client:
    """Mei's browser."""
    browser = Client(headers={"Accept-Language": "zh-hans"})
    browser.force_login(mei)
    return browser


@pytest.fixture
def payment(mei: User) -> Payment:
    return pending(new_order(mei.pk), user_id=mei.pk)


def till(payment: Payment) -> str:
    return f"/pay/sandbox/{payment.id}/"


def told(payment: Payment) -> list[str]:
    rows = SandboxNotice.objects.on(sharding.shard_of_id(payment.id)).filter(payment_id=payment.id)
    return list(rows.order_by("id").values_list("outcome", flat=True))


def test_the_till_shows_the_amount_and_two_buttons(client: Client, payment: Payment) -> None:
    page = client.get(till(payment))
    assert page.status_code == 200
    text = page.content.decode()
    assert "支付 ¥56.00" in text
    assert 'value="success"' in text
    assert 'value="failure"' in text
    assert "no-store" in page["Cache-Control"]


@pytest.mark.parametrize(("outcome", "pressed"), [("success", "paid"), ("failure", "failed")])
def test_a_button_tells_the_sandbox_and_leads_back_to_the_order(
    client: Client, payment: Payment, outcome: str, pressed: str
) -> None:
    with time_machine.travel(datetime(2026, 3, 2, 10, 7, 5, tzinfo=UTC), tick=False):
        client.force_login(User.objects.get(pk=payment.user_id))
        answer = client.post(till(payment), {"outcome": outcome})
    assert (answer.status_code, answer["Location"]) == (302, f"/orders/{payment.order_id}/?{pressed}=1772446025")
    assert told(payment) == [outcome]


@pytest.mark.parametrize("form", [{}, {"outcome": ""}, {"outcome": "maybe"}])
def test_a_press_on_no_button_shows_the_till_again(client: Client, payment: Payment, form: dict[str, Any]) -> None:
    assert client.post(till(payment), form).status_code == 400
    assert told(payment) == []


def test_a_paid_payment_offers_no_buttons(client: Client, payment: Payment) -> None:
    receive(payment.id)
    text = client.get(till(payment)).content.decode()
    assert "这笔订单已经支付" in text
    assert 'value="success"' not in text


def test_a_till_in_time_warns_of_nothing(client: Client, payment: Payment) -> None:
    assert TOO_LATE not in client.get(till(payment)).content.decode()


def test_a_till_of_an_order_given_up_says_that_money_goes_back(client: Client, payment: Payment) -> None:
    using = sharding.shard_of_id(payment.id)
    with sharding.atomic_of_id(payment.id):
        services.stop_collecting(order_ids=[payment.order_id], using=using)
    assert TOO_LATE in client.get(till(payment)).content.decode()


def test_a_closed_till_says_that_money_goes_back(client: Client, payment: Payment) -> None:
    Payment.objects.by_id(payment.id).update(status="closed")
    assert TOO_LATE in client.get(till(payment)).content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_someone_elses_till_is_not_found(payment: Payment, method: str) -> None:
    tao = Client()
    tao.force_login(User.objects.create_user(phone="13800000002"))
    assert getattr(tao, method)(till(payment), {"outcome": "success"}).status_code == 404
    assert told(payment) == []


def test_the_till_asks_for_a_login(payment: Payment) -> None:
    answer = Client().get(till(payment))
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={till(payment)}"


def test_a_press_from_another_site_is_refused(mei: User, payment: Payment) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(mei)
    assert browser.post(till(payment), {"outcome": "success"}).status_code == 403
    assert told(payment) == []


def test_without_the_sandbox_there_is_no_till_to_press(client: Client, payment: Payment, settings: Any) -> None:
    settings.WAIMAI_PAYMENT_PROVIDERS = []
    assert client.post(till(payment), {"outcome": "success"}).status_code == 404
