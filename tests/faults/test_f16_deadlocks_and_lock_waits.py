"""The database gives a transaction up (1213, 1020) or one statement of it (1205), on every way that writes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

import menu.services
from menu.models import Stock
from orders import saga, services
from orders.models import CartLine, Order, Saga
from payments.providers import sandbox
from tests import factories
from tests.accounts.factories import problem
from tests.factories import Person, Stall, at_once, audit, crash_before, order, orders_of, saga_of, stock, wish
from waimai.infra import db, outbox, timers
from waimai.infra.clock import db_now
from waimai.infra.errors import DomainError, ServiceUnavailable
from waimai.infra.models import Barrier, OutboxMessage, Timer
from waimai.infra.sharding import databases, shards

pytestmark = [pytest.mark.data, pytest.mark.slow]

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|SELECT.* FOR UPDATE)", re.IGNORECASE | re.DOTALL)
MYSQL = [(1213, "Deadlock found"), (1205, "Lock wait timeout exceeded"), (1020, "Record has changed since last read")]
GIVEN_UP = (ServiceUnavailable, OperationalError)
NETWORK_KINDS = ("refund.send", "payment.poll")
FEW = 3
# Where an error that somebody swallows would leave one effect out: each statement of theirs is refused.
OF_MANY_EFFECTS = {"cancel", "webhook"}


@dataclass
class Unlucky:
    """From the `at`-th statement that locks or writes, the database refuses them; only that one unless `lasting`."""

    at: int
    lasting: bool
    seen: int = 0
    refused: list[str] = field(default_factory=list)
    # Written outside a transaction, where nobody tries again.
    bare: list[str] = field(default_factory=list)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        connection = context["connection"]
        if connection.in_atomic_block or WRITES.match(sql):
            self.seen += 1
            self.bare += [] if connection.in_atomic_block else [sql]
            if self.seen == self.at or (self.lasting and self.seen > self.at):
                self.refused.append(sql)
                on_mysql = connection.vendor == "mysql"
                raise OperationalError(*(MYSQL[self.at % 3] if on_mysql else ("database is locked",)))
        return execute(sql, params, many, context)


@contextmanager
def unlucky(at: int, *, lasting: bool) -> Iterator[Unlucky]:
    fault = Unlucky(at, lasting)
    with ExitStack() as stack:
        for alias in databases():
            stack.enter_context(connections[alias].execute_wrapper(fault))
        yield fault


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "LONGEST_PAUSE_SECONDS", 0.01)


@dataclass(frozen=True)
class Table:
    """Who is there, and keys that were never used."""

    mei: Person
    lan: Person
    stall: Stall
    numbers: count[int] = field(default_factory=count)

    def key(self) -> str:
        return f"k-{next(self.numbers)}"

    def placed(self) -> int:
        return factories.placed(self.mei, self.stall, key=self.key())

    def paid(self) -> int:
        return factories.paid(self.mei, self.stall, key=self.key())

    def accepted(self) -> int:
        return factories.accepted(self.mei, self.stall, self.lan, key=self.key())

    def delivering(self) -> int:
        return factories.delivering(self.mei, self.stall, self.lan, key=self.key())

    def cancelled(self) -> int:
        order_id = self.paid()
        services.cancel(order_id=order_id, user_id=self.mei.id)
        return order_id

    def overdue(self) -> int:
        order_id = self.placed()
        factories.overdue(order_id)
        return order_id

    def unfinished(self) -> int:
        with crash_before(saga, "reserve"):
            self.placed()
        order_id = orders_of(self.mei)[-1]
        factories.saga_due(order_id)
        return order_id

    def notice(self) -> tuple[int, Any]:
        order_id = self.placed()
        return order_id, factories.notice(factories.start_payment(order_id))

    def open_payment(self) -> int:
        order_id = self.placed()
        payment_id = factories.start_payment(order_id)
        sandbox.tell(payment_id, "success", times=0)
        Timer.objects.on(self.mei.shard).filter(kind="payment.poll").update(due_at=db_now(self.mei.shard))
        return order_id

    def cart(self) -> tuple[int, int]:
        services.clear_cart(user_id=self.mei.id, shop_id=self.stall.shop_id)
        return self.mei.id, self.stall.shop_id


@dataclass(frozen=True)
class Way:
    """One way to write: what it needs, what is done (twice is harmless), and how it looks when it was done."""

    make: Callable[[Table], Any]
    act: Callable[[Table, Any], object]
    done: Callable[[Table, Any], bool]


def is_(status: str) -> Callable[[Table, Any], bool]:
    return lambda _table, order_id: order(order_id).status == status


def staff(name: str, **details: Any) -> Callable[[Table, int], object]:
    return lambda table, order_id: getattr(services, name)(order_id=order_id, staff_id=table.lan.id, **details)


def refunded(_table: Table, order_id: int) -> bool:
    return [status for _, _, status in factories.refunds_of(order_id)] == ["succeeded"]


def heard(table: Table, order_id: int) -> bool:
    waiting = OutboxMessage.objects.on(table.mei.shard).exclude(state=OutboxMessage.State.DONE)
    return not waiting.filter(key=order_id).exists()


def add_fish(table: Table, _cart: Any) -> None:
    if not in_cart(table, _cart):
        services.add_to_cart(
            user_id=table.mei.id, shop_id=table.stall.shop_id, line=factories.lines((table.stall.fish, 2))[0]
        )


def in_cart(table: Table, _cart: Any) -> bool:
    rows = CartLine.objects.on(table.mei.shard).filter(user_id=table.mei.id)
    return list(rows.values_list("quantity", flat=True)) == [2]


def place(table: Table, key: str, *wanted: tuple[int, int]) -> None:
    factories.place(table.mei, table.stall, *wanted, key=key)


def was_placed(table: Table, key: str) -> bool:
    return factories.place(table.mei, table.stall, key=key).replayed


WAYS = {
    "place": Way(Table.key, place, was_placed),
    "place unlimited": Way(
        Table.key,
        lambda t, key: place(t, key, (t.stall.tofu, 2)),
        lambda t, key: factories.place(t.mei, t.stall, (t.stall.tofu, 2), key=key).replayed,
    ),
    "pay": Way(
        Table.placed,
        lambda _t, order_id: factories.start_payment(order_id),
        lambda _t, order_id: factories.payments_of(order_id) == ["pending"],
    ),
    "webhook": Way(Table.notice, lambda _t, made: factories.receive(made[1]), lambda t, made: is_("paid")(t, made[0])),
    "poll": Way(Table.open_payment, lambda t, _order: timers.sweep(t.mei.shard, lane="network"), is_("paid")),
    "cancel": Way(
        Table.paid, lambda t, order_id: services.cancel(order_id=order_id, user_id=t.mei.id), is_("cancelled")
    ),
    "reject": Way(Table.paid, staff("reject", reason="太忙了"), is_("cancelled")),
    "accept": Way(Table.paid, staff("accept"), is_("accepted")),
    "deliver": Way(Table.accepted, staff("deliver"), is_("delivering")),
    "complete": Way(Table.delivering, staff("complete"), is_("completed")),
    "expire": Way(Table.overdue, lambda t, _order: timers.sweep(t.mei.shard), is_("cancelled")),
    "refund": Way(Table.cancelled, lambda t, _order: timers.sweep(t.mei.shard, lane="network"), refunded),
    "relay": Way(Table.paid, lambda t, _order: outbox.relay(t.mei.shard), heard),
    "recovery": Way(Table.unfinished, lambda t, _order: saga.recover(t.mei.shard), is_("pending_payment")),
    "hand out": Way(
        Table.placed, lambda t, _order: timers.hand_out(t.mei.shard, lambda *_: None), is_("pending_payment")
    ),
    "cart": Way(Table.cart, add_fish, in_cart),
    "stock": Way(
        lambda t: 300 + next(t.numbers),
        lambda t, portions: menu.services.set_stock(item_id=t.stall.rice, available=portions),
        lambda t, portions: stock(t.stall.rice)[0] == portions,
    ),
}


@pytest.fixture
def table(mei: Person, lan: Person, stall: Stall) -> Table:
    for dish in (stall.fish, stall.rice):
        menu.services.set_stock(item_id=dish, available=500)
    factories.placed(mei, stall, key="warm")  # The number of this process, the menu: what is read once.
    return Table(mei, lan, stall)


def mend() -> None:
    """What the sweeps do within seconds, at once."""
    for alias in shards():
        now = db_now(alias)
        Saga.objects.on(alias).filter(next_at__isnull=False).update(next_at=now)
        Timer.objects.on(alias).filter(kind__in=NETWORK_KINDS).update(due_at=now)
        # Those that failed wait a little longer each time.
        Timer.objects.on(alias).filter(attempts__gt=0).update(due_at=now)
    for alias in databases():
        OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).update(next_at=db_now(alias))
    for alias in shards():
        saga.recover(alias)
    factories.settle()


def few_of(total: int, rounds: int | None) -> list[int]:
    """Some statements, the first and the last among them; all when asked for."""
    some = total if rounds else min(FEW, total)
    return sorted({1 + round(number * (total - 1) / max(some - 1, 1)) for number in range(some)})


@pytest.mark.parametrize("name", list(WAYS))
def test_f16_a_transaction_that_is_given_up_leaves_no_half(
    name: str, table: Table, request: pytest.FixtureRequest
) -> None:
    way = WAYS[name]
    # The first time puts in what is only raised from then on.
    way.act(table, way.make(table))
    subject = way.make(table)
    with unlucky(10**9, lasting=False) as nothing:
        way.act(table, subject)
    assert (way.done(table, subject), nothing.bare) == (True, [])
    for at in few_of(nothing.seen, request.config.getoption("rounds")):
        subject = way.make(table)
        with unlucky(at, lasting=True) as fault, suppress(*GIVEN_UP):
            way.act(table, subject)
        assert fault.refused, (at, nothing.seen)
        assert audit() == [], (at, fault.refused[0])
        with suppress(DomainError):
            way.act(table, subject)
        mend()
        assert way.done(table, subject), (at, fault.refused[0])
    assert audit() == []


@pytest.mark.parametrize("name", list(WAYS))
def test_f16_what_is_given_up_once_is_tried_again(name: str, table: Table) -> None:
    way = WAYS[name]
    # The first time puts in what is only raised from then on.
    way.act(table, way.make(table))
    subject = way.make(table)
    with unlucky(10**9, lasting=False) as nothing:
        way.act(table, subject)
    some = few_of(nothing.seen, None)[1:]
    for at in range(1, nothing.seen + 1) if name in OF_MANY_EFFECTS else some:
        subject = way.make(table)
        with unlucky(at, lasting=False) as fault:
            way.act(table, subject)
        assert len(fault.refused) == 1
        assert way.done(table, subject), (at, fault.refused)
    mend()
    assert audit() == []


@pytest.mark.parametrize("what", ["place", "pay", "cancel", "accept", "cart"])
def test_f16_after_three_tries_the_answer_is_503(what: str, table: Table) -> None:
    post, order_id = table.mei.api.post, table.paid() if what in {"cancel", "accept"} else table.placed()
    calls: dict[str, Callable[[], Any]] = {
        "place": lambda: post("orders/", wish(table.mei, table.stall), Idempotency_Key=table.key()),
        "pay": lambda: post(f"orders/{order_id}/pay/", {"provider": "sandbox"}, Idempotency_Key=table.key()),
        "cancel": lambda: post(f"orders/{order_id}/cancel/"),
        "accept": lambda: table.lan.api.post(f"staff/orders/{order_id}/accept/", {}),
        "cart": lambda: post(
            f"shops/{table.stall.shop_id}/cart/lines/", {"item": table.stall.fish, "quantity": 1, "options": []}
        ),
    }
    before = order(order_id).version
    assert table.lan.api.headers  # Logging in writes too.
    factories.relay()
    with unlucky(1, lasting=True) as fault:
        answer = calls[what]()
    assert problem(answer) == (503, "service_unavailable")
    assert int(answer["Retry-After"]) > 0
    assert 3 <= len(fault.refused) <= 4
    assert order(order_id).version == before


# --- real locks, on a real MariaDB ---


@contextmanager
def held(rows: Any) -> Iterator[None]:
    """Another connection holds these rows until the end of the block."""
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using=rows.db):
            assert list(rows.select_for_update())
            locked.set()
            release.wait(50)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(20)
    yield
    release.set()
    holder.join()


def within_a_second(body: Callable[[], object]) -> Callable[[], object]:
    """The body, in a thread that waits for locks one second at most, as short as MariaDB can."""

    def run() -> object:
        for alias in databases():
            with connections[alias].cursor() as cursor:
                cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        return body()

    return run


@pytest.fixture
def on_mariadb() -> None:
    if connections["default"].vendor != "mysql":
        pytest.skip("SQLite locks whole databases")


@pytest.mark.usefixtures("on_mariadb")
def test_f16_a_lock_wait_that_ends_takes_the_whole_transaction_along(table: Table) -> None:
    """1205 rolls back one statement only; each of these has written before it comes to the row that is held."""
    using = table.mei.shard
    order_ids = cancelled, captured, delivered = table.paid(), table.placed(), table.accepted()
    notice = factories.notice(factories.start_payment(captured))
    before = [(order(each).version, saga_of(each).version) for each in order_ids]
    left = stock(table.stall.fish)
    with ExitStack() as stack:
        stack.enter_context(held(Saga.objects.on(using).filter(order_id__in=[cancelled, captured])))
        stack.enter_context(held(Order.objects.on(using).filter(pk=delivered)))
        stack.enter_context(held(Stock.objects.filter(item_id=table.stall.fish)))
        answers = at_once(
            within_a_second(partial(services.cancel, order_id=cancelled, user_id=table.mei.id)),
            within_a_second(partial(factories.receive, notice)),
            within_a_second(partial(services.deliver, order_id=delivered, staff_id=table.lan.id)),
            within_a_second(partial(place, table, "held")),
        )
    assert [type(answer) for answer in answers] == [ServiceUnavailable] * 4
    assert [(order(each).version, saga_of(each).version) for each in order_ids] == before
    assert (factories.refunds_of(cancelled), factories.payments_of(captured)) == ([], ["pending"])
    assert factories.timer("order.complete", delivered) is None
    placing = orders_of(table.mei)[-1]
    assert (order(placing).status, stock(table.stall.fish)) == ("placing", left)
    assert not Barrier.objects.on("default").filter(saga_id=placing).exists()
    assert menu.services.holds_of([placing]) == {}
    mend()
    assert (order(placing).status, audit()) == ("pending_payment", [])


@pytest.mark.usefixtures("on_mariadb")
def test_f16_a_real_deadlock_is_tried_again(table: Table) -> None:
    """Somebody holds the tofu and then wants the fish; we hold the fish and want the tofu, and are the victim."""
    menu.services.set_stock(item_id=table.stall.tofu, available=500)
    holds_tofu, ends = threading.Event(), []

    def rival() -> None:
        with suppress(OperationalError), transaction.atomic(using="default"):
            # The victim is who has changed less.
            Barrier.objects.on("default").bulk_create(
                Barrier(saga_id=number, step="x", op="do", reason="do", bucket=0, created_at=db_now("default"))
                for number in range(200)
            )
            Stock.objects.filter(item_id=table.stall.tofu).update(sold=0)
            holds_tofu.set()
            while not _somebody_waits():
                time.sleep(0.15)  # InnoDB renews that view only for who asks less often than every 0.1 s.
            Stock.objects.filter(item_id=table.stall.fish).update(sold=0)
            ends.append("rival")
            transaction.set_rollback(True, using="default")
        connections.close_all()

    other = threading.Thread(target=rival)
    other.start()
    assert holds_tofu.wait(20)
    order_id = factories.placed(table.mei, table.stall, (table.stall.fish, 1), (table.stall.tofu, 1), key="victim")
    other.join()
    assert ends == ["rival"]
    assert [hold.quantity for hold in menu.services.holds_of([order_id])[order_id]] == [1, 1]
    assert (stock(table.stall.tofu), audit()) == ((499, 1, 0), [])


def _somebody_waits() -> bool:
    time.sleep(0.2)  # MariaDB shows what it showed last to those who ask again within 0.1 s.
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
        return cursor.fetchone() is not None
