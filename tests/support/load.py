"""Customers who order over HTTP, all the time, and remember every answer."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests

import accounts.services
from orders.models import Order
from tests.factories import Person, Stall, wish
from waimai.infra.sharding import shard_of_id

ANSWERS_WITHIN_SECONDS = 30.0
CREATED, NO_ANSWER = 201, 0
SOON_SECONDS = 0.2


class Caller:
    """One customer's telephone: the API over HTTP, as it answers."""

    def __init__(self, url: str, person: Person, *, timeout: float = ANSWERS_WITHIN_SECONDS) -> None:
        self.base, self.person, self.timeout = f"{url}/api/v1/", person, timeout
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {accounts.services.issue_tokens(person.user).access}"

    def get(self, path: str) -> requests.Response:
        """GET, whatever comes."""
        return self.session.get(self.base + path, timeout=self.timeout)

    def post(self, path: str, body: Any = None, *, key: str = "") -> requests.Response:
        """POST, whatever comes."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.session.post(self.base + path, json=body or {}, headers=headers, timeout=self.timeout)

    def place(self, at: Stall, *wanted: tuple[int, int], key: str) -> requests.Response:
        """Order one fish, or what is wanted."""
        return self.post("orders/", wish(self.person, at, *wanted), key=key)

    def pay(self, order_id: int, *, key: str = "") -> requests.Response:
        """Open a payment and play the payer: the sandbox captures at once and notifies us. The last answer."""
        started = self.post(f"orders/{order_id}/pay/", {"provider": "sandbox"}, key=key or f"pay-{order_id}")
        if started.status_code not in {200, 201}:
            return started
        return self.post(f"payments/sandbox/{started.json()['payment']}/", {"outcome": "success"})


class Balanced(Caller):
    """Behind a balancer: each call goes to the next of the addresses in service."""

    def __init__(self, urls: list[str], person: Person, *, timeout: float = ANSWERS_WITHIN_SECONDS) -> None:
        super().__init__(urls[0], person, timeout=timeout)
        self.urls, self.turn = urls, itertools.count()

    def get(self, path: str) -> requests.Response:
        """GET from whose turn it is."""
        self._next()
        return super().get(path)

    def post(self, path: str, body: Any = None, *, key: str = "") -> requests.Response:
        """POST to whose turn it is."""
        self._next()
        return super().post(path, body, key=key)

    def _next(self) -> None:
        urls = list(self.urls)
        self.base = f"{urls[next(self.turn) % len(urls)]}/api/v1/"


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 when the connection broke, seconds from asking, and the moment it came."""

    status: int
    seconds: float
    at: float


@dataclass
class Load:
    """Threads that place orders one after the other until told to stop; also pays every `pay_every`-th order.

    With `insist` a key is asked again until its order is acknowledged, also after the end.
    """

    url: str
    people: list[Person]
    stall: Stall
    wanted: tuple[tuple[int, int], ...] = ()
    pause_seconds: float = 0.0
    pay_every: int = 0
    insist: bool = False
    acknowledged: dict[tuple[int, str], int] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Load:
        # Made before anything fails, as making a token asks the database.
        callers = [self.caller(person) for person in self.people]
        self._threads = [threading.Thread(target=self._order, args=(caller,), daemon=True) for caller in callers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop asking and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(ANSWERS_WITHIN_SECONDS + 10)
            assert not thread.is_alive(), "a request hangs"

    def statuses(self, *, since: float = 0, until: float = float("inf")) -> Counter[int]:
        """How often each status came between two moments (`time.monotonic()`)."""
        return Counter(answer.status for answer in self.answers if since <= answer.at <= until)

    def slowest(self, share: float = 0.99, *, since: float = 0, until: float = float("inf")) -> float:
        """The seconds within which this share of the answers came."""
        found = sorted(answer.seconds for answer in self.answers if since <= answer.at <= until)
        return found[min(int(len(found) * share), len(found) - 1)] if found else 0.0

    def lost(self) -> list[int]:
        """Orders that were acknowledged and aren't there."""
        return [
            order_id
            for order_id in self.acknowledged.values()
            if not Order.objects.on(shard_of_id(order_id)).filter(pk=order_id).exists()
        ]

    def differing(self) -> list[str]:
        """Keys under which the system now answers something else than it did."""
        callers = {person.id: self.caller(person) for person in self.people}
        return [
            f"{key}: {order_id}, now {answer.status_code} {answer.text[:200]}"
            for (person_id, key), order_id in list(self.acknowledged.items())
            if (answer := callers[person_id].place(self.stall, *self.wanted, key=key)).status_code != CREATED
            or answer.json()["id"] != order_id
        ]

    def caller(self, person: Person) -> Caller:
        """The telephone of a customer."""
        return Caller(self.url, person)

    def _order(self, caller: Caller) -> None:
        number, status = 0, CREATED
        while not self._stop.is_set() or (self.insist and status != CREATED):
            key = f"load-{caller.person.id}-{number}"
            status = self._place(caller, key)
            if status == CREATED:
                self._pay(caller, self.acknowledged[caller.person.id, key], number)
            if status == CREATED or not self.insist:
                number += 1
            time.sleep(self.pause_seconds if status == CREATED else max(self.pause_seconds, SOON_SECONDS))

    def _place(self, caller: Caller, key: str) -> int:
        started = time.monotonic()
        try:
            answer = caller.place(self.stall, *self.wanted, key=key)
            status = answer.status_code
        except requests.RequestException:
            status = NO_ANSWER
        now = time.monotonic()
        self.answers.append(Answer(status, now - started, now))
        if status == CREATED:
            self.acknowledged[caller.person.id, key] = answer.json()["id"]
        return status

    def _pay(self, caller: Caller, order_id: int, number: int) -> None:
        if not self.pay_every or number % self.pay_every:
            return
        with contextlib.suppress(requests.RequestException):
            caller.pay(order_id)
