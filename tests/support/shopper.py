"""A client of the API over HTTP, for tests that run against a whole system with demo data."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import requests

from tests.support.processes import wait_until

PASSWORD = "waimai-demo"
PAID_WITHIN_SECONDS = 10.0


class Api:
    """The API as one logged-in person sees it."""

    def __init__(self, url: str, login: str, **credentials: str) -> None:
        self.base = f"{url}/api/v1/"
        self.session = requests.Session()
        found = self.post(login, 200, credentials | {"password": PASSWORD})
        self.session.headers["Authorization"] = f"Bearer {found['access']}"

    def get(self, path: str) -> Any:
        """The document at a path."""
        answer = self.session.get(self.base + path, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, status: int, body: object = None, **headers: str) -> Any:
        """What a POST answers; its status must be the one named."""
        answer = self.session.post(self.base + path, json=body or {}, headers=headers, timeout=20)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


def customer(url: str, phone: str = "13800000001") -> Api:
    """A demo customer."""
    return Api(url, "auth/login/", phone=phone)


def staff(url: str, username: str = "admin") -> Api:
    """A demo member of the staff."""
    return Api(url, "auth/staff/login/", username=username)


def place(api: Api) -> Any:
    """Order two portions of the first dish on the menu that has no options."""
    shop = api.get("shops/")["results"][0]
    items = [item for category in api.get(f"shops/{shop['id']}/menu/")["categories"] for item in category["items"]]
    dish = next(item for item in items if not item["option_groups"] and Decimal(item["price"]) >= 20)
    total = 2 * (Decimal(dish["price"]) + Decimal(shop["packing_fee"])) + Decimal(shop["delivery_fee"])
    order = {
        "shop": shop["id"],
        "address": api.get("addresses/")["results"][0]["id"],
        "lines": [{"item": dish["id"], "quantity": 2, "options": []}],
        "shown_total": str(total),
    }
    return api.post("orders/", 201, order, **{"Idempotency-Key": uuid.uuid4().hex})


def pay(api: Api, order_id: int) -> None:
    """Pay at the sandbox, and wait until its notification has arrived."""
    started = api.post(f"orders/{order_id}/pay/", 201, {"provider": "sandbox"}, **{"Idempotency-Key": uuid.uuid4().hex})
    api.post(f"payments/sandbox/{started['payment']}/", 202, {"outcome": "success"})
    paid: Callable[[], bool] = lambda: api.get(f"orders/{order_id}/")["status"] == "paid"  # noqa: E731
    wait_until(paid, seconds=PAID_WITHIN_SECONDS, what="the order is paid")


def serve(api: Api, order_id: int) -> None:
    """Take an order through the shop: accept, deliver, complete."""
    for action in ("accept", "deliver", "complete"):
        api.post(f"staff/orders/{order_id}/{action}/", 200)
