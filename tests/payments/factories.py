"""People who pay, and the sandbox as tests drive it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import pytest
from django.db import connections, transaction

from payments import services
from payments.models import Payment, PaymentAlert, Refund, SandboxNotice, SandboxRefund
from payments.providers import sandbox, sandbox_delivery, sandbox_wire
from waimai.infra import idempotency, ids, sharding, timers
from waimai.infra.clock import db_now
from waimai.infra.models import Timer

T = TypeVar("T")
MEI, TAO = 7, 8
PRICE = Decimal("56.00")


def new_order(user_id: int = MEI) -> int:
    """The number of an order; payments know nothing else of it."""
    return ids.new_id(sharding.bucket_of_user(user_id))


def start(
    order_id: int | None = None,
    *,
    key: str = "pay-1",
    user_id: int = MEI,
    amount: Decimal = PRICE,
    seconds: int = 900,
    still_wanted: Callable[[], None] = lambda: None,
) -> services.StartedPayment:
    """Mei opens a payment that may be paid for `seconds`."""
    order_id = order_id or new_order(user_id)
    return services.start_payment(
        order_id=order_id,
        user_id=user_id,
        amount=amount,
        provider="sandbox",
        key=key,
        fingerprint=idempotency.fingerprint("orders.pay", {"order": order_id, "provider": "sandbox"}),
        expires_at=db_now(sharding.shard_of_id(order_id)) + timedelta(seconds=seconds),
        still_wanted=still_wanted,
        description="招牌套餐",
    )


def pending(order_id: int | None = None, **changes: Any) -> Payment:
    """A payment that waits for its payer."""
    return row(start(order_id, **changes).payment_id)


def captured(order_id: int | None = None, **changes: Any) -> Payment:
    """A payment that was paid, told by the webhook."""
    payment = pending(order_id, **changes)
    receive(payment.id, "success")
    return row(payment.id)


def row(payment_id: int) -> Payment:
    payment: Payment = Payment.objects.by_id(payment_id).get()
    return payment


def refund_row(refund_id: int) -> Refund:
    refund: Refund = Refund.objects.by_id(refund_id).get()
    return refund


def alerts(payment_id: int) -> list[str]:
    """The kinds of the alerts about a payment, oldest first."""
    rows = PaymentAlert.objects.on(sharding.shard_of_id(payment_id)).filter(payment_id=payment_id)
    return list(rows.order_by("id").values_list("kind", flat=True))


def notice(payment_id: int, outcome: str = "success") -> SandboxNotice:
    """The payer acted; the sandbox has a notice to send."""
    number = sandbox.tell(payment_id, outcome)
    made: SandboxNotice = SandboxNotice.objects.by_id(number).get()
    return made


def signed(payment_id: int, outcome: str = "success", **changes: Any) -> tuple[dict[str, str], bytes]:
    """The headers and body of a genuine notification, with changes to its content made before it was signed."""
    _headers, body = sandbox_delivery.signed_notice(notice(payment_id, outcome), using=sharding.shard_of_id(payment_id))
    changed = msgspec.json.encode({**msgspec.json.decode(body), **changes})
    return sandbox_wire.sign(changed), changed


def receive(payment_id: int, outcome: str = "success", **changes: Any) -> None:
    """The sandbox's notification arrives."""
    headers, body = signed(payment_id, outcome, **changes)
    services.handle_webhook(provider="sandbox", headers=headers, body=body)


def signed_refund(refund_id: int, **claims: Any) -> tuple[dict[str, str], bytes]:
    """A genuine notification of money that the sandbox gave back, claims that aren't true included."""
    done: SandboxRefund = SandboxRefund.objects.by_id(refund_id).get()
    number = sandbox.tell_refund(done, times=0, **claims)
    row: SandboxNotice = SandboxNotice.objects.by_id(number).get()
    return sandbox_delivery.signed_notice(row, using=sharding.shard_of_id(refund_id))


def post(headers: dict[str, str], body: bytes) -> None:
    """A notification arrives."""
    services.handle_webhook(provider="sandbox", headers=headers, body=body)


def ask_refund(
    payment: Payment, amount: Decimal | None = None, *, purpose: str = "cancel", ref: str = "1"
) -> int | None:
    """A refund asked for in a transaction of its own."""
    using = sharding.shard_of_id(payment.id)
    with transaction.atomic(using=using):
        return services.request_refund(payment_id=payment.id, amount=amount, purpose=purpose, ref=ref, using=using)


def due_at(kind: str, ref_id: int) -> Any:
    """When a timer is due, None when there's none."""
    rows = Timer.objects.on(sharding.shard_of_id(ref_id)).filter(kind=kind, ref_id=ref_id)
    return rows.values_list("due_at", flat=True).first()


def fire(kind: str, ref_id: int) -> None:
    """The time has come, whenever it was to be."""
    using = sharding.shard_of_id(ref_id)
    now = db_now(using)
    assert Timer.objects.on(using).filter(kind=kind, ref_id=ref_id).update(due_at=now) == 1
    assert timers.fire(using, kind, [ref_id]) == 1


def expire(payment_id: int) -> None:
    """The payment's time is over."""
    past = db_now(sharding.shard_of_id(payment_id)) - timedelta(seconds=1)
    Payment.objects.by_id(payment_id).update(expires_at=past)


def at_once(*bodies: Callable[[], T]) -> list[T | BaseException]:
    """Run all bodies at the same moment, each in a thread with connections of its own; their results or errors."""
    results: list[T | BaseException] = [RuntimeError("did not run")] * len(bodies)
    start_line = threading.Barrier(len(bodies))

    def run(number: int) -> None:
        try:
            start_line.wait(10)
            results[number] = bodies[number]()
        except BaseException as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@contextmanager
def just_after(owner: Any, name: str, action: Callable[[], object]) -> Iterator[None]:
    """Do `action` once, right after `owner.name` was called the first time: a race made certain."""
    original = getattr(owner, name)
    done: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        if not done:
            done.append(True)
            action()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, call)
        yield
    assert done, f"{name} was never called"
