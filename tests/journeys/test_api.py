"""Whole evenings over real HTTP: the API, the sandbox gateway's own calls, the clock and the news in their loops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

import menu.services
from menu.models import Item, Shop
from orders.models import Order, OrderChange
from tests.accounts.factories import Api, read
from tests.factories import Person, Stall, audit, notice, order, refunds_of, settle, stock, works_at
from tests.support.processes import wait_until
from tests.support.server import Server
from waimai.infra import loops
from waimai.infra.sharding import shards

pytestmark = [pytest.mark.data, pytest.mark.slow]
PASSWORD = "waimai-demo"


@pytest.fixture
def demo(server: Server) -> int:
    """The demo shop with its staff and customers."""
    call_command("seed_demo")
    return Shop.objects.get().pk


@pytest.fixture
def loops_run(server: Server) -> Iterator[None]:
    """What `manage.py events` does, for as long as the test runs."""
    stop = threading.Event()
    rounds = [*loops.timer_rounds(), *loops.relay_rounds()]
    thread = threading.Thread(target=loops.run_for_ever, args=(rounds, stop), name="events")
    thread.start()
    yield
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


class Caller:
    """Somebody with an HTTP client and a token."""

    def __init__(self, server: Server, login: str = "", **proof: str) -> None:
        self.url, self.session, self.keys = f"{server.url}/api/v1/", requests.Session(), 0
        if login:
            tokens = self.send("POST", login, proof, status=200)
            self.session.headers["Authorization"] = f"Bearer {tokens['access']}"

    def send(self, method: str, path: str, body: Any = None, *, status: int, **headers: str) -> Any:
        """Call the API; the answer must have this status."""
        answer = self.session.request(method, self.url + path, json=body, headers=headers, timeout=20)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self.send("GET", path, status=200)

    def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        """A POST with a key of its own."""
        self.keys += 1
        return self.send("POST", path, body, status=status, **{"Idempotency-Key": f"{id(self)}-{self.keys}"})

    def pay(self, order_id: int, *, outcome: str = "success", **how: Any) -> int:
        """Open a payment and act at the sandbox's till."""
        started = self.post(f"orders/{order_id}/pay/", {"provider": "sandbox"}, status=201)
        assert started["client_parameters"]["pay_url"] == f"/pay/sandbox/{started['payment']}/"
        self.post(f"payments/sandbox/{started['payment']}/", {"outcome": outcome} | how, status=202)
        return int(started["payment"])

    def becomes(self, order_id: int, status: str, payment_status: str | None = None, *, seconds: float = 10) -> Any:
        """Wait until the order is in a state; returns it."""

        def reached() -> bool:
            it = self.get(f"orders/{order_id}/")
            return it["status"] == status and payment_status in (None, it["payment_status"])

        wait_until(reached, seconds=seconds, what=f"order {order_id} is {status}")
        return self.get(f"orders/{order_id}/")


def customer(server: Server, number: int = 1) -> Caller:
    return Caller(server, "auth/login/", phone=f"1380000000{number}", password=PASSWORD)


def staff(server: Server, username: str) -> Caller:
    return Caller(server, "auth/staff/login/", username=username, password=PASSWORD)


def a_meal(me: Caller, shop: int, quantity: int = 1) -> dict[str, Any]:
    """The body of an order as a client makes it from the menu: the first dish without a choice over 20 yuan."""
    items = [item for category in me.get(f"shops/{shop}/menu/")["categories"] for item in category["items"]]
    dish = next(item for item in items if Decimal(item["price"]) > 20 and not item["option_groups"])
    address = next(one for one in me.get("addresses/")["results"] if one["is_default"])
    total = (Decimal(dish["price"]) + 1) * quantity + 6
    line = {"item": dish["id"], "quantity": quantity, "options": []}
    return {"shop": shop, "address": address["id"], "lines": [line], "shown_total": str(total)}


def all_is_well() -> None:
    wait_until(lambda: not audit(), seconds=10, what="the audit is clean")


def test_from_the_menu_to_the_table(demo: int, server: Server, loops_run: None) -> None:
    me = customer(server)
    (shop,) = me.get("shops/")["results"]
    assert (shop["id"], shop["is_open"]) == (demo, True)
    made = me.post("orders/", a_meal(me, demo, 2), status=201)
    assert (made["status"], made["allowed_actions"]) == ("pending_payment", ["pay", "cancel"])
    # The gateway calls three times; the order is paid once.
    me.pay(made["id"], times=3)
    me.becomes(made["id"], "paid", "paid")

    kitchen, courier = staff(server, "kitchen"), staff(server, "courier")
    wait_until(lambda: kitchen.get("staff/orders/?status=paid")["results"], seconds=5, what="it is on the board")
    (waiting,) = kitchen.get("staff/orders/")["results"]
    assert (waiting["id"], waiting["total"]) == (made["id"], made["total"])
    kitchen.post(f"staff/orders/{made['id']}/accept/", {"minutes": 25})
    assert me.get(f"orders/{made['id']}/")["promised_at"] is not None
    kitchen.send("POST", f"staff/orders/{made['id']}/deliver/", status=403)
    courier.post(f"staff/orders/{made['id']}/deliver/")
    courier.post(f"staff/orders/{made['id']}/complete/")

    done = me.get(f"orders/{made['id']}/")
    states = [change["status"] for change in done["timeline"]]
    assert states == ["pending_payment", "paid", "accepted", "delivering", "completed"]
    assert (done["total"], done["allowed_actions"]) == (made["total"], ["reorder"])
    assert kitchen.get("staff/orders/")["results"] == []
    assert me.get("orders/")["results"][0]["id"] == made["id"]
    all_is_well()


def test_from_the_cart_with_choices_and_portions(demo: int, server: Server, loops_run: None) -> None:
    me = customer(server, 2)
    fish = Item.objects.get(name="老坛酸菜鱼")
    menu.services.set_stock(item_id=fish.pk, available=5)
    items = [item for category in me.get(f"shops/{demo}/menu/")["categories"] for item in category["items"]]
    dish = next(item for item in items if item["id"] == fish.pk)
    choice = next(group for group in dish["option_groups"] if group["min"] == 1)
    line = {"item": fish.pk, "quantity": 2, "options": [choice["options"][1]["id"]]}
    cart = me.post(f"shops/{demo}/cart/lines/", line, status=201)
    body = a_meal(me, demo) | {"shown_total": cart["total"]}
    del body["lines"]
    made = me.post("orders/", body, status=201)
    assert (made["total"], stock(fish.pk)) == ("120.00", (3, 2, 0))
    assert me.get(f"shops/{demo}/cart/")["lines"] == []
    me.pay(made["id"])
    me.becomes(made["id"], "paid")
    wait_until(lambda: stock(fish.pk) == (3, 0, 2), seconds=5, what="the portions are sold")
    all_is_well()


def test_a_rejected_order_is_refunded(demo: int, server: Server, loops_run: None) -> None:
    me, boss = customer(server), staff(server, "admin")
    made = me.post("orders/", a_meal(me, demo), status=201)
    me.pay(made["id"])
    me.becomes(made["id"], "paid")
    boss.post(f"staff/orders/{made['id']}/reject/", {"reason": "厨师请假"})
    done = me.becomes(made["id"], "cancelled", "refunded")
    assert (done["timeline"][-1]["actor"], done["timeline"][-1]["reason"]) == ("staff", "厨师请假")
    assert refunds_of(made["id"]) == [(Decimal(made["total"]), "cancel", "succeeded")]
    boss.send("POST", f"staff/orders/{made['id']}/accept/", {}, status=409)
    all_is_well()


def test_cancelled_and_then_paid_the_money_goes_back_once(demo: int, server: Server, loops_run: None) -> None:
    me = customer(server)
    made = me.post("orders/", a_meal(me, demo), status=201)
    payment = me.post(f"orders/{made['id']}/pay/", {"provider": "sandbox"}, status=201)["payment"]
    me.post(f"orders/{made['id']}/cancel/", {"reason": "点错了"})
    me.post(f"payments/sandbox/{payment}/", {"outcome": "success", "times": 2}, status=202)
    me.becomes(made["id"], "cancelled", "refunded")
    assert refunds_of(made["id"]) == [(Decimal(made["total"]), "late", "succeeded")]
    all_is_well()


def test_a_failed_attempt_and_a_second_that_works(demo: int, server: Server, loops_run: None) -> None:
    me = customer(server)
    made = me.post("orders/", a_meal(me, demo), status=201)
    me.pay(made["id"], outcome="failure")
    me.pay(made["id"])
    me.becomes(made["id"], "paid", "paid")
    assert refunds_of(made["id"]) == []
    all_is_well()


def test_forty_unpaid_orders_are_cancelled_by_the_clock(
    demo: int, server: Server, loops_run: None, settings: Settings
) -> None:
    """Each within a second of its time, with its portions back; a payment that comes afterwards goes back once."""
    settings.WAIMAI_PAYMENT_TIMEOUT_SECONDS = 4
    people = [customer(server, number) for number in (1, 2, 3, 4)]
    meals = [(me, a_meal(me, demo)) for me in people]
    dish = meals[0][1]["lines"][0]["item"]
    menu.services.set_stock(item_id=dish, available=40)
    made = [me.post("orders/", meal, status=201)["id"] for _ in range(10) for me, meal in meals]
    # On a slow machine the first are cancelled before the last are made.
    available, held, sold = stock(dish)
    assert (available + held, sold) == (40, 0)
    late = people[0].post(f"orders/{made[-4]}/pay/", {"provider": "sandbox"}, status=201)["payment"]

    wait_until(lambda: waiting() == 0, seconds=12, what="the clock cancels all of them")
    lateness = [cancelled_at(order_id) - order(order_id).expires_at for order_id in made]
    assert timedelta(0) <= min(lateness)
    assert max(lateness) <= timedelta(seconds=1)
    wait_until(lambda: stock(dish) == (40, 0, 0), seconds=5, what="the portions are back")

    people[0].post(f"payments/sandbox/{late}/", {"outcome": "success", "times": 2}, status=202)
    people[0].becomes(made[-4], "cancelled", "refunded")
    assert refunds_of(made[-4]) == [(order(made[-4]).total, "late", "succeeded")]
    all_is_well()


def waiting() -> int:
    return sum(Order.objects.on(alias).filter(status="pending_payment").count() for alias in shards())


def cancelled_at(order_id: int) -> datetime:
    row = OrderChange.objects.of_order(order_id).get(target="cancelled")
    assert (row.actor, row.reason) == ("clock", "payment_timeout")
    return row.at  # type: ignore[no-any-return]


def test_the_same_order_again(demo: int, server: Server) -> None:
    me = customer(server)
    made = me.post("orders/", a_meal(me, demo, 2), status=201)
    again = me.post(f"orders/{made['id']}/reorder/")
    assert (again["total"], again["gone"], again["repriced"]) == (made["total"], [], [])
    twin = me.post("orders/", {**a_meal(me, demo), "lines": None, "shown_total": again["total"]}, status=201)
    assert [line["quantity"] for line in twin["lines"]] == [2]
    assert twin["id"] != made["id"]


# --- the same through Django's own client, the clock and the news turned by hand ---


def test_an_evening_by_hand(mei: Person, stall: Stall, lan: Person) -> None:
    body = {
        "shop": stall.shop_id,
        "address": mei.address_id,
        "lines": [{"item": stall.fish, "quantity": 1}],
        "shown_total": "63.00",
    }
    made = read(mei.api.post("orders/", body, Idempotency_Key="k-1"))["id"]
    payment = read(mei.api.post(f"orders/{made}/pay/", {"provider": "sandbox"}, Idempotency_Key="p-1"))["payment"]
    told = mei.api.post(f"payments/sandbox/{payment}/", {"outcome": "success", "times": 0})
    assert told.status_code == 202
    headers, content = notice(payment)
    for _ in range(2):
        answer = Client().post(
            "/api/v1/payments/webhooks/sandbox/", content, content_type="application/json", headers=headers
        )
        assert (answer.status_code, answer.json()) == (200, {"code": "SUCCESS"})
    settle()
    chef, rider = works_at(stall.shop_id, "kitchen"), works_at(stall.shop_id, "courier")
    for who, action in ((chef, "accept"), (rider, "deliver"), (rider, "complete")):
        assert who.api.post(f"staff/orders/{made}/{action}/", {}).status_code == 200
    settle()
    assert read(mei.api.get(f"orders/{made}/"))["status"] == "completed"
    assert audit() == []


def test_a_forged_notice_pays_nothing(mei: Person, stall: Stall) -> None:
    body = {"shop": stall.shop_id, "address": mei.address_id, "lines": [{"item": stall.fish, "quantity": 1}]}
    made = read(mei.api.post("orders/", body, Idempotency_Key="k-1"))["id"]
    payment = read(mei.api.post(f"orders/{made}/pay/", {"provider": "sandbox"}, Idempotency_Key="p-1"))["payment"]
    headers, content = notice(payment)
    headers = {name: value[::-1] if name == "X-Sandbox-Signature" else value for name, value in headers.items()}
    answer = Client().post(
        "/api/v1/payments/webhooks/sandbox/", content, content_type="application/json", headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_refused")
    assert order(made).status == "pending_payment"


def test_a_stranger_sees_shops_and_menus_only(mei: Person, stall: Stall) -> None:
    stranger = Api()
    assert stranger.get(f"shops/{stall.shop_id}/menu/").status_code == 200
    for path in ("orders/", "addresses/", "me/", "staff/orders/", f"shops/{stall.shop_id}/cart/"):
        assert stranger.get(path).status_code == 401, path
