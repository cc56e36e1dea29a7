from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable

import pytest
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.translation import override
from pytest_django import Settings

from waimai.infra import http
from waimai.infra.errors import NotFound, RateLimited, ServiceUnavailable, ValidationFailed
from waimai.infra.http import DomainErrorMiddleware, RequestIdFilter, RequestIdMiddleware, client_address

PROXY = "10.0.0.1"


# --- request ids ---


def answer_to(sent: str | None) -> str:
    headers = {} if sent is None else {"X-Request-ID": sent}
    return str(
        RequestIdMiddleware(lambda request: HttpResponse())(RequestFactory().get("/", headers=headers))["X-Request-ID"]
    )


@pytest.mark.parametrize("sane", ["a", "order-17", "A.b_c-9", "f" * 64])
def test_the_callers_request_id_comes_back(sane: str) -> None:
    assert answer_to(sane) == sane


@pytest.mark.parametrize("insane", [None, "", "f" * 65, "a b", "a\nb", "<script>", "编号", "a/b", '"'])
def test_an_insane_request_id_is_replaced(insane: str | None) -> None:
    assert uuid.UUID(hex=answer_to(insane)).version == 4


def test_the_log_carries_the_request_id() -> None:
    record = logging.makeLogRecord({"msg": "hello"})

    def view(request: HttpRequest) -> HttpResponse:
        RequestIdFilter().filter(record)
        return HttpResponse()

    RequestIdMiddleware(view)(RequestFactory().get("/", headers={"X-Request-ID": "order-17"}))
    assert record.__dict__["request_id"] == "order-17"


def test_outside_a_request_the_log_has_a_dash() -> None:
    record = logging.makeLogRecord({"msg": "hello"})
    RequestIdFilter().filter(record)
    assert record.__dict__["request_id"] == "-"


def test_a_view_that_fails_leaves_no_request_id_behind() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        RequestIdMiddleware(view)(RequestFactory().get("/", headers={"X-Request-ID": "order-17"}))
    assert http.current_request_id.get() == "-"


# --- the caller's address ---


def address_of(remote: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory(REMOTE_ADDR=remote).get("/", headers=headers))


def test_the_connections_address_is_the_callers() -> None:
    assert address_of("203.0.113.7") == "203.0.113.7"


def test_a_stranger_cannot_name_another_address() -> None:
    assert address_of("203.0.113.7", "198.51.100.1") == "203.0.113.7"


def test_our_proxy_names_the_caller(settings: Settings) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = [PROXY]
    assert address_of(PROXY, "203.0.113.7") == "203.0.113.7"


def test_only_the_hop_before_our_proxy_counts(settings: Settings) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = [PROXY]
    assert address_of(PROXY, "1.1.1.1, 2.2.2.2, 203.0.113.7") == "203.0.113.7"


def test_several_proxies_of_ours_are_passed_over(settings: Settings) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = [PROXY, "10.0.0.2"]
    assert address_of(PROXY, "1.1.1.1, 203.0.113.7, 10.0.0.2") == "203.0.113.7"


def test_a_proxy_that_says_nothing_is_the_caller(settings: Settings) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = [PROXY]
    assert address_of(PROXY) == PROXY
    assert address_of(PROXY, " , ") == PROXY


def test_an_ipv6_caller_is_known_by_its_network() -> None:
    assert address_of("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert address_of("2001:db8:1:2::9") == "2001:db8:1:2::/64"


def test_the_next_network_is_another_caller() -> None:
    assert address_of("2001:db8:1:3::1") == "2001:db8:1:3::/64"


def test_an_ipv4_caller_on_an_ipv6_socket_is_one_caller() -> None:
    assert address_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert address_of("::ffff:203.0.113.8") == "203.0.113.8"


def test_nonsense_of_a_proxy_is_cut(settings: Settings) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = [PROXY]
    assert address_of(PROXY, "x" * 200) == "x" * 64


# --- refusals ---


def shown(error: Exception, path: str = "/api/v1/orders/") -> HttpResponse:
    answer = DomainErrorMiddleware(lambda request: HttpResponse()).process_exception(RequestFactory().get(path), error)
    assert answer is not None
    return answer


def test_the_api_gets_a_problem_document() -> None:
    answer = shown(NotFound("no such cake"))
    assert answer["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content) == {
        "type": "urn:waimai:problem:not_found",
        "title": "没有找到",
        "status": 404,
        "detail": "no such cake",
        "code": "not_found",
    }


def test_field_errors_and_further_members_are_in_it() -> None:
    document = http.problem(ValidationFailed(errors={"phone": ["?"]}, missing="6.00"))
    assert (document["errors"], document["missing"]) == ({"phone": ["?"]}, "6.00")


def test_a_member_never_hides_what_every_problem_has() -> None:
    document = http.problem(NotFound(status="cancelled", code="mine"))
    assert (document["status"], document["code"]) == (404, "not_found")


def test_a_limit_says_when_to_come_again() -> None:
    assert shown(RateLimited(retry_after=7))["Retry-After"] == "7"
    assert shown(RateLimited())["Retry-After"] == "60"


def test_an_answer_that_is_final_does_not() -> None:
    assert "Retry-After" not in shown(NotFound())


def test_a_page_is_a_page() -> None:
    answer = shown(ServiceUnavailable(), "/orders/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert answer["Content-Type"].startswith("text/html")
    assert "服务暂时不可用" in answer.content.decode()


def test_a_database_that_is_down_is_unavailable() -> None:
    assert shown(OperationalError(2006, "Server has gone away")).status_code == 503


@pytest.mark.parametrize("mistake", [ValueError("x"), KeyError("x")])
def test_a_mistake_in_the_program_is_left_to_django(mistake: Exception) -> None:
    middleware = DomainErrorMiddleware(lambda request: HttpResponse())
    assert middleware.process_exception(RequestFactory().get("/"), mistake) is None


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [
        (lambda request: http.not_found(request, PermissionDenied()), 404, "not_found"),
        (http.server_error, 500, "internal_error"),
    ],
)
def test_djangos_own_errors_have_our_form(
    handler: Callable[[HttpRequest], HttpResponse], status: int, code: str
) -> None:
    answer = handler(RequestFactory().get("/api/v1/nowhere/"))
    assert (answer.status_code, json.loads(answer.content)["code"]) == (status, code)


@pytest.mark.data
def test_an_unknown_address_of_the_api_is_a_problem() -> None:
    answer = Client().get("/api/v1/nowhere/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


@pytest.mark.data
def test_an_unknown_page_is_a_page() -> None:
    answer = Client().get("/nowhere/")
    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (404, "text/html")


@pytest.mark.data
def test_pages_carry_a_content_security_policy() -> None:
    policy = Client().get("/nowhere/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(7, "7 秒"), (90, "90 秒"), (91, "2 分钟"), (5400, "90 分钟"), (5401, "2 小时"), (86_400, "24 小时")],
)
def test_how_long_to_wait_is_told_in_words(seconds: int, told: str) -> None:
    with override("zh-hans"):
        assert RateLimited(retry_after=seconds).told == f"请求过于频繁，请 {told}后再试"
