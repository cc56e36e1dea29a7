from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from tests.factories import down

pytestmark = pytest.mark.data
ALL_OK = {"default": "ok", "orders_0": "ok", "orders_1": "ok", "cache": "ok", "broker": "ok"}


def test_the_process_is_alive() -> None:
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_every_part_is_named() -> None:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": ALL_OK})


def test_a_shard_that_is_down_is_reported_not_fatal() -> None:
    with down("orders_1"):
        answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"] == ALL_OK | {"orders_1": "down: OperationalError"}


def test_without_default_nobody_can_be_served() -> None:
    with down("default"):
        answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.json()["parts"]["default"] == "down: OperationalError"


def test_the_process_is_alive_without_any_database() -> None:
    with down("default"), down("orders_0"), down("orders_1"):
        assert Client().get("/healthz").status_code == 200


def test_a_cache_that_is_down_is_reported_not_fatal(settings: Settings) -> None:
    settings.WAIMAI_REDIS_URL = "unix:///nonexistent/redis.sock"
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"]["cache"] == "down: ConnectionError"


def test_what_was_down_is_up_again() -> None:
    with down("orders_1"):
        Client().get("/readyz")
    assert Client().get("/readyz").json()["parts"] == ALL_OK


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_nobody_needs_to_log_in(path: str) -> None:
    assert Client().get(path)["Content-Type"] == "application/json"
