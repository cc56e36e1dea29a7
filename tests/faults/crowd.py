"""A whole evening's traffic over HTTP: customers who order, pay, change their minds; staff who work; a bad bank."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
from django.db import DatabaseError, connections

from payments.providers.sandbox_faults import Fault, fail_next
from tests.factories import Person, Stall
from tests.support.load import CREATED, NO_ANSWER, Balanced, Caller
from waimai.infra.errors import ServiceUnavailable

SETTLED = {"sold_out", "placing_failed", "item_unavailable"}
CALL_SECONDS = 10.0
ENDS_WITHIN_SECONDS = 120.0
OPERATIONS = ("create", "query", "close", "refund", "webhook")


@dataclass
class Crowd:
    """Threads that go on until told to stop, and the books they keep of what they were told."""

    urls: list[str]
    customers: list[Person]
    staff: Person
    stall: Stall
    limited: int
    seed: int
    acknowledged: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    bodies: dict[tuple[int, str], list[tuple[int, int]]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    moments: list[float] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Everybody comes."""
        for person in self.customers:
            self._start(self._buy, person)
        self._start(self._work, self.staff)
        self._start(self._bank, self.staff)

    def go_home(self) -> None:
        """Stop, when everybody has an answer to what was asked last."""
        self._stop.set()
        deadline = time.monotonic() + ENDS_WITHIN_SECONDS
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.1))
            assert not thread.is_alive(), f"{thread.name} still waits for an answer"
        if self.errors:
            raise self.errors[0]

    def longest_silence(self) -> float:
        """The longest time in which nobody's order was acknowledged, in seconds."""
        return max((later - earlier for earlier, later in zip(self.moments, self.moments[1:], strict=False)), default=0)

    def differing(self) -> list[str]:
        """Keys whose answer is another one now, to the letter."""
        found, callers = [], {person.id: self._caller(person) for person in self.customers}
        for (person_id, key), told in self.acknowledged.items():
            answer = callers[person_id].place(self.stall, *self.bodies[person_id, key], key=key)
            if answer.status_code != CREATED or answer.json() != told:
                found.append(f"{key}: {told}, now {answer.status_code} {answer.text}")
        return found

    def _caller(self, person: Person) -> Caller:
        return Balanced(self.urls, person, timeout=CALL_SECONDS)

    def _start(self, body: Callable[[Person, random.Random], None], person: Person) -> None:
        chance = random.Random(f"{self.seed}-{person.id}")
        thread = threading.Thread(
            target=self._guarded, args=(body, person, chance), name=f"{body.__name__} {person.id}"
        )
        self._threads.append(thread)
        thread.start()

    def _guarded(self, body: Callable[[Person, random.Random], None], person: Person, chance: random.Random) -> None:
        try:
            body(person, chance)
        except BaseException as error:
            self.errors.append(error)
        finally:
            connections.close_all()

    # --- customers ---

    def _buy(self, person: Person, chance: random.Random) -> None:
        caller, number = self._caller(person), 0
        while not self._stop.wait(chance.uniform(0, 0.4)):
            number += 1
            wanted = [(self.stall.fish, 1)] if chance.random() < 0.5 else [(self.limited, chance.randint(1, 2))]
            order = self._order(caller, f"evening-{number}", wanted)
            if order:
                self._live_with(order["id"], caller, chance)

    def _order(self, caller: Caller, key: str, wanted: list[tuple[int, int]]) -> dict[str, Any]:
        """Ask with the same key until there is an answer; empty when the dish is sold out."""
        self.bodies[caller.person.id, key] = wanted
        while True:
            status, document = self.ask("place", lambda: caller.place(self.stall, *wanted, key=key))
            if status == CREATED:
                self.acknowledged[caller.person.id, key] = document
                self.moments.append(time.monotonic())
                return document
            if document.get("code") in SETTLED:
                return {}
            time.sleep(0.3)

    def _live_with(self, order_id: int, caller: Caller, chance: random.Random) -> None:
        """Pay, pay twice, fail to pay, cancel before, between or after, or forget about it."""
        steps = chance.choice(("pay", "pay", "pay", "pay", "pay cancel", "cancel", "fail pay", "pay pay", "fail", ""))
        for step in steps.split():
            if step == "cancel":
                self.ask(step, lambda: caller.post(f"orders/{order_id}/cancel/"))
            else:
                self._pay(order_id, caller, chance, "failure" if step == "fail" else "success")

    def _pay(self, order_id: int, caller: Caller, chance: random.Random, outcome: str) -> None:
        key = f"pay-{order_id}-{chance.random()}"
        path, body = f"orders/{order_id}/pay/", {"provider": "sandbox"}
        status, started = self.ask("pay", lambda: caller.post(path, body, key=key))
        if status != CREATED:
            return
        till = {
            "outcome": outcome,
            "delay_seconds": chance.choice((0, 0, 0, 1.5)),
            "times": chance.choice((0, 1, 1, 3)),
        }
        self.ask("till", lambda: caller.post(f"payments/sandbox/{started['payment']}/", till))

    # --- the shop and the bank ---

    def _work(self, person: Person, chance: random.Random) -> None:
        caller = self._caller(person)
        while not self._stop.wait(0.3):
            for status in ("paid", "accepted", "delivering"):
                _, board = self.ask("board", lambda status=status: caller.get(f"staff/orders/?status={status}"))  # type: ignore[misc]
                for row in board.get("results", [])[:10]:
                    action = self._decision(status, chance)
                    self.ask(action, lambda: caller.post(f"staff/orders/{row['id']}/{action}/", {"reason": "忙"}))  # noqa: B023

    @staticmethod
    def _decision(status: str, chance: random.Random) -> str:
        if status == "paid":
            return chance.choice(("accept", "accept", "accept", "accept", "reject"))
        if status == "accepted":
            return chance.choice(("deliver", "deliver", "deliver", "deliver", "cancel"))
        return "complete"

    def _bank(self, _person: Person, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(2, 6)):
            orders = list(self.acknowledged.values())
            operation, mode, times = chance.choice(OPERATIONS), chance.choice(list(Fault)), chance.randint(1, 3)
            if not orders:
                continue
            try:
                fail_next(operation, near=chance.choice(orders)["id"], times=times, mode=mode, seconds=0.5)
            except (DatabaseError, ServiceUnavailable):
                connections.close_all()

    def ask(self, what: str, call: Callable[[], requests.Response]) -> tuple[int, dict[str, Any]]:
        """One call: its status (0: no answer) and document."""
        try:
            answer = call()
            status, document = answer.status_code, answer.json() if answer.content else {}
        except requests.RequestException:
            status, document = NO_ANSWER, {}
        self.statuses[f"{what} {status} {document.get('code', '') if status >= 400 else ''}".strip()] += 1
        return status, document
