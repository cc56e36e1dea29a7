"""Prices, fees, totals and quantities are the server's: what a client says of them is checked or not read at all."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from menu.models import Item, Option
from tests import factories
from tests.factories import Person, Stall, audit, keys_of, orders_of, wish
from tests.fixtures import mei, stall, tao
from tests.menu.factories import make_group

__all__ = ["mei", "stall", "tao"]
pytestmark = pytest.mark.data
TOTAL = Decimal("63.00")
QUANTITIES = """0 -1 1e9 1.5 "1e3" NaN Infinity -Infinity "２" "٣" true false null "" [1] {} 100
99999999999999999999 "0x10" "1_0" "one" 1e-3""".split()  # noqa: SIM905 - as they stand in JSON


def place_raw(who: Person, body: str, key: str) -> tuple[int, dict[str, Any]]:
    headers = who.api.headers | {"Idempotency-Key": key}
    answer = Client().post("/api/v1/orders/", body, content_type="application/json", headers=headers)
    return answer.status_code, json.loads(answer.content)


def nothing_happened(who: Person) -> None:
    assert (orders_of(who), keys_of(who)) == ([], [])
    assert audit() == []


def test_s03_a_quantity_is_a_whole_number_from_one_to_ninety_nine(mei: Person, stall: Stall) -> None:
    body = json.dumps(wish(mei, stall))
    answers = {
        text: place_raw(mei, body.replace('"quantity": 1', f'"quantity": {text}'), f"k-{n}")[0]
        for n, text in enumerate(QUANTITIES)
    }
    assert answers == dict.fromkeys(QUANTITIES, 400)
    nothing_happened(mei)


def test_s03_nor_does_a_cart_take_another(mei: Person, stall: Stall) -> None:
    lines = f"/api/v1/shops/{stall.shop_id}/cart/lines/"
    answers = {}
    for text in QUANTITIES:
        body = f'{{"item": {stall.fish}, "options": [], "quantity": {text}}}'
        answers[text] = Client().post(lines, body, content_type="application/json", headers=mei.api.headers).status_code
    # A hundred is a number, but more than a cart holds.
    assert {text for text, status in answers.items() if status not in {400, 409}} == set()
    assert mei.api.get(f"shops/{stall.shop_id}/cart/").json()["lines"] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("quantity", ["0", "-1", "1.5", "1e9", "NaN", "100", "", "x"])
def test_s03_nor_a_form(mei: Person, stall: Stall, quantity: str) -> None:
    client = Client()
    client.force_login(mei.user)
    client.post(f"/shops/{stall.shop_id}/cart/add/", {"item": stall.fish, "quantity": quantity})
    assert mei.api.get(f"shops/{stall.shop_id}/cart/").json()["lines"] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "lie",
    [
        {"total": "0.01"},
        {"goods_total": "0.01", "delivery_fee": "0", "packing_fee": "0"},
        {"discount": "62.99", "coupon": "FREE"},
        {"price": "0.01"},
        {"lines_total": "-1"},
    ],
)
def test_s03_what_it_costs_is_not_read(mei: Person, stall: Stall, lie: dict[str, Any]) -> None:
    body = wish(mei, stall) | lie
    body["lines"] = [line | {"price": "0.01", "discount": "55.99"} | lie for line in body["lines"]]
    status, document = place_raw(mei, json.dumps(body), "k")
    assert (status, document["total"], document["lines"][0]["unit_price"]) == (201, "63.00", "56.00")
    assert factories.order(document["id"]).total == TOTAL


@pytest.mark.parametrize("shown", ["0.01", "62.99", "63.01", "630", "-63.00"])
def test_s03_a_total_that_was_not_shown_is_refused_with_the_right_one(mei: Person, stall: Stall, shown: str) -> None:
    status, document = place_raw(mei, json.dumps(wish(mei, stall, shown_total=shown)), "k")
    assert (status, document["code"]) in {(409, "total_changed"), (400, "validation_error")}
    if status == 409:
        assert document["total"] == "63.00"
    nothing_happened(mei)


@pytest.mark.parametrize("shown", ["NaN", "Infinity", "1e999", "６２", "0x3F", "63.000001", "x"])
def test_s03_a_total_that_is_no_amount_is_refused(mei: Person, stall: Stall, shown: str) -> None:
    status, _document = place_raw(mei, json.dumps(wish(mei, stall, shown_total=shown)), "k")
    assert status in {400, 409}
    nothing_happened(mei)


def test_s03_options_are_those_of_the_dish(mei: Person, stall: Stall) -> None:
    make_group(Item.objects.get(pk=stall.tofu), "减价", {"学生": "-17.00"})
    cheaper = Option.objects.get(name="学生").pk
    for n, options in enumerate(([cheaper], [cheaper, cheaper], [10**9], [-1], ["1"], [None], {"a": 1})):
        body = wish(mei, stall)
        body["lines"][0]["options"] = options
        status, document = place_raw(mei, json.dumps(body), f"k-{n}")
        assert (status in {400, 409}, "code" in document) == (True, True), options
    nothing_happened(mei)


def test_s03_nothing_of_others_is_ordered_or_delivered_to(mei: Person, tao: Person, stall: Stall) -> None:
    other = factories.stall("隔壁")
    bodies = {
        "a dish of another shop": wish(mei, stall, (other.fish, 1)),
        "a dish that isn't there": wish(mei, stall, (10**9, 1)),
        "somebody else's address": wish(mei, stall, address=tao.address_id),
        "a shop that isn't there": wish(mei, stall, shop=10**9),
    }
    answers = {name: place_raw(mei, json.dumps(body), name.replace(" ", "-"))[0] for name, body in bodies.items()}
    assert all(status in {400, 404, 409} for status in answers.values()), answers
    nothing_happened(mei)


def test_s03_the_checkout_page_recomputes(mei: Person, stall: Stall) -> None:
    client = Client()
    client.force_login(mei.user)
    client.post(f"/shops/{stall.shop_id}/cart/add/", {"item": stall.fish, "quantity": 1})
    page = f"/shops/{stall.shop_id}/checkout/"
    form = {"address": mei.address_id, "cart_version": 1, "shown_total": "0.01", "total": "0.01", "deliver_at": ""}
    assert client.post(page, form).status_code != 302
    nothing_happened(mei)
