from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections
from django.http import Http404
from django.test.utils import CaptureQueriesContext
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from tests.accounts.factories import Api, problem, read
from tests.factories import Person, person
from waimai.infra.api import IdempotencyKeyRequired, KeysetPagination, problem_response, read_idempotency_key
from waimai.infra.clock import db_now
from waimai.infra.errors import RateLimited, RequestInProgress
from waimai.infra.models import TimerCursor

HERE = "orders_0"


@pytest.fixture
def mei(db_all: object) -> Person:
    return person()


def answer_to(error: Exception) -> Any:
    answer = problem_response(error, {})
    assert answer is not None
    return answer


# --- problems over the real doors ---


@pytest.mark.data
def test_nobody_is_asked_to_log_in() -> None:
    answer = Api().get("orders/")
    assert problem(answer) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.data
def test_a_forged_token_is_not_valid() -> None:
    assert problem(Api().get("orders/", Authorization="Bearer eyJ.eyJ.x")) == (401, "token_not_valid")


def test_an_object_that_is_not_there(mei: Person) -> None:
    assert problem(mei.api.get("orders/1/")) == (404, "not_found")


def test_a_method_that_is_not_offered(mei: Person) -> None:
    answer = mei.api.call("PUT", "orders/")
    assert problem(answer) == (405, "method_not_allowed")
    assert "POST" in answer["Allow"]


def test_a_body_that_is_not_json(mei: Person) -> None:
    answer = mei.api.client.generic(
        "POST",
        "/api/v1/orders/",
        "{not json",
        content_type="application/json",
        headers=mei.api.headers | {"Idempotency-Key": "k-1"},
    )
    assert problem(answer) == (400, "malformed_request")  # type: ignore[arg-type]


def test_a_body_of_another_kind(mei: Person) -> None:
    answer = mei.api.client.generic(
        "POST",
        "/api/v1/orders/",
        "shop=1",
        content_type="application/x-www-form-urlencoded",
        headers=mei.api.headers | {"Idempotency-Key": "k-1"},
    )
    assert problem(answer) == (415, "unsupported_media_type")  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [[], "text", 7, None, [{"shop": 1}]])
def test_a_body_that_is_no_object(mei: Person, body: object) -> None:
    status, code = problem(mei.api.post("orders/", body, Idempotency_Key="k-1"))
    assert (status, code) == (400, "validation_error")


def test_fields_are_named(mei: Person) -> None:
    answer = mei.api.post("orders/", {"shop": "x"}, Idempotency_Key="k-1")
    assert set(read(answer)["errors"]) == {"shop", "address"}


def test_every_answer_carries_a_request_id(mei: Person) -> None:
    assert mei.api.get("orders/", X_Request_ID="order-17")["X-Request-ID"] == "order-17"
    assert len(mei.api.get("orders/1/")["X-Request-ID"]) == 32


# --- the handler ---


def test_a_limit_says_when_to_come_again() -> None:
    assert answer_to(RateLimited(retry_after=7)).headers["Retry-After"] == "7"


def test_a_throttle_of_drf_too() -> None:
    answer = answer_to(exceptions.Throttled(wait=12.5))
    assert (answer.status_code, answer.data["code"], answer.headers["Retry-After"]) == (429, "rate_limited", "13")


def test_a_request_in_progress_says_come_again() -> None:
    answer = answer_to(RequestInProgress())
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "1")


def test_a_replayed_refusal_says_so() -> None:
    error = RateLimited()
    error.replayed = True
    assert answer_to(error).headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in answer_to(RateLimited()).headers


def test_djangos_404_is_ours() -> None:
    assert answer_to(Http404()).data["code"] == "not_found"


def test_errors_of_no_field_have_a_name() -> None:
    assert answer_to(exceptions.ValidationError(["?"])).data["errors"] == {"non_field_errors": ["?"]}


def test_a_mistake_in_the_program_is_not_dressed_up() -> None:
    assert problem_response(ValueError("x"), {}) is None


# --- keys ---


def request_with(**headers: str) -> Request:
    return Request(APIRequestFactory().post("/", headers={k.replace("_", "-"): v for k, v in headers.items()}))


@pytest.mark.parametrize("key", ["k", "k" * 64, "!~", "0f8fad5b-d9cb-469f-a165-70867728950e"])
def test_a_key_of_visible_characters_is_read(key: str) -> None:
    assert read_idempotency_key(request_with(Idempotency_Key=key)) == key


@pytest.mark.parametrize("key", ["", "k" * 65, "a b", "钥匙", "a\tb", "\x7f"])
def test_another_key_is_refused(key: str) -> None:
    with pytest.raises(IdempotencyKeyRequired) as refusal:
        read_idempotency_key(request_with(Idempotency_Key=key))
    assert (refusal.value.status, refusal.value.code) == (400, "idempotency_key_required")


def test_a_bad_key_is_refused_even_where_none_is_needed() -> None:
    with pytest.raises(IdempotencyKeyRequired):
        read_idempotency_key(request_with(Idempotency_Key="a b"), required=False)


def test_a_missing_key_is_refused_where_one_is_needed() -> None:
    assert read_idempotency_key(request_with(), required=False) is None
    with pytest.raises(IdempotencyKeyRequired):
        read_idempotency_key(request_with())


# --- paging ---


class ByName(KeysetPagination):
    """Cursors of timers have names; any table will do."""

    page_size = 10
    ordering = "-name"


def fill(count: int) -> None:
    now = db_now(HERE)
    TimerCursor.objects.on(HERE).bulk_create(TimerCursor(name=f"{n:05}", upto=now) for n in range(count))


def page(url: str) -> tuple[list[str], str | None, str | None]:
    pages = ByName()
    rows = pages.paginate_queryset(TimerCursor.objects.on(HERE), Request(APIRequestFactory().get(url))) or []
    return [row.name for row in rows], pages.get_next_link(), pages.get_previous_link()


@pytest.mark.data
def test_pages_follow_each_other_to_the_end() -> None:
    fill(25)
    first, url, before = page("/list/")
    assert (first, before) == ([f"{n:05}" for n in range(24, 14, -1)], None)
    assert url is not None
    second, url, before = page(url)
    assert second == [f"{n:05}" for n in range(14, 4, -1)]
    assert url is not None
    third, url, _ = page(url)
    assert (third, url) == ([f"{n:05}" for n in range(4, -1, -1)], None)


@pytest.mark.data
def test_what_is_added_meanwhile_moves_nothing() -> None:
    fill(20)
    _, url, _ = page("/list/")
    TimerCursor.objects.on(HERE).create(name="99999", upto=db_now(HERE))
    assert url is not None
    assert page(url)[0] == [f"{n:05}" for n in range(9, -1, -1)]


@pytest.mark.data
def test_the_way_back_leads_to_the_page_before() -> None:
    fill(25)
    first, url, _ = page("/list/")
    assert url is not None
    _, _, back = page(url)
    assert back is not None
    assert page(back)[0] == first


@pytest.mark.data
def test_a_far_page_is_read_like_the_first() -> None:
    fill(300)
    url: str | None = "/list/"
    statements: list[str] = []
    for _ in range(25):
        assert url is not None
        with CaptureQueriesContext(connections[HERE]) as queries:
            _, url, _ = page(url)
        assert len(queries) == 1
        statements.append(queries[0]["sql"])
    assert not any("OFFSET" in sql for sql in statements)
    assert all("LIMIT 11" in sql for sql in statements)


@pytest.mark.data
def test_no_page_is_larger_than_a_hundred() -> None:
    fill(120)
    assert len(page("/list/?page_size=50")[0]) == 50
    assert len(page("/list/?page_size=5000")[0]) == 100


@pytest.mark.data
@pytest.mark.parametrize("cursor", ["x", "%00", "cD0xJmI9", "bz0tMQ=="])
def test_a_cursor_of_nobodys_making_is_refused_or_harmless(mei: Person, cursor: str) -> None:
    answer = mei.api.get(f"orders/?cursor={cursor}")
    assert answer.status_code in (200, 404)


@pytest.mark.data
def test_the_links_lead_to_the_same_list(mei: Person) -> None:
    fill(11)
    _, url, _ = page("/list/?status=paid")
    assert url is not None
    assert "status=paid" in urlsplit(url).query
