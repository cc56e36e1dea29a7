from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.core.management import call_command
from django.db import OperationalError, transaction

from tests.factories import at_once, just_before, rolled_back
from waimai.infra import ids, outbox
from waimai.infra.clock import db_now
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.models import OutboxMessage, Timer, message_id
from waimai.infra.outbox import Event, hear, hear_inside, publish, publish_many, relay, revive

pytestmark = [pytest.mark.data, pytest.mark.usefixtures("hearers")]
HERE = "orders_0"


@dataclass(frozen=True, kw_only=True)
class Baked(Event):
    """A cake came out of the oven."""

    topic: ClassVar[str] = "cake.baked"
    price: Decimal = Decimal("12.50")
    tags: list[str]


@dataclass(frozen=True, kw_only=True)
class Burnt(Event):
    """A cake didn't."""

    topic: ClassVar[str] = "cake.burnt"


def cake(key: int = 0, **values: Any) -> Baked:
    return Baked(key=key or ids.new_id(0), tags=["甜"], **values)


def tell(*events: Event, using: str = HERE) -> None:
    with transaction.atomic(using=using):
        publish_many(list(events) or [cake()], using=using)


def heard(failing: Callable[[Baked], None] = lambda event: None) -> list[Baked]:
    """What a hearer of cakes has heard; it first does `failing`."""
    events: list[Baked] = []

    @hear(Baked)
    def listen(event: Baked, *, using: str) -> None:
        failing(event)
        events.append(event)

    return events


def always_fails(event: Baked) -> None:
    raise ValueError("no plate")


def rows(using: str = HERE) -> list[OutboxMessage]:
    return list(OutboxMessage.objects.on(using).order_by("id"))


def only(using: str = HERE) -> OutboxMessage:
    (row,) = rows(using)
    return row


def make_due(using: str = HERE) -> None:
    OutboxMessage.objects.on(using).update(next_at=db_now(using))


def die_with_a_claim() -> None:
    with transaction.atomic(using=HERE):
        outbox._claim(HERE, "a relay that died", 10)


def fail_times(times: int) -> None:
    for _ in range(times):
        make_due()
        relay(HERE)


def test_news_reaches_its_hearer() -> None:
    events, told = heard(), cake(version=3)
    tell(told)
    assert relay(HERE) == 1
    assert events == [told]
    assert (events[0].price, events[0].tags, events[0].version) == (Decimal("12.50"), ["甜"], 3)


def test_news_is_heard_once_when_all_goes_well() -> None:
    events = heard()
    tell()
    assert [relay(HERE), relay(HERE)] == [1, 0]
    assert len(events) == 1
    assert only().state == OutboxMessage.State.DONE
    assert only().done_at is not None


def test_a_change_that_was_rolled_back_tells_nothing() -> None:
    events = heard()
    with rolled_back(HERE):
        publish(cake(), using=HERE)
    assert (relay(HERE), events, rows()) == (0, [], [])


def test_news_outside_a_transaction_is_refused() -> None:
    heard()
    with pytest.raises(RuntimeError, match="inside the transaction"):
        publish(cake(), using=HERE)
    assert rows() == []


def test_a_transaction_on_another_database_does_not_count() -> None:
    heard()
    with pytest.raises(RuntimeError), transaction.atomic(using="orders_1"):
        publish(cake(), using=HERE)


def test_news_that_nobody_hears_is_not_kept() -> None:
    tell()
    assert rows() == []


def test_a_message_says_what_it_is_about() -> None:
    heard()
    told = cake(ids.new_id(77), version=4)
    tell(told)
    assert (only().topic, only().key, only().version, only().bucket) == ("cake.baked", told.key, 4, 77)


def test_each_database_has_its_own_news() -> None:
    events = heard()
    tell(using="default")
    tell(using="orders_1")
    assert relay(HERE) == 0
    assert [relay("default"), relay("orders_1")] == [1, 1]
    assert len(events) == 2


def test_a_hearer_learns_where_the_news_stood() -> None:
    aliases: list[str] = []

    @hear(Baked)
    def listen(event: Baked, *, using: str) -> None:
        aliases.append(using)

    tell(using="orders_1")
    relay("orders_1")
    assert aliases == ["orders_1"]


def test_a_hearer_of_several_hears_each_of_them() -> None:
    topics: list[str] = []

    @hear(Baked, Burnt)
    def listen(event: Event, *, using: str) -> None:
        topics.append(event.topic)

    tell(cake(), Burnt(key=ids.new_id(0)))
    relay(HERE)
    assert sorted(topics) == ["cake.baked", "cake.burnt"]


def test_a_hearer_registered_twice_hears_once() -> None:
    events: list[Event] = []

    def listen(event: Event, *, using: str) -> None:
        events.append(event)

    hear(Baked)(listen)
    hear(Baked)(listen)
    tell()
    relay(HERE)
    assert len(events) == 1


def test_more_news_than_one_claim_takes_several() -> None:
    events = heard()
    tell(*(cake() for _ in range(5)))
    assert [relay(HERE, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert len({event.key for event in events}) == 5


# --- failures ---


def test_a_hearer_that_fails_is_asked_again_later() -> None:
    heard(always_fails)
    tell()
    before = db_now(HERE)
    relay(HERE)
    row = only()
    assert (row.state, row.attempts, row.error) == (OutboxMessage.State.PENDING, 1, "ValueError('no plate')")
    assert before + timedelta(seconds=1) <= row.next_at < before + timedelta(seconds=3)
    assert relay(HERE) == 0


def test_the_pauses_double() -> None:
    heard(always_fails)
    tell()
    pauses = []
    for _ in range(4):
        make_due()
        relay(HERE)
        pauses.append(round((only().next_at - db_now(HERE)).total_seconds()))
    assert pauses == [1, 2, 4, 8]


def test_a_hearer_that_recovers_is_done() -> None:
    moods: list[Callable[[Baked], None]] = [always_fails, lambda event: None]
    events = heard(lambda event: moods.pop(0)(event))
    tell()
    fail_times(2)
    assert len(events) == 1
    assert (only().state, only().attempts, only().error) == (OutboxMessage.State.DONE, 2, "")


def test_after_eight_tries_it_is_parked_with_the_reason() -> None:
    heard(always_fails)
    tell()
    fail_times(7)
    assert only().state == OutboxMessage.State.PENDING
    fail_times(1)
    row = only()
    assert (row.state, row.attempts, row.error) == (OutboxMessage.State.PARKED, 8, "ValueError('no plate')")


def test_what_is_parked_is_left_alone() -> None:
    heard(always_fails)
    tell()
    fail_times(8)
    make_due()
    assert relay(HERE) == 0
    assert only().attempts == 8


def test_poison_does_not_hold_up_its_neighbours() -> None:
    poison = cake()
    events = heard(lambda event: always_fails(event) if event == poison else None)
    before, after = cake(), cake()
    tell(before, poison, after)
    relay(HERE)
    assert sorted(event.key for event in events) == [before.key, after.key]


def test_what_is_parked_can_be_run_again() -> None:
    moods = [always_fails] * 8
    events = heard(lambda event: moods.pop()(event) if moods else None)
    tell()
    fail_times(8)
    assert revive([only().id], using=HERE) == 1
    relay(HERE)
    assert len(events) == 1
    assert (only().state, only().attempts) == (OutboxMessage.State.DONE, 1)


def test_all_that_is_parked_on_a_database_is_revived_without_naming_it() -> None:
    heard(always_fails)
    tell(cake(), cake())
    tell(using="default")
    fail_times(8)
    assert [revive(using=HERE), revive(using="default")] == [2, 0]
    assert {row.state for row in rows()} == {OutboxMessage.State.PENDING}


def test_members_of_a_newer_release_are_passed_over_and_missing_ones_have_their_default() -> None:
    events = heard()
    tell()
    payload = only().payload | {"oven": 2}
    del payload["price"]
    OutboxMessage.objects.on(HERE).update(payload=payload)
    relay(HERE)
    assert [event.price for event in events] == [Decimal("12.50")]


def test_only_what_is_parked_is_revived() -> None:
    heard()
    tell()
    relay(HERE)
    assert revive([only().id, uuid.uuid4()], using=HERE) == 0
    assert only().state == OutboxMessage.State.DONE


@pytest.mark.parametrize("error", [OperationalError("gone away"), ServiceUnavailable()], ids=["database", "service"])
def test_a_part_that_is_down_is_nobodys_poison(error: Exception) -> None:
    def fails(event: Baked) -> None:
        raise error

    heard(fails)
    tell()
    fail_times(20)
    row = only()
    assert (row.state, row.attempts) == (OutboxMessage.State.PENDING, 0)
    assert row.next_at <= db_now(HERE) + timedelta(seconds=300)


def test_an_unknown_topic_is_parked_not_dropped() -> None:
    heard()
    tell()
    OutboxMessage.objects.on(HERE).update(topic="cake.eaten")
    fail_times(8)
    assert only().state == OutboxMessage.State.PARKED
    assert "UnknownMessage" in only().error
    assert "this release doesn't understand cake.eaten" in only().error


def test_content_that_does_not_fit_its_class_is_parked() -> None:
    events = heard()
    tell()
    OutboxMessage.objects.on(HERE).update(payload={"key": "a word", "tags": []})
    fail_times(8)
    assert only().state == OutboxMessage.State.PARKED
    assert "this release doesn't understand cake.baked" in only().error
    assert events == []


def test_members_of_a_newer_version_are_passed_over() -> None:
    events = heard()
    tell()
    row = only()
    OutboxMessage.objects.on(HERE).update(payload=row.payload | {"candles": 4})
    relay(HERE)
    assert len(events) == 1


# --- several relays ---


def test_two_relays_at_once_share_the_news() -> None:
    seen: list[int] = []
    lock = threading.Lock()

    @hear(Baked)
    def listen(event: Baked, *, using: str) -> None:
        with lock:
            seen.append(event.key)

    told = [cake(ids.new_id(0)) for _ in range(60)]
    tell(*told)
    claimed = at_once(*[lambda: sum(relay(HERE, limit=5) for _ in range(20))] * 4)
    assert sum(count for count in claimed if isinstance(count, int)) == 60
    assert sorted(seen) == sorted(event.key for event in told)


def test_what_a_relay_has_claimed_no_other_takes() -> None:
    heard()
    tell()
    claimed: list[int] = []
    with just_before(outbox, "_deliver", lambda: claimed.append(relay(HERE))):
        assert relay(HERE) == 1
    assert claimed == [0]


def test_what_a_dead_relay_held_comes_back() -> None:
    events = heard()
    tell()
    die_with_a_claim()
    assert relay(HERE) == 0
    row = only()
    assert timedelta(seconds=50) < row.next_at - db_now(HERE) <= timedelta(seconds=60)
    make_due()
    assert relay(HERE) == 1
    assert len(events) == 1


def test_a_message_that_kills_its_process_is_parked_in_the_end() -> None:
    heard(always_fails)
    tell()
    for _ in range(7):
        make_due()
        die_with_a_claim()
    fail_times(1)
    assert (only().state, only().attempts) == (OutboxMessage.State.PARKED, 8)


def test_a_relay_that_lost_its_claim_marks_nothing() -> None:
    events = heard()
    tell()

    def overtake() -> None:
        make_due()
        relay(HERE)
        OutboxMessage.objects.on(HERE).update(error="mine")

    with just_before(outbox, "_deliver", overtake):
        relay(HERE)
    # At least once: both ran it, the owner alone marked it.
    assert len(events) == 2
    assert only().error == "mine"


# --- inside hearers ---


def test_an_inside_hearer_runs_before_the_commit() -> None:
    events: list[Event] = []

    @hear_inside(Baked)
    def listen(event: Baked, *, using: str) -> None:
        assert transaction.get_connection(using).in_atomic_block
        events.append(event)

    with transaction.atomic(using=HERE):
        publish(cake(), using=HERE)
        assert len(events) == 1
    assert rows() == []


def test_what_an_inside_hearer_wrote_goes_with_the_publisher() -> None:
    @hear_inside(Baked)
    def listen(event: Baked, *, using: str) -> None:
        Timer.objects.on(using).bulk_create([Timer(kind="eat", ref_id=event.key, bucket=0, due_at=db_now(using))])

    with rolled_back(HERE):
        publish(cake(), using=HERE)
    assert not Timer.objects.on(HERE).exists()


def test_an_inside_hearer_that_fails_undoes_the_publisher() -> None:
    @hear_inside(Baked)
    def listen(event: Baked, *, using: str) -> None:
        raise ValueError("no plate")

    heard()
    with pytest.raises(ValueError, match="no plate"):
        tell()
    assert rows() == []


# --- numbers of messages ---


def test_numbers_of_messages_are_ordered_by_time() -> None:
    first, second = message_id(), uuid.UUID(int=message_id().int + (5 << 80))
    assert first < second
    assert (first.version, first.variant) == (7, uuid.RFC_4122)


def test_done_messages_are_forgotten_after_three_days() -> None:
    heard()
    tell(cake(), cake())
    relay(HERE)
    old = rows()[0]
    OutboxMessage.objects.on(HERE).filter(id=old.id).update(next_at=db_now(HERE) - timedelta(days=3, minutes=1))
    assert outbox.forget_done(HERE) == 1
    assert [row.id for row in rows()] != [old.id]
    assert len(rows()) == 1


def test_what_is_parked_is_never_forgotten() -> None:
    heard(always_fails)
    tell()
    fail_times(8)
    OutboxMessage.objects.on(HERE).update(next_at=db_now(HERE) - timedelta(days=300))
    assert outbox.forget_done(HERE) == 0
    assert len(rows()) == 1


def test_the_lag_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    heard(always_fails)
    tell(cake(), cake())
    OutboxMessage.objects.on(HERE).update(created_at=db_now(HERE) - timedelta(seconds=90))
    call_command("relay", "--lag")
    assert "orders_0: 2 waiting, the oldest for 90." in capsys.readouterr().out
    fail_times(8)
    call_command("relay", "--lag")
    assert "orders_0: 0 waiting, the oldest for 0.0 s; 2 parked" in capsys.readouterr().out
