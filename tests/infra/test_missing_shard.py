"""A shard that the settings forgot is noticed by everything that could notice, and hurts only its own users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from tests import factories
from tests.support.databases import Databases
from waimai.infra import sharding
from waimai.infra.errors import ServiceUnavailable

pytestmark = pytest.mark.data


@pytest.fixture
def one_forgotten(db_all: Databases, settings: Settings) -> Iterator[None]:
    """The second URL is missing, as in a shell without the environment."""
    settings.WAIMAI_ORDER_SHARDS = ["orders_0"]
    yield
    settings.WAIMAI_ORDER_SHARDS = ["orders_0", "orders_1"]
    sharding.forget_bucket_map()


def test_migrating_refuses(one_forgotten: None) -> None:
    with pytest.raises(CommandError, match="orders_1 hold users' orders, but WAIMAI_ORDER_SHARDS"):
        call_command("migrate_all", stdout=StringIO())


def test_the_audit_says_so(one_forgotten: None) -> None:
    assert "I5 orders_1: holds users' orders, but WAIMAI_ORDER_SHARDS doesn't name it" in factories.audit()


def test_readyz_says_so(one_forgotten: None) -> None:
    assert json.loads(Client().get("/readyz").content)["parts"]["orders_1"] == "down: not configured"


def test_the_layout_says_so(one_forgotten: None) -> None:
    out = StringIO()
    call_command("shards", "show", stdout=out)
    assert "orders_1: 512 buckets, NOT CONFIGURED" in out.getvalue()


def test_its_users_hear_unavailable(one_forgotten: None) -> None:
    there = next(user for user in range(1, 100) if sharding.bucket_of_user(user) % 2)
    with pytest.raises(ServiceUnavailable):
        sharding.shard_of_user(there)


def test_nobody_else_notices(one_forgotten: None) -> None:
    here = next(user for user in range(1, 100) if not sharding.bucket_of_user(user) % 2)
    assert sharding.shard_of_user(here) == "orders_0"
