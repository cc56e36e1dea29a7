from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import requests

import menu.services
from orders import intake, services
from orders.models import Order
from tests.accounts.factories import Api, customer, home_of
from tests.factories import (
    Person,
    Stall,
    at_once,
    audit,
    history,
    just_before,
    lines,
    order,
    orders_of,
    place,
    placed,
    settle,
    stock,
    wish,
)
from tests.support.server import Server
from waimai.infra.sharding import shards

pytestmark = pytest.mark.data
ASK_AGAIN = 20


def twins(who: Person, count: int) -> list[Api]:
    """The same person on several devices."""
    devices = [Api() for _ in range(count)]
    for device in devices:
        device.headers = who.api.headers
    return devices


def post(device: Api, body: dict[str, Any], key: str) -> Any:
    """Place an order as a client does: while the first request runs, ask again."""
    for _ in range(ASK_AGAIN):
        answer = device.post("orders/", body, Idempotency_Key=key)
        if answer.status_code != 409 or json.loads(answer.content)["code"] != "request_in_progress":
            break
    return answer


def test_a_cart_that_a_twin_has_ordered_meanwhile_is_that_order(mei: Person, stall: Stall) -> None:
    seen = services.merge_into_cart(user_id=mei.id, shop_id=stall.shop_id, lines=lines((stall.fish, 1))).version
    twin = partial(place, mei, stall, lines=None, cart_version=seen, key=None)
    with just_before(intake, "_draft", twin):
        answer = place(mei, stall, lines=None, cart_version=seen, key=None)
    assert (answer.replayed, orders_of(mei)) == (True, [answer.order_id])


@pytest.mark.parametrize("portions", [None, 5], ids=["unlimited", "limited"])
def test_sixteen_posts_with_one_key_make_one_order(portions: int | None, mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=portions)
    body = wish(mei, stall)
    answers: list[Any] = at_once(*[partial(post, device, body, "k-1") for device in twins(mei, 16)])
    assert {answer.status_code for answer in answers} == {201}, answers
    assert len({answer.content for answer in answers}) == 1
    assert [answer.get("Idempotent-Replayed") for answer in answers].count("true") == 15
    assert len(orders_of(mei)) == 1
    if portions:
        assert stock(stall.fish) == (4, 1, 0)
    settle()
    assert audit() == []


def test_sixteen_posts_with_one_key_hear_the_same_refusal(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=0)
    answers: list[Any] = at_once(*[partial(post, device, wish(mei, stall), "k-1") for device in twins(mei, 16)])
    assert {answer.status_code for answer in answers} == {409}
    assert len({answer.content for answer in answers}) == 1
    assert json.loads(answers[0].content)["code"] == "sold_out"
    assert len(orders_of(mei)) == 1


def test_one_cart_confirmed_on_eight_devices_is_ordered_once(mei: Person, stall: Stall) -> None:
    seen = services.merge_into_cart(user_id=mei.id, shop_id=stall.shop_id, lines=lines((stall.fish, 1))).version
    confirm = partial(place, mei, stall, lines=None, cart_version=seen, key=None)
    answers = at_once(*[confirm] * 8)
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert len(orders_of(mei)) == 1
    assert services.view_cart(user_id=mei.id, shop_id=stall.shop_id).lines == ()


def test_the_last_portion_goes_to_one_of_two(mei: Person, tao: Person, stall: Stall) -> None:
    for _ in range(5):
        menu.services.set_stock(item_id=stall.fish, available=1)
        before = len(orders_of(mei)) + len(orders_of(tao))
        answers = at_once(partial(place, mei, stall, key=f"k-{before}"), partial(place, tao, stall, key=f"k-{before}"))
        refused = [answer for answer in answers if isinstance(answer, menu.services.SoldOut)]
        assert len(refused) == 1, answers
        assert stock(stall.fish)[0] == 0
    settle()
    assert audit() == []


def test_two_dishes_in_opposite_order_never_block_each_other(mei: Person, tao: Person, stall: Stall) -> None:
    for dish in (stall.fish, stall.tofu):
        menu.services.set_stock(item_id=dish, available=40)

    def buy(who: Person, wanted: list[tuple[int, int]]) -> list[int]:
        return [placed(who, stall, *wanted, key=f"k-{number}") for number in range(8)]

    wanted = [(stall.fish, 2), (stall.tofu, 2)]
    made = at_once(partial(buy, mei, wanted), partial(buy, tao, wanted[::-1]))
    assert [one for one in made if isinstance(one, Exception)] == []
    assert (stock(stall.fish), stock(stall.tofu)) == ((8, 32, 0), (8, 32, 0))
    assert audit() == []


def test_a_hundred_and_twenty_buyers_of_fifty_portions(stall: Stall, server: Server) -> None:
    """Over real HTTP: exactly fifty get one, seventy hear that it is sold out, and nothing is left over."""
    menu.services.set_stock(item_id=stall.fish, available=50)
    buyers = [customer(f"1370000{number:04}", password=None) for number in range(120)]
    requests_to_send = [(Person(user, home_of(user).id), f"k-{user.pk}") for user in buyers]
    prepared = [
        (who.api.headers | {"Idempotency-Key": key}, wish(who, stall, shown_total="63.00"))
        for who, key in requests_to_send
    ]

    def buy(headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        answer = requests.post(f"{server.url}/api/v1/orders/", json=body, headers=headers, timeout=50)
        return answer.status_code, answer.json().get("code") or answer.json()["status"]

    with ThreadPoolExecutor(120) as crowd:
        answers = list(crowd.map(lambda one: buy(*one), prepared))
    assert sorted(set(answers)) == [(201, "pending_payment"), (409, "sold_out")]
    assert (answers.count((201, "pending_payment")), answers.count((409, "sold_out"))) == (50, 70)
    assert stock(stall.fish) == (0, 50, 0)
    standing = [Order.objects.on(alias).filter(status="pending_payment").count() for alias in shards()]
    assert sum(standing) == 50
    assert min(standing) > 0
    settle()
    assert audit() == []


def test_an_order_of_every_buyer_is_whole(mei: Person, tao: Person, stall: Stall) -> None:
    made = at_once(*[partial(placed, who, stall, key=f"k-{n}") for who in (mei, tao) for n in range(6)])
    assert [one for one in made if isinstance(one, Exception)] == []
    assert len(set(map(str, made))) == 12
    assert all(history(order_id) == ["pending_payment"] for order_id in made if isinstance(order_id, int))
    assert {order(order_id).bucket for order_id in made if isinstance(order_id, int)} == {
        order(order_id).bucket for order_id in (orders_of(mei)[0], orders_of(tao)[0])
    }
    assert audit() == []
