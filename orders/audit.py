"""What the audit asks of a shard: every invariant about orders, one line for each that is broken.

I1 and I3 are completed by the menu's and the payments' own audits; numbers as in `docs/architecture.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import menu.services
import payments.services
from orders import amendments, documents
from orders.checkout import ROUTE
from orders.compensation import COMPLETE, EXPIRE
from orders.models import Amendment, Order, OrderChange, OrderLine, Saga
from orders.saga import LIVE
from orders.states import PaymentStatus, Status, is_legal
from payments.services import OrderBooks
from waimai.infra import archive, sharding, timers
from waimai.infra.clock import db_now
from waimai.infra.models import IdempotencyKey, OutboxMessage, Timer

BATCH = 500
REFUND_STATES = (PaymentStatus.REFUNDING, PaymentStatus.REFUNDED)
# How long after its due time something may still wait before it counts as forgotten.
BOUND = timedelta(seconds=60)


def order_problems(using: str) -> Iterator[str]:
    """Everything that is wrong with the orders of one shard."""
    held = sharding.buckets_of(using)
    yield from _keys(using)
    yield from _money(using)
    now = db_now(using)
    for orders in batches(using):
        numbers = [order.pk for order in orders]
        lines, history = documents.lines_of(numbers, using=using), documents.history_of(numbers, using=using)
        amended = amendments.of(orders, using=using)
        yield from (f"I5 order {order.pk}: lies astray on {using}" for order in orders if order.bucket not in held)
        for order in orders:
            yield from _one(order, lines[order.pk], history[order.pk], now)
            yield from _amended(order, amended[order.pk], now)
        yield from _stock([order for order in orders if order.limited], using)
        yield from _timers(orders, using)
    yield from _sagas(using, now)


def waiting_problems(using: str) -> Iterator[str]:
    """Timers and messages of any database that wait past their time, and what was parked."""
    before = db_now(using) - BOUND
    for timer in Timer.objects.on(using).filter(due_at__lt=before)[:BATCH]:
        yield f"I4 timer {timer.kind} of {timer.ref_id}: due {timer.due_at:%F %T}"
    for timer in Timer.objects.on(using).filter(attempts__gte=timers.TRIES_BEFORE_PARKING)[:BATCH]:
        what = "parked" if timer.due_at == timers.PARKED else f"failed {timer.attempts} times"
        yield f"I9 timer {timer.kind} of {timer.ref_id}: {what}, {timer.error[:120]}"
    pending = OutboxMessage.objects.on(using).filter(state=OutboxMessage.State.PENDING, next_at__lt=before)
    for message in pending[:BATCH]:
        yield f"I4 message {message.id} ({message.topic} of {message.key}): waits since {message.next_at:%F %T}"
    for message in OutboxMessage.objects.on(using).filter(state=OutboxMessage.State.PARKED)[:BATCH]:
        yield f"I9 message {message.id} ({message.topic} of {message.key}): parked, {message.error[:120]}"


def batches(using: str) -> Iterator[list[Order]]:
    """The orders of a shard by id, from the oldest that isn't archived, some hundred at a time."""
    last = archive.oldest_living_id() - 1
    while batch := list(Order.objects.on(using).filter(pk__gt=last).order_by("pk")[:BATCH]):
        yield batch
        last = batch[-1].pk


def _one(order: Order, lines: Sequence[OrderLine], history: Sequence[OrderChange], now: datetime) -> Iterator[str]:
    if not lines or sum(line.amount for line in lines) != order.goods_total:
        yield f"I5 order {order.pk}: its {len(lines)} lines don't make {order.goods_total}"
    if order.goods_total + order.packing_fee + order.delivery_fee != order.total:
        yield f"I5 order {order.pk}: its parts don't make {order.total}"
    if order.status == Status.PLACING and order.placed_at < now - BOUND:
        yield f"I4 order {order.pk}: still being placed"
    if order.status == Status.PENDING_PAYMENT and order.expires_at < now - BOUND:
        yield f"I4 order {order.pk}: unpaid since {order.expires_at:%F %T}"
    yield from _history(order, history)


def _amended(order: Order, amended: Sequence[Amendment], now: datetime) -> Iterator[str]:
    back = sum(each.refund for each in amended if each.state == Amendment.State.ACCEPTED)
    if back != order.refunded_part or order.net_total <= 0 < order.total:
        yield f"I3 order {order.pk}: its amendments give back {back}, it says {order.refunded_part} of {order.total}"
    waiting = [each for each in amended if each.state == Amendment.State.PROPOSED]
    if len(waiting) > 1:
        yield f"I5 order {order.pk}: {len(waiting)} proposals are open"
    if any(each.answer_by < now - BOUND for each in waiting):
        yield f"I4 order {order.pk}: a proposal waits past its time"


def _history(order: Order, history: Sequence[OrderChange]) -> Iterator[str]:
    state, n = "", 0
    for row in history:
        if row.source != state or not is_legal(row.source, row.target):
            yield f"I6 order {order.pk}: change {row.n} from {row.source!r} to {row.target!r} when it was {state!r}"
        if not n < row.n <= order.version:
            yield f"I6 order {order.pk}: change {row.n} after {n} at version {order.version}"
        state, n = row.target, row.n
    if state != order.status:
        yield f"I6 order {order.pk}: is {order.status!r}, its history ends at {state!r}"


def _keys(using: str) -> Iterator[str]:
    """I2 and I5: every key stands for one order, and that order is there."""
    living = IdempotencyKey.objects.on(using).filter(route=ROUTE, ref_id__gte=archive.oldest_living_id())
    rows = living.values_list("user_id", "key", "ref_id")
    seen: set[int] = set()
    waiting: list[tuple[int, str, int]] = []
    for row in rows.iterator(chunk_size=BATCH):
        if row[2] in seen:
            yield f"I2 order {row[2]}: more than one key stands for it"
        seen.add(row[2])
        waiting.append(row)
        if len(waiting) == BATCH:
            yield from _missing(waiting, using)
            waiting = []
    yield from _missing(waiting, using)


def _missing(rows: Sequence[tuple[int, str, int]], using: str) -> Iterator[str]:
    wanted = [order_id for _user, _key, order_id in rows]
    there = set(Order.objects.on(using).filter(pk__in=wanted).values_list("pk", flat=True))
    for user_id, key, order_id in rows:
        if order_id not in there:
            yield f"I5 order {order_id}: acknowledged to user {user_id} under key {key!r}, but not there"


def _money(using: str) -> Iterator[str]:
    """I3 and I7, by walking orders and books side by side, both by order id."""
    books = payments.services.books(using)
    book = next(books, None)
    for batch in batches(using):
        for order in batch:
            while book is not None and book.order_id < order.pk:
                yield _of_no_order(book)
                book = next(books, None)
            mine = book if book is not None and book.order_id == order.pk else None
            yield from _balance(order, mine)
            if mine is not None:
                book = next(books, None)
    while book is not None:
        yield _of_no_order(book)
        book = next(books, None)


def _of_no_order(book: OrderBooks) -> str:
    return f"I3 order {book.order_id}: {book.charged} captured for an order that isn't there"


def _balance(order: Order, book: OrderBooks | None) -> Iterator[str]:
    kept = book.kept if book else 0
    due = order.net_total if order.payment_status == PaymentStatus.PAID else 0
    if kept != due:
        yield f"I3 order {order.pk}: {order.status}, {order.payment_status}, keeps {kept} instead of {due}"
    if book is None or not book.charges:
        return
    if (order.payment_status == PaymentStatus.PAID) == (order.status == Status.CANCELLED):
        yield f"I7 order {order.pk}: {order.status} and {order.payment_status}"
    if order.status == Status.CANCELLED and book.closing_refunds != book.charges:
        yield f"I7 order {order.pk}: {book.closing_refunds} closing refunds for {book.charges} payments"
    if order.payment_status not in REFUND_STATES:
        return
    if (order.payment_status == PaymentStatus.REFUNDED) != (book.refunded == book.charged):
        yield f"I3 order {order.pk}: {order.payment_status} with {book.refunded} of {book.charged} back"


def _stock(orders: Sequence[Order], using: str) -> Iterator[str]:
    """I1 across databases: the holds of limited orders are where their sagas say."""
    holds = menu.services.holds_of([order.pk for order in orders])
    sagas = {row.order_id: row for row in Saga.objects.on(using).filter(order_id__in=[o.pk for o in orders])}
    for order in orders:
        saga, states = sagas.get(order.pk), {hold.state for hold in holds.get(order.pk, [])}
        if saga is None:
            yield f"I4 order {order.pk}: has no saga"
        elif saga.next_at is None and saga.state in LIVE and order.status != Status.PENDING_PAYMENT:
            yield f"I4 saga of order {order.pk}: {saga.state} at {saga.step}, but nobody will go on with it"
        elif not states <= _expected_holds(order, saga):
            yield f"I1 order {order.pk}: {order.status}, saga {saga.state} at {saga.step}, holds {sorted(states)}"


def _expected_holds(order: Order, saga: Saga) -> set[str]:
    if saga.state == Saga.State.DONE:
        return {"sold"}
    if saga.state == Saga.State.COMPENSATED:
        return {"released"} if saga.release_stock else {"sold"}
    if saga.state == Saga.State.RUNNING and saga.step == Saga.Step.CHARGE and order.status == Status.PENDING_PAYMENT:
        return {"live"}
    return {"live", "sold", "released"}


def _timers(orders: Sequence[Order], using: str) -> Iterator[str]:
    """An order that the clock has to end has its timer."""
    for status, kind in ((Status.PENDING_PAYMENT, EXPIRE), (Status.DELIVERING, COMPLETE)):
        wanted = [order.pk for order in orders if order.status == status]
        there = set(Timer.objects.on(using).filter(kind=kind, ref_id__in=wanted).values_list("ref_id", flat=True))
        yield from (
            f"I4 order {order_id}: {status} without a timer {kind}" for order_id in wanted if order_id not in there
        )


def _sagas(using: str, now: datetime) -> Iterator[str]:
    rows = Saga.objects.on(using)
    for saga in rows.filter(next_at__lt=now - BOUND)[:BATCH]:
        yield f"I4 saga of order {saga.order_id}: {saga.state} at {saga.step}, due {saga.next_at:%F %T}"
    for saga in rows.filter(state=Saga.State.STUCK)[:BATCH]:
        yield f"I9 saga of order {saga.order_id}: stuck at {saga.step} after {saga.attempts} tries, {saga.error[:120]}"
