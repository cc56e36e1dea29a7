from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

import menu.services
from orders import saga, services
from tests.accounts.factories import problem, read
from tests.factories import (
    Person,
    Stall,
    crash_before,
    down,
    keys_of,
    lines,
    neighbour_of,
    nothing_stored,
    orders_of,
    other_shard,
    saga_due,
    stock,
    wish,
)

pytestmark = pytest.mark.data


def post(who: Person, body: Any, key: str = "k-1") -> Any:
    return who.api.post("orders/", body, Idempotency_Key=key)


def test_an_order_is_answered_whole(mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, note="不要葱", tableware=2, shown_total="63.00"))
    document = read(answer)
    (line,), (begun,) = document.pop("lines"), document.pop("timeline")
    assert answer.status_code == 201
    placed_at = datetime.fromisoformat(document.pop("placed_at"))
    assert datetime.fromisoformat(document.pop("expires_at")) - placed_at == timedelta(seconds=900)
    assert placed_at.utcoffset() == timedelta(0)
    assert document == {
        "id": orders_of(mei)[0],
        "shop": stall.shop_id,
        "shop_name": "川味小馆",
        "status": "pending_payment",
        "payment_status": "unpaid",
        "goods_total": "56.00",
        "packing_fee": "1.00",
        "delivery_fee": "6.00",
        "total": "63.00",
        "refunded_part": "0.00",
        "net_total": "63.00",
        "amendments": [],
        "contact": {
            "name": "梅",
            "phone": "13911110001",
            "address": "北京市朝阳区建国路 88 号",
            "latitude": "39.915000",
            "longitude": "116.455000",
        },
        "note": "不要葱",
        "tableware": 2,
        "deliver_at": None,
        "promised_at": None,
        "allowed_actions": ["pay", "cancel"],
    }
    assert (begun["status"], begun["actor"], begun["reason"]) == ("pending_payment", "customer", "")
    assert line == {
        "n": 1,
        "item": stall.fish,
        "kind": "dish",
        "name": "酸菜鱼",
        "quantity": 1,
        "unit_price": "56.00",
        "amount": "56.00",
        "options": [],
        "components": [],
        "image": None,
    }


def test_no_replay_says_it_is_none(mei: Person, stall: Stall) -> None:
    assert "Idempotent-Replayed" not in post(mei, wish(mei, stall))


def test_the_cart_is_ordered_when_no_lines_are_sent(mei: Person, stall: Stall) -> None:
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=lines((stall.fish, 2))[0])
    answer = post(mei, wish(mei, stall, lines=...))
    assert (answer.status_code, read(answer)["goods_total"]) == (201, "112.00")
    assert read(mei.api.get(f"shops/{stall.shop_id}/cart/"))["lines"] == []


def test_null_lines_are_the_cart_too(mei: Person, stall: Stall) -> None:
    assert problem(post(mei, wish(mei, stall, lines=None))) == (400, "cart_empty")


def test_an_empty_list_is_no_order(mei: Person, stall: Stall) -> None:
    assert problem(post(mei, wish(mei, stall, lines=[]))) == (400, "cart_empty")


# --- refusals, each with its code; none binds the key ---


@pytest.mark.parametrize("quantity", [0, -1, 100, 10**9, 1.5, "2", "1e3", "２", True, None, [], {}])
def test_a_quantity_that_is_none(quantity: Any, mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, lines=[{"item": stall.fish, "quantity": quantity}]))
    assert problem(answer) == (400, "validation_error")
    assert list(read(answer)["errors"]["lines"]["0"]) == ["quantity"]
    assert nothing_stored(mei)


@pytest.mark.parametrize("quantity", ["1e9", "NaN", "Infinity", "1e400", "-0.0"])
def test_a_number_that_is_none(quantity: str, mei: Person, stall: Stall) -> None:
    body = json.dumps(wish(mei, stall, lines=[{"item": stall.fish, "quantity": "Q"}])).replace('"Q"', quantity)
    headers = mei.api.headers | {"Idempotency-Key": "k-1"}
    answer: Any = mei.api.client.generic(
        "POST", "/api/v1/orders/", body, content_type="application/json", headers=headers
    )
    status, code = problem(answer)
    assert (status, code) in [(400, "validation_error"), (400, "malformed_request")]
    assert nothing_stored(mei)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("shop", "1"),
        ("shop", 0),
        ("shop", 2**53),
        ("shop", ...),
        ("address", True),
        ("address", ...),
        ("note", "长" * 201),
        ("note", {"a": 1}),
        ("tableware", -1),
        ("tableware", 100),
        ("tableware", "2"),
        ("deliver_at", "tomorrow"),
        ("shown_total", "-1.00"),
        ("shown_total", "63.001"),
        ("shown_total", "abc"),
        ("shown_total", "NaN"),
        ("lines", "fish"),
        ("lines", {"item": 1}),
        ("lines", [7]),
        ("lines", [{"quantity": 1}]),
        ("lines", [{"item": 1, "quantity": 1, "options": ["1"]}]),
        ("lines", [{"item": 1, "quantity": 1}] * 51),
    ],
)
def test_a_member_that_makes_no_sense_is_named(member: str, value: Any, mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, **{member: value}))
    assert problem(answer) == (400, "validation_error")
    assert list(read(answer)["errors"]) == [member]
    assert nothing_stored(mei)


@pytest.mark.parametrize("member", ["status", "user_id", "total", "payment_status", "id", "delivery_fee", "key"])
def test_what_the_caller_may_not_set_is_passed_over(member: str, mei: Person, stall: Stall) -> None:
    document = read(post(mei, wish(mei, stall, **{member: "1"})))
    assert (document["status"], document["total"], document["delivery_fee"]) == ("pending_payment", "63.00", "6.00")
    assert orders_of(mei) == [document["id"]]


def test_the_right_total_is_told(mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, shown_total="1.00"))
    assert problem(answer) == (409, "total_changed")
    assert read(answer)["total"] == "63.00"


def test_a_closed_shop_says_so(mei: Person, stall: Stall) -> None:
    menu.services.set_open(shop_id=stall.shop_id, is_open=False)
    assert problem(post(mei, wish(mei, stall))) == (409, "shop_closed")


def test_what_is_off_sale_is_named(mei: Person, stall: Stall) -> None:
    menu.services.stop_selling(item_ids=[stall.fish])
    answer = post(mei, wish(mei, stall))
    assert problem(answer) == (409, "item_unavailable")
    assert read(answer)["items"][0]["name"] == "酸菜鱼"


def test_what_is_missing_to_the_minimum_is_told(mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, (stall.rice, 3)))
    assert (problem(answer), read(answer)["missing"]) == ((409, "below_minimum"), "14.00")


def test_an_option_that_does_not_fit(mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, lines=[{"item": stall.fish, "quantity": 1, "options": [999]}]))
    assert problem(answer) == (400, "option_invalid")


def test_a_time_that_has_passed(mei: Person, stall: Stall) -> None:
    answer = post(mei, wish(mei, stall, deliver_at="2024-01-01T12:00:00+08:00"))
    assert problem(answer) == (400, "delivery_time_invalid")


def test_someone_elses_address_is_not_found(mei: Person, tao: Person, stall: Stall) -> None:
    assert problem(post(mei, wish(mei, stall, address=tao.address_id))) == (404, "not_found")
    assert nothing_stored(mei)


def test_a_shop_that_is_not_there(mei: Person, stall: Stall) -> None:
    assert problem(post(mei, wish(mei, stall, shop=987654321))) == (404, "not_found")


def test_a_key_is_needed(mei: Person, stall: Stall) -> None:
    assert problem(mei.api.post("orders/", wish(mei, stall))) == (400, "idempotency_key_required")
    assert nothing_stored(mei)


# --- keys ---


def test_the_same_request_again_hears_the_same_to_the_letter(mei: Person, stall: Stall) -> None:
    first, again = post(mei, wish(mei, stall)), post(mei, wish(mei, stall))
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert len(orders_of(mei)) == 1


def test_it_hears_the_same_whatever_became_of_the_order(mei: Person, stall: Stall) -> None:
    first = post(mei, wish(mei, stall))
    services.cancel(order_id=read(first)["id"], user_id=mei.id)
    menu.services.set_open(shop_id=stall.shop_id, is_open=False)
    again = post(mei, wish(mei, stall))
    assert (again.status_code, again.content) == (201, first.content)


def test_a_limited_order_is_replayed_to_the_letter(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    first, again = post(mei, wish(mei, stall)), post(mei, wish(mei, stall))
    assert (again.status_code, again.content) == (201, first.content)
    assert stock(stall.fish) == (4, 1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"note": "不要葱"},
        {"tableware": 0},
        {"shown_total": "63.00"},
        {"lines": []},
        {"lines": ...},
        {"deliver_at": "2099-01-01T00:00:00Z"},
        {"address": 1},
    ],
    ids=str,
)
def test_the_same_key_with_another_body_is_refused(change: dict[str, Any], mei: Person, stall: Stall) -> None:
    post(mei, wish(mei, stall))
    assert problem(post(mei, wish(mei, stall, **change))) == (422, "idempotency_key_reused")
    assert len(orders_of(mei)) == 1


def test_a_body_that_means_the_same_is_the_same(mei: Person, stall: Stall) -> None:
    first = post(mei, wish(mei, stall, shown_total="63.00"))
    twin = {**wish(mei, stall, shown_total=63.0), "note": "", "tableware": 1, "deliver_at": None}
    assert post(mei, twin).content == first.content


def test_another_key_is_another_order(mei: Person, stall: Stall) -> None:
    post(mei, wish(mei, stall), "k-1")
    post(mei, wish(mei, stall), "k-2")
    assert len(orders_of(mei)) == 2


def test_two_people_may_use_one_key(mei: Person, tao: Person, stall: Stall) -> None:
    first, second = post(mei, wish(mei, stall)), post(tao, wish(tao, stall))
    assert (first.status_code, second.status_code) == (201, 201)
    assert read(first)["id"] != read(second)["id"]


def test_a_refused_request_may_keep_its_key(mei: Person, stall: Stall) -> None:
    assert problem(post(mei, wish(mei, stall, shown_total="1.00"))) == (409, "total_changed")
    assert keys_of(mei) == []
    assert post(mei, wish(mei, stall, shown_total="63.00")).status_code == 201


def test_sold_out_is_an_answer_that_stays(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=0)
    first = post(mei, wish(mei, stall))
    menu.services.set_stock(item_id=stall.fish, available=5)
    again = post(mei, wish(mei, stall))
    assert problem(first) == (409, "sold_out")
    assert read(first)["items"] == [{"id": stall.fish, "name": "酸菜鱼", "available": 0}]
    assert (again.status_code, again.content) == (409, first.content)
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    assert post(mei, wish(mei, stall), "k-2").status_code == 201


def test_while_the_first_still_runs_the_second_waits(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    with crash_before(saga, "reserve"):
        post(mei, wish(mei, stall))
    answer = post(mei, wish(mei, stall))
    assert problem(answer) == (409, "request_in_progress")
    assert answer["Retry-After"] == "1"


def test_after_recovery_the_second_hears_of_the_order(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    with crash_before(saga, "reserve"):
        post(mei, wish(mei, stall))
    (order_id,) = orders_of(mei)
    saga_due(order_id)
    saga.recover(mei.shard)
    answer = post(mei, wish(mei, stall))
    assert (answer.status_code, read(answer)["id"], answer["Idempotent-Replayed"]) == (201, order_id, "true")


# --- parts that are down ---


def test_a_shard_that_is_down_refuses_only_its_own(mei: Person, stall: Stall) -> None:
    neighbour = neighbour_of(mei, same_shard=False)
    with down(mei.shard):
        refused, taken = post(mei, wish(mei, stall)), post(neighbour, wish(neighbour, stall))
    assert problem(refused) == (503, "service_unavailable")
    assert refused["Retry-After"] == "2"
    assert taken.status_code == 201


def test_with_default_down_nobody_orders_and_nothing_is_stored(mei: Person, stall: Stall) -> None:
    assert mei.api.headers  # Logged in before.
    with down("default"):
        assert problem(post(mei, wish(mei, stall))) == (503, "service_unavailable")
    assert nothing_stored(mei)


def test_the_other_shard_is_another(mei: Person) -> None:
    assert {mei.shard, other_shard(mei.shard)} == {"orders_0", "orders_1"}
