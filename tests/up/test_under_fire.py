"""`bin/up` while customers order: it, or any child of it, is killed or told to stop; nothing acknowledged is lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from celery import Celery
from django.conf import settings
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from orders.models import Order
from orders.states import Status
from tests import factories
from tests.support.fleet import django_on
from tests.support.load import CREATED, NO_ANSWER, Caller, Load
from tests.support.processes import alive, wait_until
from tests.support.source import ROOT
from tests.support.system import CHILDREN, System
from waimai.infra import parts

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(180)]

CUSTOMERS = 4
BACK_WITHIN_SECONDS, SERVES_WITHIN_SECONDS = 2.0, 30.0
# Web, then events, worker and beat, then Valkey: each stage has eight seconds.
GRACE_SECONDS = 24.0
SETTLED_WITHIN_SECONDS = 40.0
# What the time without a server may look like to a customer: served, "ask again", or no connection.
HONEST = {CREATED, 503, NO_ANSWER}


class Town:
    """A system that runs again and again on one data folder, its databases open to the test's own Django."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system = self._start(port=0)
        self.visits = 0

    def start_again(self) -> None:
        """Another `bin/up` on the same data and the same port."""
        self.system = self._start(port=self.system.port)

    def customers_order(self) -> Load:
        """Customers of this visit, and a stall of their own; they pay every third order."""
        self.visits += 1
        people = [factories.person(f"137{self.visits:04}{number:04}") for number in range(CUSTOMERS)]
        return Load(self.system.url, people, factories.stall(f"摊位{self.visits}"), pause_seconds=0.05, pay_every=3)

    def stop_with_an_order_under_way(self, load: Load) -> int:
        """Tell the system to stop while an order waits for its shard; the status that its customer is answered."""
        who = load.people[0]
        caller = Caller(self.system.url, who)
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic(using=who.shard):  # On SQLite nobody else writes meanwhile.
                answer = pool.submit(caller.place, load.stall, key="under-way")
                time.sleep(0.5)
                assert not answer.done()
                self.system.process.terminate()
                time.sleep(0.5)
            status = answer.result().status_code
        if status == CREATED:
            load.acknowledged[who.id, "under-way"] = answer.result().json()["id"]
        return status

    def processes(self) -> dict[int, str]:
        """Every process that belongs to this data folder, whoever started it, but the supervisor."""
        ids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        mine = [i for i in ids if i != self.system.process.pid and alive(i) and self._is_mine(Path(f"/proc/{i}"))]
        return {i: Path(f"/proc/{i}/cmdline").read_text().replace("\0", " ") for i in mine}

    def _is_mine(self, process: Path) -> bool:
        data = self.folder / "data"
        try:
            # Valkey writes its title over its environment, but works in its folder.
            named = f"WAIMAI_DATA_DIR={data}".encode() in (process / "environ").read_bytes().split(b"\0")
            return named or (process / "cwd").readlink().is_relative_to(data)
        except OSError:
            return False

    def _start(self, port: int) -> System:
        # With the test's own key, the test can make tokens for its customers.
        return System(ROOT, self.folder, "--no-demo", port=port, WAIMAI_SECRET_KEY=settings.SECRET_KEY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is kept."""
    return tmp_path_factory.mktemp("fire")


@pytest.fixture(scope="module")
def running(folder: Path, valkey_server: None) -> Iterator[Town]:
    """The system of all tests of this module."""
    town = Town(folder)
    yield town
    town.system.kill()


@pytest.fixture
def town(running: Town, django_db_blocker: DjangoDbBlocker) -> Iterator[Town]:
    """The system, up, and this process's Django on its files."""
    if not alive(running.system.process.pid):
        running.start_again()
    urls = {alias: f"sqlite:///{running.folder}/data/{alias}.sqlite3" for alias in settings.DATABASES}
    with django_db_blocker.unblock(), django_on(urls):
        yield running


def test_children_killed_while_customers_order_are_back_and_serve(town: Town) -> None:
    with town.customers_order() as load:
        acknowledged(load, more=5)
        for name in CHILDREN:
            assert town.system.kill_child(name) < BACK_WITHIN_SECONDS, name
            wait_until(lambda: ready(town.system), seconds=SERVES_WITHIN_SECONDS, what=f"ready again after {name}")
            acknowledged(load, more=5)
        # They were not only started, they work.
        payments_arrive(load)
        celery_goes_on(town)
    assert set(load.statuses()) <= HONEST
    all_is_well(load)


def test_a_killed_supervisor_takes_everything_along_and_another_starts_at_once(town: Town) -> None:
    with town.customers_order() as load:
        acknowledged(load, more=20)
        assert len(town.processes()) == len(CHILDREN)
        town.system.kill()
        wait_until(lambda: not town.processes(), seconds=2, what="the end of all its processes")
        wait_until(lambda: is_free(town.system.port), seconds=2, what="the port is free")
        town.start_again()
        acknowledged(load, more=20)
    assert set(load.statuses()) <= HONEST
    all_is_well(load)


def test_told_to_stop_while_customers_order_it_loses_nothing(town: Town) -> None:
    with town.customers_order() as load:
        acknowledged(load, more=20)
        told_at = time.monotonic()
        assert town.stop_with_an_order_under_way(load) == CREATED
        wait_until(lambda: not town.system.child("web"), seconds=GRACE_SECONDS, what="the web child has ended")
        # The rest may take its time; who comes now must not stand in line at a door that won't open again.
        with pytest.raises(requests.ConnectionError):
            requests.get(town.system.url, timeout=(5, 0.5))
        assert town.system.process.wait(GRACE_SECONDS) == 0
        assert time.monotonic() - told_at < GRACE_SECONDS
        assert not town.processes()
    assert "does not stop by itself" not in town.system.said()
    # Whatever was under way was answered in full, or the line was cut before anybody was told of an order.
    assert set(load.statuses(since=told_at)) <= HONEST
    town.start_again()
    all_is_well(load)


def is_free(port: int) -> bool:
    """Whether nobody holds the port any more."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def acknowledged(load: Load, *, more: int) -> None:
    """Wait until so many more orders are placed."""
    wanted = len(load.acknowledged) + more
    wait_until(lambda: len(load.acknowledged) >= wanted, seconds=SERVES_WITHIN_SECONDS, what=f"{more} more orders")


def ready(system: System) -> bool:
    """Whether every part answers."""
    try:
        return bool(requests.get(f"{system.url}/readyz", timeout=5).json()["status"] == "ok")
    except requests.RequestException:
        return False


def payments_arrive(load: Load) -> None:
    """Only the loops of `events` deliver the sandbox's notices."""
    before = paid_orders(load)
    wait_until(lambda: paid_orders(load) > before, seconds=SERVES_WITHIN_SECONDS, what="another paid order")


def paid_orders(load: Load) -> int:
    """How many orders of these customers are paid."""
    return sum(Order.objects.for_user(who.id).filter(status=Status.PAID).count() for who in load.people)


def celery_goes_on(town: Town) -> None:
    """What beat sends through Valkey, the worker does."""
    url = parts.broker_url(parts.embedded_redis_url(town.folder / "data"))
    with Celery("outside", broker=url, set_as_current=False) as app:

        def done() -> int:
            answers = app.control.inspect(timeout=2, limit=1).stats() or {}
            return sum(answer["total"].get("waimai.infra.tasks.relay_all", 0) for answer in answers.values())

        wait_until(lambda: done() > 0, seconds=SERVES_WITHIN_SECONDS, what="a worker that was given work")
        before = done()
        wait_until(lambda: done() > before, seconds=SERVES_WITHIN_SECONDS, what="more work from beat")


def all_is_well(load: Load) -> None:
    """Every acknowledged order is there and is what its key stands for; the audit finds nothing."""
    assert load.acknowledged
    assert load.lost() == []
    assert load.differing() == []
    wait_until(lambda: factories.audit() == [], seconds=SETTLED_WITHIN_SECONDS, what="a clean audit")
