"""Nobody gets round a limit: not by inventing addresses, spelling paths in other ways, or choosing another method."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from tests.support.server import Server
from waimai.infra.http import client_address
from waimai.infra.ratelimit import Rate, spend

PROXY, CALLER, INVENTED = "10.0.0.1", "203.0.113.7", "198.51.100.1"


def address_of(connected: str, *forwarded: str) -> str:
    headers = {"X-Forwarded-For": ",".join(forwarded)} if forwarded else {}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=connected, headers=headers))


@pytest.fixture
def one_then_none(settings: Settings) -> None:
    """One request of customers may come in, then none for a long time; one from each address of staff."""
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"entry": Rate(0.001, 1), "staff": Rate(0.001, 1)}


@pytest.mark.once
@pytest.mark.parametrize(
    ("proxies", "connected", "forwarded", "known_as"),
    [
        # Whoever comes without a proxy of ours is who is connected, whatever is told.
        ([], CALLER, [INVENTED], CALLER),
        ([PROXY], CALLER, [INVENTED], CALLER),
        # What stands left of the last hop that isn't ours was written by the caller.
        ([PROXY], PROXY, [f"{INVENTED}, {CALLER}"], CALLER),
        ([PROXY], PROXY, [INVENTED, CALLER], CALLER),
        ([PROXY], PROXY, [f"{PROXY}, {CALLER}"], CALLER),
        ([PROXY], PROXY, [f"127.0.0.1, {CALLER}, {PROXY}"], CALLER),
        (["10.0.0.0/24"], PROXY, [f"{INVENTED}, {CALLER}, 10.0.0.77"], CALLER),
        (["::1", "127.0.0.0/8"], "::ffff:127.0.0.1", [CALLER], CALLER),
        # Ports, as some proxies write them, are no part of an address.
        ([PROXY], PROXY, [f"{CALLER}:50123"], CALLER),
        ([PROXY], PROXY, ["[2001:db8:1:2::9]:50123"], "2001:db8:1:2::/64"),
        ([PROXY], PROXY, ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
        # A subscriber of IPv6 has 2^64 addresses; an IPv4 caller may come mapped.
        ([], "2001:db8:1:2:aaaa::1", [], "2001:db8:1:2::/64"),
        ([], "2001:db8:1:2:bbbb::2", [], "2001:db8:1:2::/64"),
        ([], f"::ffff:{CALLER}", [], CALLER),
        # Nonsense is one caller, and short.
        ([PROXY], PROXY, ["unknown"], "unknown"),
        ([PROXY], PROXY, ["x" * 500], "x" * 64),
        ([PROXY], PROXY, [" , ,"], PROXY),
    ],
)
def test_s09_an_address_is_what_our_own_proxy_saw(
    settings: Settings, proxies: list[str], connected: str, forwarded: list[str], known_as: str
) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = proxies
    assert address_of(connected, *forwarded) == known_as


@pytest.mark.data
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/shops/",
        "/API/v1/shops/",
        "//api/v1/shops/",
        "/api//v1/shops/",
        "/api/v1/shops/;x",
        "/%61pi/v1/shops/",
        "/static/../api/v1/shops/",
        "/static//api/v1/shops/",
        "/static/%2e%2e/api/v1/shops/",
        "/api/v1/payments/webhooks/../../shops/",
        "/healthz/",
        "/healthz%20",
        "/METRICS",
        "/Static/css/site.css",
        "/administrator/",
    ],
)
def test_s09_another_spelling_of_a_path_is_no_way_round(one_then_none: None, server: Server, path: str) -> None:
    spend("entry")
    assert raw(server, "GET", path)[0] == 429


@pytest.mark.data
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_s09_no_method_is_free(one_then_none: None, server: Server, method: str) -> None:
    spend("entry")
    assert raw(server, method, "/api/v1/shops/")[0] == 429


@pytest.mark.data
@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "GET"},
        {"X-Forwarded-For": INVENTED},
        {"x-forwarded-for": INVENTED},
        {"X_Forwarded_For": INVENTED},
        {"X-Real-IP": INVENTED},
        {"Forwarded": f"for={INVENTED}"},
        {"X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz"},
    ],
)
def test_s09_no_header_makes_another_caller(one_then_none: None, server: Server, headers: dict[str, str]) -> None:
    assert raw(server, "GET", "/api/v1/staff/orders/")[0] == 401
    assert raw(server, "GET", "/api/v1/staff/orders/", headers)[0] == 429


@pytest.mark.data
def test_s09_a_stream_is_a_request_too(one_then_none: None, server: Server) -> None:
    spend("entry")
    status, headers = raw(server, "GET", "/api/v1/orders/1/events/")
    assert (status, headers["ratelimit-limit"], headers["ratelimit-remaining"]) == (429, "1", "0")


@pytest.mark.data
def test_s09_all_who_log_in_from_one_address_share_a_bucket(settings: Settings) -> None:
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"login": Rate(0.001, 3)}
    calls = [
        ("/api/v1/auth/login/", {"phone": "13911119999", "password": "x"}),
        ("/api/v1/auth/refresh/", {"refresh": "x"}),
        ("/api/v1/auth/staff/login/", {"username": "x", "password": "x"}),
        ("/api/v1/auth/sms/", {"phone": "13911119998"}),
    ]
    answers = [Client().post(path, body, content_type="application/json").status_code for path, body in calls]
    assert answers == [401, 401, 401, 429]
    page = Client().post("/login/", {"way": "password", "phone": "13911119999", "password": "x"})
    assert page.status_code == 429


@pytest.mark.data
def test_s09_many_addresses_share_the_bucket_of_one_phone(settings: Settings) -> None:
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"phone": Rate(0.001, 2)}
    body = {"phone": "13911119999", "password": "x"}
    answers = [
        Client(REMOTE_ADDR=f"203.0.113.{n}").post("/api/v1/auth/login/", body, content_type="application/json")
        for n in range(3)
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 429]


def raw(server: Server, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
    """One request, sent as it stands: no client tidies the path."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}
