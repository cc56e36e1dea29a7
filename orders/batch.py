"""A batch of checkouts and what becomes of each, step by step: who was refused isn't there any more at the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import accounts.services
from accounts.services import AccessClaims
from orders.checkout import ROUTE, Checkout
from orders.models import Order, OrderChange, OrderLine
from waimai.infra import idempotency, ratelimit
from waimai.infra.entry import admit_many
from waimai.infra.errors import IdempotencyKeyReused
from waimai.infra.models import IdempotencyKey


class LongWay(Exception):
    """What only Django's own door can answer: nothing was done."""


@dataclass(frozen=True)
class Pass:
    """Who asks at a door that lets nobody in by itself: from which whole address, with whose token."""

    address: str
    claims: AccessClaims


@dataclass(frozen=True)
class Request:
    """A checkout, the language in which it is refused if need be, and what its key stands for."""

    checkout: Checkout
    language: str
    key: str
    fingerprint: str
    # None for who was let in already.
    pass_: Pass | None = None

    @property
    def claim(self) -> tuple[int, str]:
        """Whose key it is, and the key."""
        return self.checkout.user_id, self.key

    def bound_to(self, row: IdempotencyKey) -> Known | IdempotencyKeyReused:
        """What the key stands for already, or that it stands for something else."""
        same = (row.route, row.fingerprint) == (ROUTE, self.fingerprint)
        return Known(row.ref_id) if same else IdempotencyKeyReused()


@dataclass(frozen=True)
class Known:
    """The key stands for this order already."""

    order_id: int
    replayed: bool = True


@dataclass(frozen=True)
class Stored:
    """A new order, as its databases have it."""

    order: Order
    lines: list[OrderLine]
    history: list[OrderChange]


Outcome = Known | Stored


class Batch:
    """The requests, and what has become of some of them by now."""

    def __init__(self, using: str, requests: Sequence[Request]) -> None:
        self.using, self.requests = using, requests
        self.outcomes: dict[int, Outcome | Exception] = {}
        # Twins, with one key, wait for the first of them.
        firsts: dict[tuple[int, str], int] = {}
        for n, request in enumerate(requests):
            firsts.setdefault(request.claim, n)
        self.firsts = list(firsts.values())

    def open(self) -> list[int]:
        """The places of those that have no outcome yet."""
        return [n for n in self.firsts if n not in self.outcomes]

    def let_in(self) -> None:
        """Whoever isn't let in, by the entry's limits or as a user, goes the long way and hears why."""
        asking = [(n, pass_) for n in self.open() if (pass_ := self.requests[n].pass_) is not None]
        if not asking:
            return
        refusals = admit_many([pass_.address for _, pass_ in asking])
        valid = accounts.services.valid_claims([pass_.claims for _, pass_ in asking])
        for (n, pass_), refusal in zip(asking, refusals, strict=True):
            if refusal is not None or pass_.claims not in valid:
                self.outcomes[n] = LongWay()

    def answer_known(self, places: Iterable[int] | None = None) -> None:
        """Whose key stands for something gets that."""
        looked_up = list(self.open() if places is None else places)
        rows = idempotency.find_many([self.requests[n].claim for n in looked_up], using=self.using)
        for n in looked_up:
            request = self.requests[n]
            if (row := rows.get(request.claim)) is None:
                continue
            self.outcomes[n] = request.bound_to(row)

    def spend_tokens(self) -> None:
        """One of each customer's tokens per new order."""
        places = self.open()
        customers = [self.requests[n].checkout.user_id for n in places]
        for n, refusal in zip(places, ratelimit.spend_many("order", customers), strict=True):
            if refusal is not None:
                self.outcomes[n] = refusal

    def settled(self, write: Callable[[Sequence[Request]], Sequence[Outcome | Exception]]) -> list[Outcome | Exception]:
        """The outcome of each. Twins are a batch of their own: what the first bound, they hear; else they are next."""
        others = [n for n in range(len(self.requests)) if n not in self.outcomes]
        if others:
            self.outcomes |= dict(zip(others, write([self.requests[n] for n in others]), strict=True))
        return [self.outcomes[n] for n in range(len(self.requests))]
