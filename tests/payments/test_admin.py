from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from payments.providers import sandbox
from payments.services.refunding import SEND
from tests.payments.factories import MEI, ask_refund, captured, due_at, fire, pending, receive
from waimai.infra import sharding
from waimai.infra.clock import db_now

pytestmark = pytest.mark.data


@pytest.fixture
def chief() -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("chief", "a-long-password"))
    return browser


def listed(chief: Client, table: str, shard: str | None = None) -> str:
    page = chief.get(f"/admin/payments/{table}/", {"database": shard or sharding.shard_of_user(MEI)})
    assert page.status_code == 200
    return page.content.decode()


def test_payments_are_listed_on_their_shard_only(chief: Client) -> None:
    payment = captured()
    here = sharding.shard_of_id(payment.id)
    (elsewhere,) = set(sharding.shards()) - {here}
    assert str(payment.id) in listed(chief, "payment", here)
    assert str(payment.id) not in listed(chief, "payment", elsewhere)


@pytest.mark.parametrize("by", ["id", "order_id", "transaction_id"])
def test_a_payment_is_found_by_its_numbers(chief: Client, by: str) -> None:
    payment, other = captured(), captured(key="2")
    wanted = {"q": getattr(payment, by), "database": sharding.shard_of_id(payment.id)}
    text = chief.get("/admin/payments/payment/", wanted).content.decode()
    assert f"/payment/{payment.id}/change" in text
    assert f"/payment/{other.id}/change" not in text


def test_a_payment_is_looked_at_and_not_changed(chief: Client) -> None:
    payment = captured()
    page = chief.get(f"/admin/payments/payment/{payment.id}/change/")
    assert f"SB{payment.id}" in page.content.decode()
    assert 'name="_save"' not in page.content.decode()
    assert 'name="amount"' not in page.content.decode()


def test_alerts_are_listed(chief: Client) -> None:
    payment = pending()
    receive(payment.id, amount="0.01")
    assert "expected ¥56.00" in listed(chief, "paymentalert")


def test_a_refund_that_waits_is_sent_at_once_by_the_button(chief: Client) -> None:
    payment = captured()
    refund_id = ask_refund(payment) or 0
    sandbox.fail_next("refund", near=payment.id)
    fire(SEND, refund_id)
    assert "refund is down" in listed(chief, "refund")
    using = sharding.shard_of_id(refund_id)
    answer: Any = chief.post(
        f"/admin/payments/refund/?database={using}", {"action": "send_now", "_selected_action": [refund_id]}
    )
    assert answer.status_code == 302
    assert due_at(SEND, refund_id) <= db_now(using)
