"""A process dies at every crash point there is, another takes over, and nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

import menu.services
from orders import erasing, saga
from orders.checkout import ROUTE
from orders.models import Saga
from payments.models import SandboxFault
from tests import factories
from tests.factories import Person, Stall
from tests.faults.evening import CHAPTERS, Evening, due, left_over, place
from tests.support.databases import Databases
from waimai.infra import crashpoints, ids
from waimai.infra.clock import db_now
from waimai.infra.models import IdempotencyKey, OutboxMessage, WorkerLease
from waimai.infra.sharding import databases, shards

pytestmark = pytest.mark.data

Passings = dict[Callable[[Evening], None], Counter[str]]
# Where it makes a difference that one of a batch, or of a customer's orders, was already through.
SECOND_PASSINGS = (
    "place.t0.after",
    "place.t2.before",
    "stock.hold.after",
    "relay.heard",
    "saga.step",
    "refund.call.after",
    "timer.send.after",
)


@pytest.fixture
def evening(passings: Passings, mei: Person, tmp_path: Path) -> Evening:
    """Mei's."""
    return Evening(mei, well_stocked(), tmp_path / "diary")


def well_stocked() -> Stall:
    """Fifty fish, one tofu, and as much rice as anybody wants."""
    stall = factories.stall()
    menu.services.set_stock(item_id=stall.fish, available=50)
    menu.services.set_stock(item_id=stall.tofu, available=1)
    return stall


@pytest.fixture(autouse=True)
def _alone(db_all: Databases, settings: Any) -> None:
    """No web process waits for the sandbox's calls; and the worker numbers of the dead, who keep them for a minute,
    come back at once, as their tests' rows are gone."""
    settings.WAIMAI_PUBLIC_URL = "nowhere"
    WorkerLease.objects.exclude(owner=getattr(ids._current, "_owner", "")).delete()


@pytest.mark.parametrize("crash_at", [*crashpoints.names(), *(f"{name}:2" for name in SECOND_PASSINGS)])
def test_whatever_a_crash_cuts_off_is_finished_once(crash_at: str, evening: Evening, passings: Passings) -> None:
    name, _, count = crash_at.partition(":")
    chapters = [chapter for chapter in CHAPTERS if passings[chapter][name] >= int(count or 1)]
    assert chapters, f"no chapter of tests/faults/evening.py passes {crash_at}"

    assert in_a_process(lambda: chapters[0](evening), crash_at=crash_at) == -signal.SIGKILL

    take_over()
    answers = ask_again(evening)
    assert answers | evening.heard() == answers
    assert ask_again(evening) == answers
    assert_one_order_per_key(evening)
    factories.settle()
    assert left_over() == []
    assert factories.audit() == []


def take_over() -> None:
    """What other processes do once the leases of the dead one have ended: sweep, relay, recover; twice."""
    for _ in range(2):
        for alias in databases():
            OutboxMessage.objects.on(alias).filter(state=OutboxMessage.State.PENDING).update(next_at=db_now(alias))
        for alias in shards():
            SandboxFault.objects.on(alias).all().delete()
            Saga.objects.on(alias).filter(next_at__isnull=False).update(next_at=db_now(alias))
            due("payment.poll", alias)
            due("refund.send", alias)
        factories.settle()
        for alias in shards():
            saga.recover(alias)
        erasing.erase_closed()
        factories.settle()


def ask_again(evening: Evening) -> dict[str, int]:
    """The customer who got no answer, or forgot it, sends each request once more, with its key."""
    return {key: place(evening.who, evening.at, key, *wanted) for key, wanted in evening.asked().items()}


def assert_one_order_per_key(evening: Evening) -> None:
    keys = IdempotencyKey.objects.on(evening.who.shard).filter(route=ROUTE)
    assert sorted(keys.values_list("key", flat=True)) == sorted(evening.asked())
    assert sorted(keys.values_list("ref_id", flat=True)) == factories.orders_of(evening.who)


# --- a process of its own ---

_passings: Passings = {}


@pytest.fixture
def passings(db_all: Databases, tmp_path: Path) -> Passings:
    """How often a chapter passes each point; all of them are lived once without a crash to know."""
    if not _passings:
        stall = well_stocked()
        for number, chapter in enumerate(CHAPTERS):
            evening = Evening(factories.person(f"1370000{number:04}"), stall, tmp_path / "rehearsal")
            seen = tmp_path / chapter.__name__
            assert in_a_process(partial(count_passings, chapter, evening, seen)) == 0
            _passings[chapter] = Counter(json.loads(seen.read_text()))
        take_over()
        assert factories.audit() == []
        db_all.empty()
    return _passings


def count_passings(chapter: Callable[[Evening], None], evening: Evening, into: Path) -> None:
    """Live a chapter and write down how often it passed each point."""
    seen: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crashpoints.Point, "__call__", lambda point: seen.update([point.name]))
        chapter(evening)
    into.write_text(json.dumps(seen))


def in_a_process(body: Callable[[], None], *, crash_at: str = "") -> int:
    """Run `body` in a process of its own; its exit status, -9 after SIGKILL."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            crashpoints.arm(crash_at)
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
