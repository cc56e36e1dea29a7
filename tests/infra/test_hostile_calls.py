"""Whatever is sent to the API, the answer is a problem document that says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.data
JSON = "application/json"
LOGIN = "/api/v1/auth/login/"


def answer(
    method: str, path: str, body: str = "", content_type: str = "application/json"
) -> tuple[int, dict[str, Any]]:
    """The status and the problem."""
    got = Client(raise_request_exception=False, enforce_csrf_checks=True).generic(
        method, path, body, content_type=content_type
    )
    assert got.headers["Content-Type"] == "application/problem+json"
    return got.status_code, json.loads(got.content)


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 50_000, "{", "nonsense", "\x00"])
def test_json_that_can_not_be_read(body: str) -> None:
    status, problem = answer("POST", LOGIN, body)
    assert (status, problem["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("body", [r'{"phone": "\ud800"}', r'{"\udfff": 1}'])
def test_half_a_character(body: str) -> None:
    status, problem = answer("POST", LOGIN, body)
    assert (status, problem["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1/orders", "/api/v1/nowhere/", "/api/v1/orders/-1/", "/api/v1/orders/abc/"])
def test_what_is_not_there(method: str, path: str) -> None:
    status, problem = answer(method, path, "{}")
    assert (status, problem["code"]) == (404, "not_found")


def test_a_method_that_is_not_there_has_a_title_without_gaps() -> None:
    status, problem = answer("PUT", "/api/v1/shops/")
    assert (status, problem["code"], problem["title"]) == (405, "method_not_allowed", "Method Not Allowed")
    assert "PUT" in problem["detail"]


def test_a_kind_of_body_that_nobody_reads_has_a_title_without_gaps() -> None:
    status, problem = answer("POST", LOGIN, "<a/>", "application/xml")
    assert (status, problem["code"], problem["title"]) == (415, "unsupported_media_type", "Unsupported Media Type")
