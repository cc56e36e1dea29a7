from __future__ import annotations

from functools import partial

import pytest
from django.db import transaction

from tests.factories import at_once, rolled_back
from waimai.infra import idempotency, ids
from waimai.infra.db import run_atomic
from waimai.infra.errors import IdempotencyKeyReused
from waimai.infra.models import IdempotencyKey

pytestmark = pytest.mark.data
HERE = "orders_0"
MEI, TAO = 7, 8
ROUTE = "cakes.order"
BODY = idempotency.fingerprint(ROUTE, {"cakes": 2})


def claim(ref_id: int, *, user_id: int = MEI, key: str = "k-1", route: str = ROUTE, body: str = BODY) -> int | None:
    with transaction.atomic(using=HERE):
        return idempotency.claim(user_id=user_id, key=key, route=route, fingerprint=body, ref_id=ref_id, using=HERE)


def find(*, user_id: int = MEI, key: str = "k-1", route: str = ROUTE, body: str = BODY) -> int | None:
    return idempotency.find(user_id=user_id, key=key, route=route, fingerprint=body, using=HERE)


def test_a_free_key_is_bound() -> None:
    assert find() is None
    assert claim(101) is None
    assert find() == 101


def test_a_bound_key_tells_what_it_stands_for() -> None:
    claim(101)
    assert claim(102) == 101
    assert IdempotencyKey.objects.on(HERE).count() == 1


def test_another_body_is_refused() -> None:
    claim(101)
    with pytest.raises(IdempotencyKeyReused):
        claim(102, body=idempotency.fingerprint(ROUTE, {"cakes": 3}))
    assert find() == 101


def test_another_route_is_refused() -> None:
    claim(101)
    with pytest.raises(IdempotencyKeyReused):
        find(route="cakes.pay")


def test_another_user_has_keys_of_their_own() -> None:
    claim(101)
    assert find(user_id=TAO) is None
    assert claim(201, user_id=TAO) is None
    assert (find(), find(user_id=TAO)) == (101, 201)


def test_keys_differ_by_case() -> None:
    claim(101, key="abc")
    assert claim(102, key="ABC") is None


def test_a_transaction_that_failed_binds_nothing() -> None:
    with rolled_back(HERE):
        idempotency.claim(user_id=MEI, key="k-1", route=ROUTE, fingerprint=BODY, ref_id=101, using=HERE)
    assert find() is None
    assert claim(102) is None


def test_of_eight_at_once_one_binds_the_key_and_all_hear_of_it() -> None:
    refs = [ids.new_id(0) for _ in range(8)]

    def attempt(ref: int) -> int | None:
        return run_atomic(HERE, lambda: claim(ref), tries=10)

    answers = at_once(*[partial(attempt, ref) for ref in refs])
    winner = find()
    assert winner in refs
    assert sorted(answers, key=str) == sorted([None, *[winner] * 7], key=str)


def test_a_longest_key_is_kept_whole() -> None:
    claim(101, key="k" * 64)
    assert find(key="k" * 64) == 101
    assert find(key="k" * 63) is None


def test_the_order_of_members_does_not_change_a_body() -> None:
    assert idempotency.fingerprint(ROUTE, {"a": 1, "b": [2]}) == idempotency.fingerprint(ROUTE, {"b": [2], "a": 1})


@pytest.mark.parametrize(
    "other", [{"a": 1, "b": [2, 3]}, {"a": 1}, {"a": "1", "b": [2]}, {"a": 1, "b": [2], "c": None}]
)
def test_any_difference_changes_a_body(other: object) -> None:
    assert idempotency.fingerprint(ROUTE, {"a": 1, "b": [2]}) != idempotency.fingerprint(ROUTE, other)


def test_the_fingerprint_never_changes() -> None:
    # A golden value: keys live for seven days, over any deployment.
    known = "b8880850606944c69271b3e63bc14d1a39db7b919601cb7b3fd28c121b5b8db3"
    assert idempotency.fingerprint("orders.place", [1, "鱼"]) == known
