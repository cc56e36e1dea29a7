"""Other sites can't make a browser act for its owner: cookie routes want a token, token routes want no cookie."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from tests.accounts.factories import MEI, PASSWORD, customer
from tests.factories import Person
from tests.fixtures import lan, mei, stall
from tests.security.routes import routes

__all__ = ["lan", "mei", "stall"]
pytestmark = pytest.mark.data
# Doors that go by a token, a signature or a code, and never look at a cookie.
SKY = ("/user/", "/notify/", "/wechat-simulator/")
TOKENS = ("/api/", *SKY)


def test_s07_no_page_takes_a_form_of_another_site(mei: Person, lan: Person) -> None:
    pages = [route.path() for route in routes() if not route.pattern.startswith(TOKENS)]
    assert len(pages) > 60
    for who in (mei, lan):
        client = Client(enforce_csrf_checks=True)
        client.force_login(who.user)
        taken = {}
        for path in pages:
            status = client.post(path, {"a": "b"}, headers={"Origin": "https://evil.example"}).status_code
            # 405: takes no form at all; 404: isn't there, whoever asks; 302: only a login or a slash.
            if status not in {403, 405, 404, 302, 301}:
                taken[path] = status
        assert taken == {}


def test_s07_a_form_without_its_token_is_refused_and_with_it_taken(mei: Person) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(mei.user)
    assert client.post("/me/", {"nickname": "小梅"}).status_code == 403
    client.get("/me/")
    token = client.cookies["csrftoken"].value
    assert client.post("/me/", {"nickname": "小梅", "csrfmiddlewaretoken": token}).status_code == 302


def test_s07_the_api_takes_no_session_for_a_token(mei: Person, lan: Person) -> None:
    for who in (mei, lan):
        client = Client()
        client.force_login(who.user)
        for path in ("me/", "orders/", "addresses/", "staff/orders/"):
            assert client.get(f"/api/v1/{path}").status_code == 401, path


def test_s07_nor_does_the_mini_programs_side(mei: Person) -> None:
    client = Client()
    client.force_login(mei.user)
    paths = [route.path() for route in routes() if route.pattern.startswith("/user/")]
    answers = {path: client.get(path).status_code for path in paths}
    assert {path for path, status in answers.items() if status != 401} == {
        "/user/user/login",
        "/user/shop/status",
        "/user/1",
    }


def test_s07_cookies_stay_on_our_site_and_out_of_scripts() -> None:
    customer()
    client = Client()
    client.post("/login/", {"way": "password", "phone": MEI, "password": PASSWORD})
    client.get("/me/")
    session, csrf = client.cookies[settings.SESSION_COOKIE_NAME], client.cookies["csrftoken"]
    assert (session["samesite"], csrf["samesite"]) == ("Lax", "Lax")
    assert session["httponly"]
