"""Nobody sees or touches what belongs to somebody else. The routes are read from the URLconf: see `routes`.

A new route with a name that isn't in `OBJECTS` or `NOT_OWNED`, or one that asks nobody who they are and isn't in
`PUBLIC`, fails here by itself: say there what the name stands for, or why everybody may call it.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from django.apps import apps
from django.test import Client
from pytest_django import Settings

from accounts.models import Address
from tests import factories
from tests.factories import Person, Stall, placed, start_payment
from tests.fixtures import mei, stall, tao
from tests.security.routes import Route, routes
from tests.support.server import Server
from waimai.asgi import LIVE_ROUTES
from waimai.infra.sharding import shards

__all__ = ["mei", "stall", "tao"]
pytestmark = pytest.mark.data
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What belongs to a customer, by the name of its number in a route.
OBJECTS = {"order_id", "payment_id", "address_id", "line_id"}
# Numbers and names that are nobody's: a shop, a provider, a path that is refused, a picture, a place within an order.
NOT_OWNED = {"shop_id", "item_id", "token", "provider", "path", "name", "action", "n"}
# Other tests ask these: the admin (test_s02), the staff's side (test_s02, test_board_pages).
ELSEWHERE = ("/admin/", "/api/v1/staff/", "/board/")
PUBLIC = {
    "/": "the shops",
    "/healthz": "is the process alive",
    "/readyz": "are our parts",
    "/metrics": "guarded by networks, see test_breaker",
    "/i18n/setlang/": "the language",
    "/api/v1/schema/": "the document of the API",
    "/api/v1/docs/": "the same to read",
    r"/^api/v1/[\s\S]*$": "what isn't there",
    "/api/v1/auth/sms/": "a login begins with it",
    "/api/v1/auth/login/": "a login",
    "/api/v1/auth/staff/login/": "a login",
    "/api/v1/auth/refresh/": "the token is the proof",
    "/api/v1/auth/logout/": "the token is the proof",
    "/api/v1/shops/": "the shops",
    "/api/v1/shops/<int:shop_id>/": "a shop",
    "/api/v1/shops/<int:shop_id>/menu/": "its menu",
    "/api/v1/payments/webhooks/<slug:provider>/": "the signature is the proof",
    "/api/v1/auth/wechat/": "a login",
    "/user/user/login": "a login",
    "/user/shop/status": "whether the shop is open",
    "/user/<path:path>": "what isn't there",
    "/notify/paySuccess": "the signature is the proof",
    "/wechat-simulator/sns/jscode2session": "WeChat's stand-in, in development only",
    "/wechat-simulator/cgi-bin/token": "the same",
    "/wechat-simulator/wxa/business/getuserphonenumber": "the same",
    "/login/": "a login",
    "/login/code/": "a login begins with it",
    "/logout/": "ends the caller's own session",
    "/shops/<int:shop_id>/": "a menu",
    "/shops/<int:shop_id>/items/<int:item_id>/": "a dish of it",
    "/cart/": "a guest's cart",
    "/shops/<int:shop_id>/cart/": "a guest's cart",
    "/shops/<int:shop_id>/cart/add/": "a guest's cart",
    "/shops/<int:shop_id>/cart/clear/": "a guest's cart",
    "/s/<str:token>/": "an order's progress, for whoever has the link: the token is the key",
    "/shops/<int:shop_id>/cart/restore/": "a guest's cart",
    "/shops/<int:shop_id>/cart/lines/<int:line_id>/": "a guest's cart, by the caller's own session",
    "/media/<path:name>": "pictures",
}
# Members for every call at once: who is refused must be refused for the owner's sake, not for a missing field.
SKY, NOT_THERE = ("/user/", "/notify/"), "没有找到"
BODY = {
    "provider": "sandbox",
    "reason": "我改主意了",
    "outcome": "success",
    "quantity": 2,
    "item": 1,
    "options": [],
    "detail": "别人的家 1 号",
    "token": "t" * 20,
    "confirmed": "yes",
    "accept": True,
}


def mine() -> list[Route]:
    return [route for route in routes() if not route.pattern.startswith(ELSEWHERE)]


def with_unknown_names() -> list[str]:
    return [route.pattern for route in mine() if not set(route.parameters) <= OBJECTS | NOT_OWNED]


def everything_of(who: Person) -> list[Any]:
    """All rows of orders and payments, and the addresses."""
    models = [model for label in ("orders", "payments") for model in apps.get_app_config(label).get_models()]
    tables = [(model, alias) for model in models for alias in shards()]
    rows = [list(model._default_manager.using(alias).order_by("pk").values()) for model, alias in tables]
    return [*rows, list(Address.objects.filter(user=who.user).values())]


def property_of(who: Person, at: Stall) -> dict[str, int]:
    """One of each thing that somebody can own."""
    order_id = placed(who, at)
    cart = factories.order(order_id)  # The order's shop has the cart, too.
    added = who.api.post(f"shops/{cart.shop_id}/cart/lines/", {"item": at.fish, "quantity": 1, "options": []})
    return {
        "shop_id": at.shop_id,
        "order_id": order_id,
        "payment_id": start_payment(order_id),
        "address_id": who.address_id,
        "line_id": added.json()["lines"][0]["id"],  # type: ignore[attr-defined]
    }


def ask(who: Person | None, route: Route, method: str, values: dict[str, int]) -> Any:
    """Ask as somebody: the API with a token, a page with a session."""
    path, client = route.path(values), Client()
    if path.startswith(SKY):
        # The mini-program's doors: a token under another name, and numbers in the body, too.
        token = who.api.headers["Authorization"].removeprefix("Bearer ") if who else ""
        body = _json(BODY | {"id": values["address_id"]})
        query = urlencode({"id": values["address_id"]})
        headers = {"authentication": token}
        return client.generic(method, f"{path}?{query}", body, content_type="application/json", headers=headers)
    if path.startswith("/api/"):
        headers = {"Idempotency-Key": "stolen"} | (who.api.headers if who else {})
        return client.generic(method, path, _json(BODY), content_type="application/json", headers=headers)
    if who is not None:
        client.force_login(who.user)
    return client.generic(method, path, _form(BODY), content_type="application/x-www-form-urlencoded")


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body)


def _form(body: dict[str, Any]) -> str:
    return urlencode(body)


def shown_to_strangers(stranger: Person, values: dict[str, int]) -> dict[str, int]:
    """The calls about somebody else's things that aren't answered 404; 405 is no such method."""
    owned = [route for route in mine() if set(route.parameters) & OBJECTS and route.pattern not in PUBLIC]
    assert len(owned) >= 15
    return {
        f"{method} {route.pattern}": answer.status_code
        for route in owned
        for method in METHODS
        if not _is_not_there(answer := ask(stranger, route, method, values))
    }


def _is_not_there(answer: Any) -> bool:
    """404, or how the mini-program hears it; 405 is no such method."""
    told = answer.status_code == 200 and answer.content.startswith(b"{") and answer.json()
    return answer.status_code in {404, 405} or (bool(told) and (told.get("code"), told.get("msg")) == (0, NOT_THERE))


def open_to_anybody(values: dict[str, int]) -> dict[str, int]:
    """The calls that ask nobody who they are: neither 401, nor the way to the login, nor no such method."""
    found = {}
    for route in mine():
        for method in METHODS if route.pattern not in PUBLIC else ():
            answer = ask(None, route, method, values)
            to_login = answer.status_code == 302 and answer["Location"].startswith("/login/")
            empty = answer.status_code == 200 and not answer.content  # "Load the page again": that asks for a login.
            if answer.status_code not in {401, 405} and not to_login and not empty:
                found[f"{method} {route.pattern}"] = answer.status_code
    return found


@pytest.mark.once
def test_s01_every_route_says_whose_its_numbers_are() -> None:
    assert with_unknown_names() == []
    assert set(PUBLIC) <= {route.pattern for route in mine()}


def test_s01_what_is_somebody_elses_is_not_there(mei: Person, tao: Person, stall: Stall) -> None:
    values = property_of(mei, stall)
    before = everything_of(mei)
    assert shown_to_strangers(tao, values) == {}
    assert everything_of(mei) == before


def test_s01_nothing_but_what_is_public_is_told_to_strangers(mei: Person, stall: Stall) -> None:
    values = property_of(mei, stall)
    before = everything_of(mei)
    assert open_to_anybody(values) == {}
    assert everything_of(mei) == before


@pytest.mark.once
def test_s01_a_careless_route_is_found(mei: Person, tao: Person, stall: Stall, settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.security.open_door"
    assert with_unknown_names() == ["/api/v1/toys/<int:toy_id>/"]
    values = property_of(mei, stall)
    receipt = "/api/v1/orders/<int:order_id>/receipt/"
    assert {name.partition(" ")[2] for name in shown_to_strangers(tao, values)} == {receipt}
    careless = {name.partition(" ")[2] for name in open_to_anybody(values)}
    assert careless == {receipt, "/api/v1/toys/<int:toy_id>/", "/api/v1/turnover/"}


def test_s01_streams_are_routes_too(mei: Person, tao: Person, stall: Stall, server: Server) -> None:
    order_id = placed(mei, stall)
    for pattern, _handler in LIVE_ROUTES:
        path = re.sub(r"\(\?P<order_id>[^)]*\)", str(order_id), pattern.pattern)
        assert re.fullmatch(r"[\w/]+", path), f"fill in the names of {pattern.pattern}"
        assert requests.get(server.url + path, timeout=10).status_code == 401
        # A page's stream knows a session, the API's a token.
        pages = Client()
        pages.force_login(tao.user)
        known = tao.api.headers if path.startswith("/api/") else {"Cookie": pages.cookies.output(header="").strip()}
        strange = requests.get(server.url + path, headers=known, timeout=10)
        assert strange.status_code == (404 if "order_id" in pattern.pattern else 403)
