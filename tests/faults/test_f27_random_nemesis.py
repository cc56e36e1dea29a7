"""Fault 27: anything is killed, stopped or restarted at any time while everybody orders, pays, cancels and works."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest
from django.db import connections

from menu.models import Shop
from orders.compensation import EXPIRE
from orders.models import Order, Saga
from orders.states import PaymentStatus, Status
from payments.models import Payment, Refund, SandboxCharge, SandboxFault, SandboxRefund
from payments.providers.sandbox import NOTIFY
from payments.services.polling import POLL
from payments.services.refunding import SEND
from payments.states import OPEN, RefundStatus
from payments.states import PaymentStatus as PaymentState
from tests import factories
from tests.faults.conftest import Fleets
from tests.faults.crowd import Crowd
from tests.menu.factories import make_dish
from tests.support.fleet import Fleet, Kind
from tests.support.nemesis import Nemesis
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage, Timer
from waimai.infra.sharding import databases, shard_of_id, shards

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.services("mariadbd", "redis-server"),
    pytest.mark.timeout(3600),
]

CUSTOMERS = 6
SHORT_MINUTES = 1.0
PORTIONS_PER_MINUTE = 150
SETTLED_WITHIN_SECONDS = 180.0
HURRIED_EVERY_SECONDS = 6.0
# What a customer or cook may be told while everything dies around them: yes, no, "ask again", or nothing at all.
HONEST = re.compile(r"\w+ (200|201|202|0|503 service_unavailable|409 \w+)")


def test_f27_whatever_dies_nothing_is_lost_or_doubled(
    fleets: Fleets, minutes: float, request: pytest.FixtureRequest
) -> None:
    seed = int(request.config.getoption("randomly_seed", None) or 1)
    short = minutes < SHORT_MINUTES
    fleet = fleets(aof=True)
    crowd = evening(fleet, minutes, seed)
    nemesis = Nemesis(fleet, seed=seed, every_seconds=(1, 4) if short else (5, 20), long_pauses=not short)
    try:
        with nemesis:
            crowd.begin()
            time.sleep(minutes * 60)
        crowd.go_home()
        settle()
        verify(crowd)
    except BaseException:
        tell(crowd, nemesis, history=True)
        raise
    tell(crowd, nemesis, history=not short)


def evening(fleet: Fleet, minutes: float, seed: int) -> Crowd:
    """Everything runs, nobody has come yet."""
    stall = factories.stall()
    portions = int(PORTIONS_PER_MINUTE * minutes)
    limited = make_dish(Shop.objects.get(pk=stall.shop_id), "限量烤鸭", "30.00", stock=portions)
    customers = [factories.person(f"1372222{n:04}") for n in range(CUSTOMERS)]
    lan = factories.works_at(stall.shop_id, "manager", "lan")
    kinds: tuple[Kind, ...] = ("web", "web", "events", "worker", "worker", "beat")
    timeout = "15" if minutes < SHORT_MINUTES else "120"
    programs = [fleet.start(kind, WAIMAI_PAYMENT_TIMEOUT_SECONDS=timeout) for kind in kinds]
    return Crowd([web.url for web in programs[:2]], customers, lan, stall, limited.pk, seed)


def settle() -> None:
    """The bank comes to its senses; what waits for a lease, a pause or a look ahead is due now, until all is done."""
    connections.close_all()  # Those of this process died with the server.
    for alias in shards():
        SandboxFault.objects.on(alias).all().delete()
    deadline, hurry_at = time.monotonic() + SETTLED_WITHIN_SECONDS, 0.0
    while left := unfinished():
        now = time.monotonic()
        assert now < deadline, f"not within {SETTLED_WITHIN_SECONDS} s: {left}"
        if now >= hurry_at:  # Not all the time: what is being worked on would be taken up twice.
            hurry()
            hurry_at = now + HURRIED_EVERY_SECONDS
        time.sleep(0.5)


def hurry() -> None:
    """Nobody waits for the clock; the bank is asked again about payments that aren't settled."""
    for alias in databases():
        OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).update(next_at=db_now(alias))
    for alias in shards():
        now = db_now(alias)
        unsettled = {row[0] for row in uneven_books(alias)}
        unsettled |= set(Payment.objects.on(alias).filter(status__in=OPEN).values_list("id", flat=True))
        waiting = Timer.objects.on(alias).filter(due_at__gt=now)
        waiting.filter(kind__in=(EXPIRE, SEND, NOTIFY)).update(due_at=now)
        waiting.filter(kind=POLL, ref_id__in=unsettled).update(due_at=now)
        Saga.objects.on(alias).exclude(next_at=None).update(next_at=now)


def unfinished() -> dict[str, Any]:
    """What somebody still has to do, and what the audit says; empty when the evening is over."""
    left: Counter[str] = Counter()
    for alias in databases():
        left["messages"] += OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).count()
    for alias in shards():
        left["unpaid"] += Order.objects.on(alias).filter(status__in=(Status.PLACING, Status.PENDING_PAYMENT)).count()
        left["refunds"] += Refund.objects.on(alias).filter(status=RefundStatus.PENDING).count()
        left["refunding"] += Order.objects.on(alias).filter(payment_status=PaymentStatus.REFUNDING).count()
        left["sagas"] += Saga.objects.on(alias).exclude(next_at=None).count()
        left["open payments"] += Payment.objects.on(alias).filter(status__in=OPEN).count()
        left["notices"] += Timer.objects.on(alias).filter(kind=NOTIFY).count()
        left["books"] += len(uneven_books(alias))
    found: dict[str, Any] = {what: count for what, count in left.items() if count}
    return found or ({"audit": problems} if (problems := factories.audit()) else {})


def verify(crowd: Crowd) -> None:
    """All of I1 to I10, and the bank's books."""
    assert factories.audit() == []
    assert crowd.acknowledged
    told = {document["id"] for document in crowd.acknowledged.values()}
    assert len(told) == len(crowd.acknowledged)
    assert [one for one in told if not Order.objects.on(shard_of_id(one)).filter(pk=one).exists()] == []
    assert crowd.differing() == []
    assert [what for what in crowd.statuses if not HONEST.fullmatch(what)] == []
    for alias in shards():
        assert uneven_books(alias) == set()
        cancelled_orders_got_everything_back_once(alias)


def uneven_books(using: str) -> set[tuple[Any, ...]]:
    """What the bank took or gave back and we don't know of, or the other way round: payments, then refunds."""
    charges = SandboxCharge.objects.on(using).filter(state=SandboxCharge.State.CAPTURED)
    payments = Payment.objects.on(using).filter(status=PaymentState.CAPTURED)
    refunds = Refund.objects.on(using).filter(status=RefundStatus.SUCCEEDED)
    taken = set(charges.values_list("payment_id", "amount")) ^ set(payments.values_list("id", "amount"))
    given = set(SandboxRefund.objects.on(using).values_list("refund_id", "payment_id", "amount"))
    return taken | (given ^ set(refunds.values_list("id", "payment_id", "amount")))


def cancelled_orders_got_everything_back_once(using: str) -> None:
    """One refund for each payment of a cancelled order, of all of it; none for the one that was wanted."""
    for order in Order.objects.on(using):
        captured = Payment.objects.on(using).filter(order_id=order.pk, status=PaymentState.CAPTURED)
        refunds = Refund.objects.on(using).filter(order_id=order.pk)
        kept = 0 if order.status == Status.CANCELLED else 1 if captured else 0
        assert refunds.count() == len(captured) - kept, order.pk
        assert all(refund.amount == order.total for refund in refunds)


def tell(crowd: Crowd, nemesis: Nemesis, *, history: bool) -> None:
    """The figures, and what was done to whom."""
    states: Counter[str] = Counter()
    money: Counter[str] = Counter()
    for alias in shards():
        states.update(Order.objects.on(alias).values_list("status", flat=True))
        money["captured"] += Payment.objects.on(alias).filter(status=PaymentState.CAPTURED).count()
        money["refunded"] += Refund.objects.on(alias).filter(status=RefundStatus.SUCCEEDED).count()
    print(f"\nseed {nemesis.seed} (again with --randomly-seed={nemesis.seed})")
    if history:
        print("\n".join(map(str, nemesis.history)))
    print(f"acknowledged {len(crowd.acknowledged)}; now {dict(states)}; payments {dict(money)}")
    print(f"blows {nemesis.counts()}; had to be killed {nemesis.overstayed}")
    print(f"died by themselves {dict(nemesis.died_by_themselves)}")
    print(f"answers {dict(sorted(crowd.statuses.items()))}")
    print(f"longest without an acknowledged order {crowd.longest_silence():.1f} s")
