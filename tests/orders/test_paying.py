from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

import menu.services
from orders import compensation, services
from orders.errors import InvalidTransition
from payments.providers import sandbox
from tests.accounts.factories import problem, read
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    accepted,
    audit,
    capture,
    changes_of,
    history,
    just_before,
    notice,
    order,
    paid,
    payments_of,
    placed,
    receive,
    refunds_of,
    saga_of,
    settle,
    start_payment,
    stock,
    timer,
)
from waimai.infra.clock import db_now
from waimai.infra.errors import IdempotencyKeyReused, NotFound

pytestmark = pytest.mark.data


def pay(who: Person, order_id: int, key: str = "p-1", provider: str = "sandbox") -> services.Document:
    answer = who.api.post(f"orders/{order_id}/pay/", {"provider": provider}, Idempotency_Key=key)
    body: services.Document = read(answer)
    return {"status": answer.status_code, "replayed": answer.get("Idempotent-Replayed")} | body


def test_a_payment_is_opened(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    answer = pay(mei, order_id)
    assert (answer["status"], answer["provider"]) == (201, "sandbox")
    assert answer["client_parameters"] == {"pay_url": f"/pay/sandbox/{answer['payment']}/"}
    assert payments_of(order_id) == ["pending"]


def test_the_same_key_opens_it_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    first, again = pay(mei, order_id), pay(mei, order_id)
    assert (again["payment"], again["replayed"], first["replayed"]) == (first["payment"], "true", None)
    assert payments_of(order_id) == ["pending"]


def test_the_same_key_answers_the_same_when_it_was_paid(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    first = pay(mei, order_id)
    capture(first["payment"])
    assert pay(mei, order_id) == first | {"replayed": "true"}


def test_the_key_of_the_order_is_not_one_for_its_payment(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, key="k-1")
    assert pay(mei, order_id, "k-1")["code"] == "idempotency_key_reused"


def test_one_key_pays_one_order(mei: Person, stall: Stall) -> None:
    first, second = placed(mei, stall, key="k-1"), placed(mei, stall, key="k-2")
    pay(mei, first)
    with pytest.raises(IdempotencyKeyReused):
        services.pay(order_id=second, user_id=mei.id, provider="sandbox", key="p-1")


def test_a_key_is_needed(mei: Person, stall: Stall) -> None:
    answer = mei.api.post(f"orders/{placed(mei, stall)}/pay/", {"provider": "sandbox"})
    assert problem(answer) == (400, "idempotency_key_required")


def test_a_provider_that_is_not_offered(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    answer = pay(mei, order_id, provider="barter")
    assert (answer["status"], answer["code"]) == (400, "validation_error")
    assert payments_of(order_id) == []


def test_someone_elses_order_is_not_found(mei: Person, tao: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    assert (pay(tao, order_id)["status"], payments_of(order_id)) == (404, [])
    with pytest.raises(NotFound):
        services.pay(order_id=order_id, user_id=tao.id, provider="sandbox", key="p-1")


def test_a_paid_order_is_not_paid_again(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    answer = pay(mei, order_id, "p-2")
    assert (answer["status"], answer["code"]) == (409, "invalid_transition")
    assert (answer["order_status"], answer["transition"]) == ("paid", "pay")
    assert payments_of(order_id) == ["captured"]


def test_a_payment_lasts_as_long_as_the_order(mei: Person, stall: Stall) -> None:
    from payments.models import Payment

    order_id = placed(mei, stall)
    payment = Payment.objects.by_id(start_payment(order_id)).get()
    assert (payment.expires_at, payment.amount) == (order(order_id).expires_at, FISH_TOTAL)


# --- what the payment's news does ---


def test_captured_money_pays_the_order(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    capture(payment_id)
    row = order(order_id)
    assert (row.status, row.payment_status) == ("paid", "paid")
    assert row.paid_at is not None
    assert db_now(mei.shard) - row.paid_at < timedelta(seconds=10)
    assert changes_of(order_id)[-1] == ("pay", "payment", "")
    assert timer("order.expire", order_id) is None


def test_the_capture_and_the_paid_order_are_one_commit(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    arrived = notice(payment_id)

    def fails() -> None:
        raise ZeroDivisionError

    with just_before(compensation, "captured", fails), pytest.raises(ZeroDivisionError):
        receive(arrived)
    assert (order(order_id).status, payments_of(order_id)) == ("pending_payment", ["pending"])
    receive(arrived)
    assert (order(order_id).status, payments_of(order_id)) == ("paid", ["captured"])


def test_a_notice_told_ten_times_pays_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    arrived = notice(start_payment(order_id))
    for _ in range(10):
        receive(arrived)
    assert history(order_id) == ["pending_payment", "paid"]
    assert refunds_of(order_id) == []


def test_a_failed_attempt_leaves_time_for_another(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    receive(notice(start_payment(order_id, key="p-1"), "failure"))
    assert order(order_id).status == "pending_payment"
    capture(start_payment(order_id, key="p-2"))
    assert order(order_id).status == "paid"
    assert payments_of(order_id) == ["failed", "captured"]


def test_paid_twice_the_second_goes_back(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    first, second = start_payment(order_id, key="p-1"), start_payment(order_id, key="p-2")
    capture(first)
    capture(second)
    settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "duplicate", "succeeded")]
    assert (order(order_id).status, order(order_id).payment_status) == ("paid", "paid")
    assert audit() == []


def test_paid_twice_and_cancelled_both_go_back_once(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    for payment_id in [start_payment(order_id, key=f"p-{n}") for n in (1, 2)]:
        capture(payment_id)
    services.cancel(order_id=order_id, user_id=mei.id)
    settle()
    assert sorted(purpose for _, purpose, _ in refunds_of(order_id)) == ["cancel", "duplicate"]
    assert order(order_id).payment_status == "refunded"
    assert audit() == []


def test_cancelled_and_then_paid_it_goes_back(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    services.cancel(order_id=order_id, user_id=mei.id)
    capture(payment_id)
    assert (order(order_id).status, order(order_id).payment_status) == ("cancelled", "refunding")
    settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "late", "succeeded")]
    assert order(order_id).payment_status == "refunded"
    assert audit() == []


def test_paid_and_then_cancelled_it_goes_back(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    assert order(order_id).payment_status == "refunding"
    settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "succeeded")]
    assert (order(order_id).status, order(order_id).payment_status) == ("cancelled", "refunded")
    assert audit() == []


def test_a_refund_that_fails_is_sent_until_it_is_done(mei: Person, stall: Stall) -> None:
    from waimai.infra.models import Timer

    order_id = paid(mei, stall)
    sandbox.fail_next("refund", near=order_id, times=3)
    services.cancel(order_id=order_id, user_id=mei.id)
    for _ in range(4):
        Timer.objects.on(mei.shard).filter(kind="refund.send").update(due_at=db_now(mei.shard))
        settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "succeeded")]
    assert order(order_id).payment_status == "refunded"


def test_an_open_payment_of_a_paid_order_is_closed_with_its_cancellation(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    first, _second = start_payment(order_id, key="p-1"), start_payment(order_id, key="p-2")
    capture(first)
    services.cancel(order_id=order_id, user_id=mei.id)
    settle()
    assert payments_of(order_id) == ["captured", "closed"]
    assert audit() == []


def test_money_for_an_order_that_is_gone_goes_back(mei: Person, stall: Stall) -> None:
    from orders.models import Order

    order_id = placed(mei, stall)
    payment_id = start_payment(order_id)
    Order.objects.by_id(order_id).delete()
    capture(payment_id)
    settle()
    assert refunds_of(order_id) == [(FISH_TOTAL, "duplicate", "succeeded")]


def test_portions_are_sold_with_the_payment(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    order_id = placed(mei, stall, (stall.fish, 2))
    capture(start_payment(order_id))
    assert stock(stall.fish) == (3, 0, 2)
    assert saga_of(order_id).state == "done"


def test_after_the_shop_accepted_the_customer_cannot_cancel(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    with pytest.raises(InvalidTransition):
        services.cancel(order_id=order_id, user_id=mei.id)
    assert (order(order_id).status, refunds_of(order_id)) == ("accepted", [])


def test_the_amount_is_the_orders_not_the_callers(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 2))
    answer = mei.api.post(f"orders/{order_id}/pay/", {"provider": "sandbox", "amount": "0.01"}, Idempotency_Key="p-1")
    capture(read(answer)["payment"])
    assert order(order_id).total == Decimal("120.00")
    assert (order(order_id).status, audit()) == ("paid", [])
