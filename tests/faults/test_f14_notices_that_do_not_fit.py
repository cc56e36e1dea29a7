"""Notices with a wrong amount, of another merchant, order or of none, forged, old or broken: nothing is ever paid."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from orders import services
from payments.models import ProviderTransaction, Refund
from payments.providers import sandbox, sandbox_wire
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    alerts_on,
    audit,
    history,
    notice,
    order,
    paid,
    payments_of,
    placed,
    receive,
    refund_notice,
    refunds_of,
    settle,
    start_payment,
)
from tests.support.server import Server
from waimai.infra import ids

pytestmark = pytest.mark.data

Signed = tuple[dict[str, str], bytes]


def deliver(server: Server, signed: Signed) -> tuple[int, str]:
    """POST a notice to the webhook; the status of the answer and its code."""
    headers, body = signed
    answer = requests.post(f"{server.url}/api/v1/payments/webhooks/sandbox/", data=body, headers=headers, timeout=30)
    return answer.status_code, answer.json()["code"]


TAKEN = (200, "SUCCESS")


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"amount": "0.01"}, "wrong_amount"),
        ({"amount": "62.99"}, "wrong_amount"),
        ({"amount": "6300.00"}, "wrong_amount"),
        ({"merchant": "somebody-else"}, "other_merchant"),
    ],
)
def test_f14_what_does_not_fit_is_taken_alerts_and_pays_nothing(
    server: Server, mei: Person, stall: Stall, claims: dict[str, str], kind: str
) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    wrong = notice(payment_id, **claims)
    assert [deliver(server, wrong) for _again in range(3)] == [TAKEN] * 3
    assert (order(order_id).status, payments_of(order_id)) == ("pending_payment", ["pending"])
    assert alerts_on(mei.shard) == [(kind, payment_id)]
    # The true one is not kept out by it.
    assert deliver(server, notice(payment_id)) == TAKEN
    settle()
    assert (order(order_id).status, history(order_id).count("paid")) == ("paid", 1)
    assert (refunds_of(order_id), audit()) == ([], [])


def test_f14_the_sandbox_can_lie_by_itself(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    sandbox.tell(payment_id, "success", amount="0.01")
    settle()
    assert order(order_id).status == "pending_payment"
    assert alerts_on(mei.shard) == [("wrong_amount", payment_id)]


def test_f14_the_money_of_another_order_pays_nothing(server: Server, mei: Person, stall: Stall) -> None:
    first, second = placed(mei, stall, key="k-1"), placed(mei, stall, key="k-2")
    paying, other = start_payment(first), start_payment(second)
    receive(notice(paying))
    # The same transaction is said to have paid the second order too.
    assert deliver(server, notice(paying, payment=other)) == TAKEN
    assert (order(second).status, payments_of(second)) == ("pending_payment", ["pending"])
    assert alerts_on(mei.shard) == [("transaction_reused", other)]
    assert ProviderTransaction.objects.on(mei.shard).count() == 1
    services.cancel(order_id=second, user_id=mei.id)
    settle()
    assert (refunds_of(first), refunds_of(second), audit()) == ([], [], [])


def test_f14_an_unknown_order_is_taken_and_alerts(server: Server, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    unknown = ids.new_id(ids.bucket_of(order_id))
    assert [deliver(server, notice(payment_id, payment=unknown)) for _again in range(2)] == [TAKEN] * 2
    assert {kind for kind, _payment in alerts_on(mei.shard)} == {"unknown_payment"}
    assert order(order_id).status == "pending_payment"
    services.cancel(order_id=order_id, user_id=mei.id)


def test_f14_refunds_that_do_not_fit_move_nothing(server: Server, mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    settle()
    refund = Refund.objects.of_order(order_id).get().id
    strangers: list[dict[str, object]] = [
        {"amount": "0.01"},
        {"merchant": "somebody-else"},
        {"refund": ids.new_id(ids.bucket_of(order_id))},
        {"payment": ids.new_id(ids.bucket_of(order_id))},
    ]
    assert [deliver(server, refund_notice(refund, **claims)) for claims in strangers] == [TAKEN] * 4
    kinds = [kind for kind, _payment in alerts_on(mei.shard)]
    assert kinds == ["wrong_amount", "other_merchant", "unknown_refund", "unknown_payment"]
    settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "succeeded")]
    assert audit() == []


def unsigned(signed: Signed) -> Signed:
    return {}, signed[1]


def forged(signed: Signed) -> Signed:
    return sandbox_wire.sign(signed[1], secret=b"guessed"), signed[1]


def replayed(signed: Signed) -> Signed:
    return sandbox_wire.sign(signed[1], timestamp=int(time.time()) - 86_400), signed[1]


def tampered(signed: Signed) -> Signed:
    return signed[0], signed[1].replace(b"success", b"Success").replace(b"captured", b"failed")


def nonsense(signed: Signed) -> Signed:
    return sandbox_wire.sign(b'{"payment": true}'), b'{"payment": true}'


def told_twice(signed: Signed) -> Signed:
    body = signed[1].replace(b'"amount":', b'"amount":"0.01","amount":')
    return sandbox_wire.sign(body), body


def ten_megabytes(signed: Signed) -> Signed:
    body = b"x" * (10 * 1024 * 1024)
    return sandbox_wire.sign(body), body


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (unsigned, (401, "webhook_refused")),
        (forged, (401, "webhook_refused")),
        (replayed, (401, "webhook_refused")),
        (tampered, (401, "webhook_refused")),
        (nonsense, (400, "webhook_malformed")),
        (told_twice, (400, "webhook_malformed")),
        (ten_megabytes, (413, "payload_too_large")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_f14_what_is_not_the_providers_word_is_refused_and_pays_nothing(
    server: Server, mei: Person, stall: Stall, change: Callable[[Signed], Signed], answer: tuple[int, str]
) -> None:
    order_id = placed(mei, stall)
    genuine: Any = notice(start_payment(order_id))
    assert deliver(server, change(genuine)) == answer
    assert (order(order_id).status, alerts_on(mei.shard)) == ("pending_payment", [])
    assert deliver(server, genuine) == TAKEN
    assert order(order_id).status == "paid"
    settle()
    assert audit() == []
