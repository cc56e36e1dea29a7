"""A line is put into the cart once under one key, however often the client asks."""

from __future__ import annotations

import json

import pytest

from orders import services
from tests import factories
from tests.factories import Person, Stall
from waimai.infra.errors import IdempotencyKeyReused

pytestmark = pytest.mark.data


def quantities(who: Person, at: Stall) -> list[tuple[int, int]]:
    """(item, quantity) of each line in the cart."""
    view = services.view_cart(user_id=who.id, shop_id=at.shop_id)
    return [(line.item_id, line.quantity) for line in view.lines]


def add(who: Person, at: Stall, quantity: int = 1, key: str | None = "add-1") -> services.CartView:
    line = factories.lines((at.fish, quantity))[0]
    return services.add_to_cart(user_id=who.id, shop_id=at.shop_id, line=line, key=key)


def test_the_same_key_adds_once(mei: Person, stall: Stall) -> None:
    assert not add(mei, stall).replayed
    assert add(mei, stall).replayed
    assert quantities(mei, stall) == [(stall.fish, 1)]


def test_without_a_key_every_request_counts(mei: Person, stall: Stall) -> None:
    add(mei, stall, key=None)
    add(mei, stall, key=None)
    assert quantities(mei, stall) == [(stall.fish, 2)]


def test_a_key_is_not_for_another_line(mei: Person, stall: Stall) -> None:
    add(mei, stall)
    with pytest.raises(IdempotencyKeyReused):
        add(mei, stall, quantity=2)
    assert quantities(mei, stall) == [(stall.fish, 1)]


def test_eight_requests_at_once_with_one_key_add_once(mei: Person, stall: Stall) -> None:
    factories.at_once(*[lambda: add(mei, stall)] * 8)
    assert quantities(mei, stall) == [(stall.fish, 1)]


def test_the_api_says_that_it_is_a_replay(mei: Person, stall: Stall) -> None:
    body = {"item": stall.fish, "quantity": 1, "options": []}
    first, second = (
        mei.api.post(f"shops/{stall.shop_id}/cart/lines/", body, **{"Idempotency-Key": "add-1"}) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert json.loads(second.content)["lines"] == json.loads(first.content)["lines"]
