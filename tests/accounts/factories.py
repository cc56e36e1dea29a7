"""People of the accounts tests, and a small client of the API."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from accounts import services
from accounts.models import User
from accounts.services import AddressDraft, AddressInfo

MEI, TAO = "13911110001", "13911110002"
PASSWORD = "four-treasures-8"
SERVER = "203.0.113.7"


def customer(phone: str = MEI, password: str | None = PASSWORD, **fields: Any) -> User:
    return User.objects.create_user(phone=phone, password=password, **fields)


def staff(username: str = "lan", password: str | None = PASSWORD, **fields: Any) -> User:
    return User.objects.create_user(username, password, is_staff=True, **fields)


def draft(**changes: Any) -> AddressDraft:
    return AddressDraft(**{**address_body(), **changes})


def address_body(**changes: Any) -> dict[str, Any]:
    body = {
        "contact_name": "梅",
        "phone": MEI,
        "region": "北京市朝阳区",
        "detail": "建国路 88 号",
        "label": "家",
        "latitude": 39.915,
        "longitude": 116.455,
    }
    return body | changes


def home_of(user: User, **changes: Any) -> AddressInfo:
    return services.add_address(user_id=user.pk, draft=draft(**changes)).address


class Api:
    """Calls /api/v1/ as one person, or as nobody."""

    def __init__(self, user: User | None = None, *, address: str = SERVER) -> None:
        self.client = Client(REMOTE_ADDR=address)
        self.headers = {"Authorization": f"Bearer {services.issue_tokens(user).access}"} if user else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        data = "" if body is None else json.dumps(body)
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(  # type: ignore[return-value]
            method, f"/api/v1/{path}", data, content_type="application/json", headers=sent
        )

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any) -> HttpResponse:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> HttpResponse:
        return self.call("DELETE", path)


def read(response: HttpResponse) -> Any:
    return json.loads(response.content)


def problem(response: HttpResponse) -> tuple[int, str]:
    """Status and code of a refusal, which must be a problem document that agrees with its status."""
    document = read(response)
    assert response["Content-Type"] == "application/problem+json"
    assert document["status"] == response.status_code
    return response.status_code, document["code"]
