"""What there is only so much of, asked for by many at once. Coupons don't exist; portions and keys are limited."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import menu.services
from tests import factories
from tests.accounts.threads import at_once
from tests.factories import Person, Stall, audit, keys_of, orders_of, stock, wish
from tests.fixtures import mei, stall, tao

__all__ = ["mei", "stall", "tao"]
pytestmark = pytest.mark.data
AT_ONCE = 50


def post(who: Person, body: Any, key: str) -> tuple[int, Any]:
    answer = who.api.post("orders/", body, Idempotency_Key=key)
    return answer.status_code, answer.json()  # type: ignore[attr-defined]


def test_s04_fifty_requests_with_one_key_are_one_order(mei: Person, stall: Stall) -> None:
    body = wish(mei, stall)
    answers, errors = at_once(AT_ONCE, lambda _n: post(mei, body, "one"))
    assert (errors, {status for status, _document in answers} <= {201, 409}) == ([], True)
    assert len({document["id"] for status, document in answers if status == 201}) == 1
    assert (len(orders_of(mei)), keys_of(mei)) == (1, ["one"])
    assert audit() == []


def test_s04_a_key_is_its_owners_and_stands_for_one_request(mei: Person, tao: Person, stall: Stall) -> None:
    status, mine = post(mei, wish(mei, stall), "k")
    other_status, theirs = post(tao, wish(tao, stall), "k")
    assert (status, other_status, mine["id"] != theirs["id"]) == (201, 201, True)
    status, document = post(mei, wish(mei, stall, note="别的"), "k")
    assert (status, document["code"]) == (422, "idempotency_key_reused")
    assert audit() == []


def test_s04_the_last_portions_are_sold_once_each(stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    buyers = [factories.person(f"1370000{number:04}") for number in range(16)]
    answers, errors = at_once(len(buyers), lambda n: post(buyers[n], wish(buyers[n], stall), "k"))
    assert (errors, Counter(status for status, _document in answers)) == ([], {201: 5, 409: 11})
    assert stock(stall.fish) == (0, 5, 0)
    assert audit() == []


def test_s04_what_is_cancelled_by_many_at_once_comes_back_once(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=2)
    _status, made = post(mei, wish(mei, stall), "k")
    cancel = f"orders/{made['id']}/cancel/"
    answers, errors = at_once(8, lambda _n: mei.api.post(cancel, {"reason": "不要了"}).status_code)
    assert (errors, set(answers) <= {200, 409}, 200 in answers) == ([], True, True)
    factories.settle()
    assert stock(stall.fish) == (2, 0, 0)
    assert post(mei, wish(mei, stall), "again")[0] == 201
    assert audit() == []
