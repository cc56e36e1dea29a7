"""What browsers are told on every kind of answer, and that our own pages live with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from tests.factories import Person, Stall, paid, settle
from tests.fixtures import lan, mei, stall
from tests.support import chromium
from tests.support.server import Server
from waimai.infra.ratelimit import Rate

__all__ = ["lan", "mei", "stall"]
pytestmark = pytest.mark.data
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login/",
        "/nowhere/",
        "/admin/login/",
        "/api/v1/shops/",
        "/api/v1/docs/",
        "/healthz",
        "/static/css/site.css",
    ],
)
def test_every_answer_has_the_headers(path: str) -> None:
    answer = Client().get(path, follow=True)
    assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert "camera=()" in answer["Permissions-Policy"]
    policy = answer["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert ("unsafe-eval" in policy) == path.startswith("/admin/")
    assert ("unsafe-inline" in policy) == (path in {"/api/v1/docs/", "/admin/login/"})
    answer.close()


def test_the_admins_scripts_are_files_of_ours() -> None:
    policy = Client().get("/admin/login/")["Content-Security-Policy"].split("; ")
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "default-src 'self'" in policy


@pytest.mark.parametrize("path", ["/", "/login/", "/administration/", "/nowhere/admin/", "/me/"])
def test_pages_beside_the_admin_stay_strict(path: str) -> None:
    policy = Client().get(path)["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy


def test_json_may_do_nothing_in_a_browser() -> None:
    policy = Client().get("/api/v1/shops/")["Content-Security-Policy"]
    assert sorted(policy.split("; ")) == ["default-src 'none'", "frame-ancestors 'none'"]


def test_a_request_that_is_turned_away_gets_them_too(settings: Settings) -> None:
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"entry": Rate(0.001, 1)}
    answers = [Client().get("/login/") for _ in range(2)]
    assert answers[1].status_code == 429
    assert "frame-ancestors 'none'" in answers[1]["Content-Security-Policy"]


def test_in_production_there_is_only_https(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 31_536_000
    settings.SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True
    plain = Client().get("/login/")
    assert (plain.status_code, plain["Location"]) == (301, "https://testserver/login/")
    assert Client().get("/healthz").status_code == 200
    secure = Client().get("/login/", secure=True)
    assert secure["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


@pytest.mark.timeout(180)
@pytest.mark.services("chromium")
def test_a_real_browser_finds_nothing_that_the_policies_forbid(
    server: Server, mei: Person, lan: Person, stall: Stall
) -> None:
    order_id = paid(mei, stall)
    settle()
    User.objects.create_superuser("boss", "four-treasures-8")
    complaints: list[str] = []
    with chromium.page() as page:
        page.on("console", lambda message: complaints.append(message.text) if _is_one(message) else None)
        page.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for path in ("/", f"/shops/{stall.shop_id}/", "/login/?way=staff", "/api/v1/docs/"):
            page.goto(server.url + path, wait_until="networkidle")
        page.goto(f"{server.url}/admin/")
        page.fill("[name=username]", "boss")
        page.fill("[name=password]", "four-treasures-8")
        page.click("[type=submit]")
        page.wait_for_url("**/admin/")
        for path in (
            "/admin/desk/deskorder/",
            f"/admin/desk/deskorder/{order_id}/change/",
            f"/admin/menu/shop/{stall.shop_id}/change/",
            f"/admin/menu/item/{stall.fish}/change/",
            "/admin/accounts/user/add/",
            "/admin/infra/breaker/",
        ):
            page.goto(server.url + path, wait_until="networkidle")
            assert page.locator("#content").count() == 1, path
    assert complaints == []


def _is_one(message: Any) -> bool:
    return message.type in {"error", "warning"} and not message.location.get("url", "").endswith("/favicon.ico")
