"""What a customer gets who asks for all that is kept: everything of theirs, nothing of anybody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client

from menu.services import LineRequest
from orders import exporting, services
from tests.factories import Person, Stall, down, paid, placed
from waimai.infra.sharding import shard_of_user

EXPORTED = {"accounts.Address", "payments.Payment", "orders.Order", "orders.CartLine"}
LEFT_OUT = {
    "admin.LogEntry": "what staff did in the admin: the shop's books",
    "token_blacklist.OutstandingToken": "keys, and who has them can use them",
    "otp_totp.TOTPDevice": "a secret of staff",
    "infra.IdempotencyKey": "numbers by which a request is known again; gone after days",
    "accounts.ClosedAccount": "that somebody left; nobody can ask any more",
    "accounts.LoginSession": "when somebody logged in; gone with the tokens",
    "accounts.Membership": "staff's work",
    "orders.OrderChange": "in each order's timeline, without the numbers of staff",
    "orders.Amendment": "in each order, without the numbers of staff",
    "orders.Cart": "a version; its lines are there",
    "desk.DeskOrder": "a copy of the order",
}


def names_a_user(model: Any) -> bool:
    fields = [each for each in model._meta.get_fields() if hasattr(each, "attname")]
    numbers = {"user_id", "actor_id", "proposed_by"}
    return any(each.attname in numbers or each.related_model is get_user_model() for each in fields)


def test_no_table_of_people_is_forgotten() -> None:
    found = {model._meta.label for model in apps.get_models() if names_a_user(model)}
    assert found == EXPORTED | set(LEFT_OUT)


@pytest.mark.data
def test_everything_is_in_it_and_nothing_of_others(
    stall: Stall, mei: Person, tao: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "ORDERS_AT_ONCE", 2)
    mine = [placed(mei, stall, key=str(n), note="少辣") for n in range(3)]
    gone = paid(mei, stall, key="paid")
    services.cancel(order_id=gone, user_id=mei.id, reason="点错了")
    others = paid(tao, stall, key="others")
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=LineRequest(stall.rice, 2))

    answer = _client(mei).post("/me/data/")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="waimai.json"'
    text = answer.getvalue().decode()
    data = json.loads(text)
    assert data["profile"]["phone"] == mei.user.phone
    assert [each["id"] for each in data["addresses"]] == [mei.address_id]
    assert [(each["item_id"], each["quantity"]) for each in data["cart"]] == [(stall.rice, 2)]
    assert [each["id"] for each in data["orders"]] == [gone, *reversed(mine)]
    assert data["orders"][1]["note"] == "少辣"
    newest = data["orders"][0]
    assert [each["amount"] for each in newest["payments"]] == [each["amount"] for each in newest["refunds"]] != []
    assert [each["reason"] for each in newest["timeline"]][-1] == "点错了"
    assert str(others) not in text
    assert str(tao.user.phone) not in text


@pytest.mark.data
def test_without_orders_it_is_json_too(mei: Person) -> None:
    assert json.loads("".join(services.my_data(user_id=mei.id)))["orders"] == []


@pytest.mark.data
def test_a_few_a_day_are_enough(mei: Person, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    client = _client(mei)
    for _time in range(3):
        assert client.post("/me/data/").status_code == 200
    assert client.post("/me/data/").headers["Location"] == "/me/"
    assert client.get("/me/").content.decode().count("后再试") == 1


@pytest.mark.data
def test_while_the_shard_is_away_there_is_no_half_file(mei: Person) -> None:
    with down(shard_of_user(mei.id)):
        assert _client(mei).post("/me/data/").status_code == 503


@pytest.mark.data
def test_a_stranger_is_asked_to_log_in() -> None:
    assert Client().post("/me/data/").headers["Location"].startswith("/login/")


def _client(who: Person) -> Client:
    client = Client()
    client.force_login(who.user)
    return client
