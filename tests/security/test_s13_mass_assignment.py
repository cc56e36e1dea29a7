"""What a client may not set isn't set, whatever it sends along."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import Address, User
from orders.models import Order
from payments.models import Payment
from tests import factories
from tests.accounts.factories import MEI, PASSWORD, Api, address_body, customer
from tests.factories import Person, Stall, placed, wish
from tests.fixtures import mei, stall, tao

__all__ = ["mei", "stall", "tao"]
pytestmark = pytest.mark.data


def greedy(tao: Person) -> dict[str, Any]:
    """Everything that somebody might wish for."""
    return {
        "id": 1, "pk": 1, "user": tao.id, "user_id": tao.id, "owner": tao.id, "status": "completed", "bucket": 7,
        "payment_status": "paid", "total": "0.01", "amount": "0.01", "shop_name": "我的", "paid_at": "2020-01-01T00Z",
        "expires_at": "2099-01-01T00:00:00Z", "created_at": "2020-01-01T00:00:00Z", "version": 99, "limited": False,
        "is_staff": True, "is_superuser": True, "is_active": True, "username": "admin2", "openid": "o-1", "groups": [1],
        "user_permissions": [1], "roles": ["manager"], "date_joined": "2020-01-01T00:00:00Z", "has_password": False,
    }  # fmt: skip


def test_s13_a_profile_takes_a_nickname(mei: Person, tao: Person) -> None:
    before: dict[str, Any] = dict(User.objects.filter(pk=mei.id).values().get())
    assert mei.api.patch("me/", greedy(tao) | {"nickname": "小梅", "phone": "13911119999"}).status_code == 200
    after: dict[str, Any] = dict(User.objects.filter(pk=mei.id).values().get())
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"nickname", "last_login"}
    client = Client()
    client.force_login(mei.user)
    client.post("/me/", greedy(tao) | {"nickname": "梅梅"})
    now = User.objects.get(pk=mei.id)
    assert (now.nickname, now.is_staff, now.is_superuser, now.phone) == ("梅梅", False, False, MEI)


def test_s13_an_address_stays_its_owners(mei: Person, tao: Person) -> None:
    made = mei.api.post("addresses/", greedy(tao) | address_body(detail="新家 1 号"))
    number = made.json()["id"]  # type: ignore[attr-defined]
    assert (made.status_code, number != 1 or Address.objects.get(pk=1).user_id == mei.id) == (201, True)
    mei.api.patch(f"addresses/{number}/", greedy(tao) | {"detail": "新家 2 号"})
    assert Address.objects.get(pk=number).user_id == mei.id
    assert Address.objects.filter(user=tao.user).count() == 1


def test_s13_an_order_and_its_payment_are_the_servers(mei: Person, tao: Person, stall: Stall) -> None:
    answer = mei.api.post("orders/", greedy(tao) | wish(mei, stall), Idempotency_Key="k")
    document = answer.json()  # type: ignore[attr-defined]
    order = factories.order(document["id"])
    assert (answer.status_code, order.user_id, order.status, str(order.total)) == (
        201,
        mei.id,
        "pending_payment",
        "63.00",
    )
    assert (order.payment_status, order.version, order.shop_name) == ("unpaid", 1, "川味小馆")
    pay = mei.api.post(f"orders/{order.pk}/pay/", greedy(tao) | {"provider": "sandbox"}, Idempotency_Key="p")
    payment = Payment.objects.by_id(pay.json()["payment"]).get()  # type: ignore[attr-defined]
    assert (payment.user_id, str(payment.amount), payment.status) == (mei.id, "63.00", "pending")


def test_s13_actions_on_an_order_take_their_reason_only(mei: Person, tao: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    before = Order.objects.by_id(order_id).values().get()
    for action in ("remind", "reorder", "cancel"):
        mei.api.post(f"orders/{order_id}/{action}/", greedy(tao) | {"reason": "不要了"})
    after = Order.objects.by_id(order_id).values().get()
    moved = {name for name in before if before[name] != after[name]}
    assert after["status"] == "cancelled"
    assert moved.isdisjoint({"user_id", "total", "id", "bucket", "shop_name", "shop_id", "payment_status", "paid_at"})


def test_s13_nobody_logs_in_as_staff_by_wishing(tao: Person) -> None:
    customer("13911110005")
    body = greedy(tao) | {"phone": "13911110005", "password": PASSWORD}
    assert Api().post("auth/login/", body).status_code == 200
    user = User.objects.get(phone="13911110005")
    assert (user.is_staff, user.is_superuser, user.username) == (False, False, None)


def test_s13_a_cart_is_the_callers(mei: Person, tao: Person, stall: Stall) -> None:
    lines = f"shops/{stall.shop_id}/cart/lines/"
    assert mei.api.post(lines, greedy(tao) | {"item": stall.fish, "quantity": 1, "options": []}).status_code == 201
    assert tao.api.get(f"shops/{stall.shop_id}/cart/").json()["lines"] == []  # type: ignore[attr-defined]
    (line,) = mei.api.get(f"shops/{stall.shop_id}/cart/").json()["lines"]  # type: ignore[attr-defined]
    assert line["unit_price"] == "56.00"
