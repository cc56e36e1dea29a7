"""No redirect to elsewhere, no link built from a header, no reading by other sites."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from tests.accounts.factories import PASSWORD, customer

pytestmark = pytest.mark.data
ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "http:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "\t//evil.example/",
    "/%09/evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "http:///evil.example",
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_s18_a_login_leads_to_our_own_pages_only(wanted: str) -> None:
    customer()
    client = Client()
    form = {"way": "password", "phone": "13911110001", "password": PASSWORD, "next": wanted}
    answer = client.post("/login/", form)
    assert answer.status_code == 302
    assert answer["Location"] in {"/", wanted} if wanted.startswith("/%09") else answer["Location"] == "/"
    assert "evil.example/" not in client.get("/login/", {"next": wanted}).content.decode() or wanted.startswith("/%09")


@pytest.mark.parametrize("path", ["/i18n/setlang/", "/admin/login/"])
@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_s18_neither_do_the_language_and_the_admin(path: str, wanted: str) -> None:
    answer = Client().post(path, {"language": "en", "next": wanted, "username": "x", "password": "y"})
    assert "evil.example" not in answer.headers.get("Location", "")
    assert not answer.headers.get("Location", "").startswith("javascript")


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "shop.example.com:80@evil.example", "a b"])
def test_s18_an_unknown_host_is_not_served(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    for path in ("/", "/login/", "/api/v1/shops/", "/admin/login/"):
        assert Client().get(path, headers={"Host": host}).status_code == 400, path
    assert Client().get("/login/", headers={"Host": "shop.example.com"}).status_code == 200


def test_s18_no_forwarded_host_is_believed(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    headers = {"Host": "shop.example.com", "X-Forwarded-Host": "evil.example", "X-Host": "evil.example"}
    for path in ("/", "/login/", "/api/v1/shops/", "/api/v1/schema/", "/admin/"):
        answer = Client().get(path, headers=headers)
        assert b"evil.example" not in answer.content
        assert "evil.example" not in answer.headers.get("Location", "")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example"])
def test_s18_other_sites_may_read_nothing(origin: str) -> None:
    for path in ("/", "/api/v1/shops/", "/api/v1/me/", "/api/v1/schema/", "/healthz"):
        asked = Client().options(path, headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
        got = Client().get(path, headers={"Origin": origin})
        for answer in (asked, got):
            assert [name for name in answer.headers if name.lower().startswith("access-control-")] == []
