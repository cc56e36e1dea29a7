"""Numbers tell nothing: what is somebody else's is as what isn't there, and nobody learns how much is sold."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from tests.factories import Person, Stall, placed, start_payment
from tests.fixtures import mei, stall, tao
from waimai.infra import ids
from waimai.infra.sharding import shard_of_id

__all__ = ["mei", "stall", "tao"]
pytestmark = pytest.mark.data
CALLS = [
    ("GET", "orders/{}/"),
    ("POST", "orders/{}/pay/"),
    ("POST", "orders/{}/cancel/"),
    ("POST", "orders/{}/remind/"),
    ("POST", "orders/{}/reorder/"),
]


def asked(who: Person, method: str, path: str, using: str) -> tuple[Any, ...]:
    """What a stranger sees, and how many statements the shard is asked."""
    with CaptureQueriesContext(connections[using]) as queries:
        answer = who.api.call(method, path, {"provider": "sandbox", "reason": "x"}, Idempotency_Key="k")
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.status_code, answer.content, headers, len(queries)


def test_s15_somebody_elses_order_is_like_none_at_all(mei: Person, tao: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    using, nothing = shard_of_id(order_id), order_id + 63
    assert shard_of_id(nothing) == using
    for method, path in CALLS:
        theirs = asked(tao, method, path.format(order_id), using)
        none = asked(tao, method, path.format(nothing), using)
        assert (theirs[0], theirs) == (404, none), path


def test_s15_so_is_somebody_elses_payment_and_address(mei: Person, tao: Person, stall: Stall) -> None:
    payment_id = start_payment(placed(mei, stall))
    using = shard_of_id(payment_id)
    body = {"outcome": "success"}
    answers = [tao.api.post(f"payments/sandbox/{number}/", body) for number in (payment_id, payment_id + 63)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(404, answers[1].content)] * 2
    assert using
    addresses = [tao.api.get(f"addresses/{number}/") for number in (mei.address_id, 10**9)]
    assert [(answer.status_code, answer.content) for answer in addresses] == [(404, addresses[1].content)] * 2


def test_s15_numbers_do_not_count_orders(mei: Person, tao: Person, stall: Stall) -> None:
    """Two orders don't tell how many lie between: their numbers hold a second and a bucket of users."""
    first, other, second = placed(mei, stall, key="a"), placed(tao, stall, key="b"), placed(mei, stall, key="c")
    assert ids.bucket_of(first) == ids.bucket_of(second)
    assert first < second < 2**53
    apart = second - first
    assert apart == 1 or apart > 2**20 or ids.bucket_of(other) == ids.bucket_of(first)
