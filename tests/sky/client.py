"""The published client's side of the wire: its headers, its envelope, its habits."""

from __future__ import annotations

from typing import Any

import requests

# As the client sends it; tests about delivery areas add where it is.
ADDRESS = {
    "consignee": "梅",
    "phone": "13911110001",
    "sex": "1",
    "provinceCode": "11",
    "provinceName": "北京市",
    "cityCode": "1101",
    "cityName": "市辖区",
    "districtCode": "110105",
    "districtName": "朝阳区",
    "detail": "建国路 88 号",
    "label": "2",
    "name": "梅",
    "type": 1,
}


class SkyClient:
    """One telephone; the token is kept in memory only."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self.token, self.session = url, token, requests.Session()

    def login(self, code: str) -> SkyClient:
        """`wx.login`, then ours."""
        self.token = self.ok("POST", "/user/user/login", {"code": code})["token"]
        return self

    def send(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> requests.Response:
        """One request; `raw` bytes go out as they are."""
        headers = {"Content-Type": "application/json", "authentication": self.token, "Accept-Language": "en"}
        sent = {"data": raw} if raw is not None else {"json": body} if body is not None else {}
        return self.session.request(method, self.url + path, headers=headers, timeout=20, **sent)

    def ok(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Any:
        """The data of an answer that must be a success."""
        answer = self.send(method, path, body, raw=raw)
        found = answer.json()
        assert (answer.status_code, set(found), found["code"], found["msg"]) == (
            200,
            {"code", "msg", "data"},
            1,
            None,
        ), answer.text
        return found["data"]

    def refused(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> str:
        """The message of an answer that must be a refusal."""
        answer = self.send(method, path, body, raw=raw)
        found = answer.json()
        assert (answer.status_code, found["code"], found["data"]) == (200, 0, None), answer.text
        return str(found["msg"])

    def add(self, dish: int, flavor: str | None = None) -> None:
        self.ok("POST", "/user/shoppingCart/add", {"dishId": dish, "dishFlavor": flavor})

    def cart(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ok("GET", "/user/shoppingCart/list")
        return found

    def address(self, **changes: Any) -> int:
        """A new address; returns its number."""
        assert self.ok("POST", "/user/addressBook", ADDRESS | changes) is None
        return int(self.ok("GET", "/user/addressBook/list")[0]["id"])

    def shown(self) -> tuple[float, int]:
        """What the client shows: Σ number × price + 6 + 1 for each portion; and the portions."""
        rows = self.cart()
        portions = sum(row["number"] for row in rows)
        return sum(row["number"] * row["amount"] for row in rows) + 6 + portions, portions

    def checkout(self, address_id: int, **changes: Any) -> dict[str, Any]:
        """The body of a submit."""
        amount, portions = self.shown()
        body = {
            "addressBookId": address_id,
            "payMethod": 1,
            "remark": "少辣",
            "estimatedDeliveryTime": "2099-01-01 12:00:00",
            "deliveryStatus": 1,
            "tablewareNumber": portions,
            "tablewareStatus": 1,
            "packAmount": portions,
            "amount": amount,
        }
        return body | changes

    def order(self, dish: int, address_id: int = 0) -> int:
        """One of a dish, submitted; the number of the order."""
        self.add(dish)
        made = self.ok("POST", "/user/order/submit", self.checkout(address_id or self.address()))
        return int(made["id"])

    def pay(self, order_id: int) -> dict[str, str]:
        found: dict[str, str] = self.ok("PUT", "/user/order/payment", {"orderNumber": str(order_id), "payMethod": 1})
        return found

    def detail(self, order_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ok("GET", f"/user/order/orderDetail/{order_id}")
        return found
