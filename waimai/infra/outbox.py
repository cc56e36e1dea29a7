"""The transactional outbox: a change and its news are one commit; hearers run later, at least once.

After Eventuate Tram and Debezium's outbox: the row is the message. A row is done only when its hearers have
committed. Rows are claimed by state and due time, never by "id greater than", as ids commit out of order. A claim is
a lease: `next_at` is pushed ahead, so that what a dead relay held comes back by itself.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

import msgspec
from django.db import InterfaceError, OperationalError, connections
from django.db.models import Count, F, Min, QuerySet

from waimai.infra import crashpoints, ids
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ServiceUnavailable
from waimai.infra.models import OutboxMessage
from waimai.infra.rows import insert_rows

logger = logging.getLogger(__name__)

CLAIMED_AT_ONCE = 200
CLAIM_SECONDS = 60
TRIES_BEFORE_PARKING = 8
LONGEST_BACKOFF_SECONDS = 300
AFTER_TRANSIENT_SECONDS = 2
KEPT_DONE_DAYS = 3
CLAIMED, HEARD = crashpoints.around("relay.claim"), crashpoints.point("relay.heard")
MARKED, PUT_OFF = crashpoints.around("relay.mark"), crashpoints.around("relay.retry")
# A database that is down or busy is nobody's poison: such a message is tried for ever.
TRANSIENT = (OperationalError, InterfaceError, ServiceUnavailable)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """News of one aggregate. Subclasses are frozen dataclasses of plain values and name their topic."""

    topic: ClassVar[str]
    key: int
    version: int = 1


E = TypeVar("E", bound=Event)
Hearer = Callable[..., None]
_classes: dict[str, type[Event]] = {}
_hearers: dict[str, list[Hearer]] = defaultdict(list)
_inside: dict[str, list[Hearer]] = defaultdict(list)


def hear(*events: type[Event]) -> Callable[[Hearer], Hearer]:
    """Register `handler(event, *, using)`, run by the relay after the commit, at least once: it must be repeatable."""
    return _registering(_hearers, events)


def topics() -> list[str]:
    """Every topic that somebody hears, by name."""
    return sorted(_classes)


def hear_inside(*events: type[Event]) -> Callable[[Hearer], Hearer]:
    """Register `handler(event, *, using)`, run inside the publisher's transaction on the publisher's database."""
    return _registering(_inside, events)


def _registering(table: dict[str, list[Hearer]], events: Iterable[type[Event]]) -> Callable[[Hearer], Hearer]:
    def register(handler: Hearer) -> Hearer:
        for event in events:
            _classes[event.topic] = event
            if handler not in table[event.topic]:
                table[event.topic].append(handler)
        return handler

    return register


def publish(event: Event, *, using: str) -> None:
    """Tell an event in the open transaction on `using`: inside-hearers run now, a row waits for the others.

    Raises RuntimeError outside a transaction, where the change and its news could part.
    """
    publish_many([event], using=using)


def publish_many(events: Sequence[Event], *, using: str) -> None:
    """`publish` for many events in one statement."""
    if not connections[using].in_atomic_block:
        raise RuntimeError("publish() belongs inside the transaction of the change it tells of")
    for event in events:
        for handler in _inside[event.topic]:
            handler(event, using=using)
    heard = [event for event in events if _hearers[event.topic]]
    if heard:
        now = db_now(using)
        insert_rows(OutboxMessage, [_row(event, now) for event in heard], using=using)


def _row(event: Event, now: datetime) -> dict[str, Any]:
    return {
        "bucket": ids.bucket_of(event.key),
        "topic": event.topic,
        "key": event.key,
        "version": event.version,
        "payload": event,
        "next_at": now,
        "created_at": now,
    }


def relay(using: str, *, limit: int = CLAIMED_AT_ONCE) -> int:
    """Claim up to `limit` due messages of a database and run their hearers; returns how many were claimed."""
    owner, total = secrets.token_hex(16), 0
    while total < limit and _due(using).exists():
        claimed = run_atomic(using, lambda most=limit - total: _claim(using, owner, most), commit=CLAIMED)  # type: ignore[misc]
        if not claimed:
            break
        total += len(claimed)
        _hear(claimed, owner, using)
    return total


def _hear(claimed: Sequence[OutboxMessage], owner: str, using: str) -> None:
    worn_out = [message for message in claimed if message.attempts > TRIES_BEFORE_PARKING]
    for message in worn_out:
        _postpone(message, using, TooManyTries(message.error or "the process died with it"))
    _mark_done([each for each in claimed if each not in worn_out and _deliver(each, using)], owner, using)


def _due(using: str) -> QuerySet[OutboxMessage]:
    return OutboxMessage.objects.on(using).filter(state=OutboxMessage.State.PENDING, next_at__lte=db_now(using))


class TooManyTries(Exception):
    """A message was tried as often as a message is tried, and never came to an end."""


def _mark_done(messages: Sequence[OutboxMessage], owner: str, using: str) -> None:
    mine = OutboxMessage.objects.on(using).filter(id__in=[message.id for message in messages], owner=owner)
    run_atomic(
        using, lambda: mine.update(state=OutboxMessage.State.DONE, done_at=db_now(using), error=""), commit=MARKED
    )


def _claim(using: str, owner: str, limit: int) -> list[OutboxMessage]:
    """Fresh messages together; one that comes back, which may be what killed a process, alone: nobody's fate hangs on
    it, and of several the least tried goes first."""
    now, due = db_now(using), _due(using)
    if connections[using].features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True)
    found = sorted(due.order_by("next_at", "id")[:limit], key=lambda message: message.attempts)
    messages = [message for message in found if message.attempts == 0] or found[:1]
    for message in messages:
        message.attempts += 1
        message.owner = owner
    claimed = OutboxMessage.objects.on(using).filter(id__in=[message.id for message in messages])
    # Counted before the hearers run: a message that kills its process is parked in the end like any other poison.
    claimed.update(owner=owner, attempts=F("attempts") + 1, next_at=now + timedelta(seconds=CLAIM_SECONDS))
    return messages


def _deliver(message: OutboxMessage, using: str) -> bool:
    """Run the hearers of one message; False when it has to come back."""
    try:
        event = _read(message)
        for handler in _hearers[message.topic]:
            handler(event, using=using)
            HEARD()
    except Exception as error:
        logger.warning(
            "outbox: %s of %s failed: %r", message.topic, message.key, error, exc_info=not isinstance(error, TRANSIENT)
        )
        _postpone(message, using, error)
        return False
    return True


class UnknownMessage(Exception):
    """This release can't read a message; the one that wrote it can. It comes back until it is parked."""


def _read(message: OutboxMessage) -> Event:
    """The event in a message: members it has too many are passed over, those it lacks must have a default."""
    try:
        return msgspec.convert(message.payload, _classes[message.topic])
    except (KeyError, msgspec.ValidationError) as error:
        raise UnknownMessage(f"this release doesn't understand {message.topic}: {error}") from error


def _postpone(message: OutboxMessage, using: str, error: Exception) -> None:
    """Try again later, or park what failed too often. A database that was down doesn't count as a try."""
    mine = OutboxMessage.objects.on(using).filter(id=message.id, owner=message.owner)
    facts: dict[str, Any] = {"error": repr(error)[:2000]}
    if isinstance(error, TRANSIENT):
        pause, facts["attempts"] = AFTER_TRANSIENT_SECONDS, message.attempts - 1
    else:
        pause = min(2 ** (min(message.attempts, 16) - 1), LONGEST_BACKOFF_SECONDS)
        if message.attempts >= TRIES_BEFORE_PARKING:
            facts["state"] = OutboxMessage.State.PARKED
    later = db_now(using) + timedelta(seconds=pause)
    run_atomic(using, lambda: mine.update(next_at=later, **facts), commit=PUT_OFF)


def revive(message_ids: Iterable[uuid.UUID] | None = None, *, using: str) -> int:
    """Give these parked messages, or all that are parked, another round of tries; returns how many."""
    parked = OutboxMessage.objects.on(using).filter(state=OutboxMessage.State.PARKED)
    if message_ids is not None:
        parked = parked.filter(id__in=list(message_ids))
    return parked.update(state=OutboxMessage.State.PENDING, attempts=0, next_at=db_now(using), error="")


def lag(using: str) -> str:
    """How many messages of a database wait, since when the oldest does, and how many are parked."""
    rows = OutboxMessage.objects.on(using)
    waiting = rows.filter(state=OutboxMessage.State.PENDING).aggregate(number=Count("id"), oldest=Min("created_at"))
    seconds = (db_now(using) - waiting["oldest"]).total_seconds() if waiting["oldest"] else 0.0
    parked = rows.filter(state=OutboxMessage.State.PARKED).count()
    return f"{waiting['number']} waiting, the oldest for {seconds:.1f} s; {parked} parked"


def forget_done(using: str, *, limit: int = 1000) -> int:
    """Delete messages done more than three days ago, `limit` at a time; returns how many."""
    before = db_now(using) - timedelta(days=KEPT_DONE_DAYS)
    old = OutboxMessage.objects.on(using).filter(state=OutboxMessage.State.DONE, next_at__lt=before)
    found = list(old.values_list("id", flat=True)[:limit])
    return OutboxMessage.objects.on(using).filter(id__in=found).delete()[0]
