"""What people see while a database is down: a page or a problem document that says so, never a 500."""

from __future__ import annotations

from collections import defaultdict

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import OperationalError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from orders.services import share_token
from tests import factories
from tests.factories import Person, Stall
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data
WORDS, UNAVAILABLE = "服务暂时不可用", 503
# They ask no database, or tell of it in their own way; files, documents and Django's own pages aside.
ELSEWHERE = ("healthz", "readyz", "admin/", "i18n/", "media/", "api/v1/schema/", "api/v1/docs/", "^media")
# Answered without looking anything up: forms for nobody yet, refusals, what only takes a POST.
OTHERWISE = {200, 201, 302, 400, 401, 403, 404, 405, 415}


def addresses(order_id: int, shop_id: int) -> list[str]:
    """Every address of ours, about this order and this shop."""
    found: list[str] = []

    def walk(patterns: list[URLPattern | URLResolver], before: str) -> None:
        for each in patterns:
            path = before + str(each.pattern)
            if path.startswith(ELSEWHERE):
                continue
            if isinstance(each, URLResolver):
                walk(each.url_patterns, path)
            else:
                found.append("/" + path)

    walk(get_resolver().url_patterns, "")
    gaps = {
        "<int:order_id>": order_id,
        "<int:shop_id>": shop_id,
        "<int:payment_id>": order_id,
        "<int:address_id>": 1,
        "<int:line_id>": 1,
        "<int:item_id>": 1,
        "<int:n>": 1,
        "<str:token>": share_token(order_id),
        "<slug:provider>": "sandbox",
        "<path:path>": "x",
        "<slug:action>": "accept",
    }
    for gap, value in gaps.items():
        found = [path.replace(gap, str(value)) for path in found]
    assert not [path for path in found if "<" in path]
    return found


def client_of(person: Person) -> Client:
    """The person's browser and telephone in one: a session and a token."""
    token = {"authentication": person.api.headers["Authorization"].removeprefix("Bearer ")}
    client = Client(raise_request_exception=False, headers=person.api.headers | token)
    client.force_login(person.user)
    return client


@pytest.mark.parametrize(("who", "what"), [("mei", "default"), ("mei", "shard"), ("lan", "default")])
def test_f09_no_address_answers_500(mei: Person, lan: Person, stall: Stall, who: str, what: str) -> None:
    order_id = factories.paid(mei, stall)
    client = client_of({"mei": mei, "lan": lan}[who])
    seen: dict[int, list[str]] = defaultdict(list)
    with factories.down("default" if what == "default" else shard_of_id(order_id)):
        for path in addresses(order_id, stall.shop_id):
            for method in ("GET", "POST"):
                answer = client.generic(method, path)
                seen[answer.status_code].append(f"{method} {path}")
                if answer.status_code == UNAVAILABLE:
                    assert answer["Retry-After"] == "2", path
                    assert WORDS in answer.content.decode(), path
    refused = seen.pop(UNAVAILABLE)
    assert len(refused) > 5
    assert not {status: paths for status, paths in seen.items() if status not in OTHERWISE}


def test_f09_a_database_that_fails_outside_of_views_is_unavailable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: object) -> None:
        raise OperationalError(2006, "Server has gone away")

    monkeypatch.setattr(SessionMiddleware, "process_response", fails)
    browser = Client(raise_request_exception=False)
    page, document = browser.get("/login/"), browser.get("/api/v1/shops/")
    assert (page.status_code, page["Retry-After"]) == (UNAVAILABLE, "2")
    assert WORDS in page.content.decode()
    assert document.json()["code"] == "service_unavailable"
