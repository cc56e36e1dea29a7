"""Placing an order: T0 writes it down, T1 holds the portions, T2 opens it for payment (`docs/architecture.md`).

An order of unlimited things needs one transaction. With limited ones the saga row written in T0 lets recovery finish
what a crash cut off, and the idempotency key, bound in T0, lets the customer ask for the outcome. The transactions are
shared with whoever orders at the same moment (`orders.intake`); the answer is made here, in the customer's language.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from django.utils.translation import get_language

import menu.services
from orders import documents, intake
from orders.batch import Known, LongWay, Outcome, Pass, Request, Stored
from orders.checkout import Checkout
from orders.errors import PlacingFailed
from orders.models import Order
from orders.states import Status
from waimai.infra import crashpoints
from waimai.infra.errors import NotFound, RequestInProgress
from waimai.infra.sharding import shard_at_hand, shard_of_user

ANSWERED = crashpoints.point("place.answer")


@dataclass(frozen=True)
class Placed:
    """The answer to a checkout; `replayed` when the key had been used for it before."""

    order_id: int
    document: documents.Document
    replayed: bool


def place(checkout: Checkout) -> Placed:
    """Place an order. The same key returns the order it made the first time, in the same words.

    Raises, before anything is stored: NotFound (shop, address), CartEmpty, the menu's refusals (ItemUnavailable,
    OptionInvalid, QuantityInvalid, ShopClosed, BelowMinimum, OutOfDeliveryArea), DeliveryTimeInvalid, TotalChanged,
    IdempotencyKeyReused, RequestInProgress, RateLimited. SoldOut binds the key. ServiceUnavailable means "unknown": ask
    again with the same key.
    """
    return answer(intake.group(shard_of_user(checkout.user_id)).run(_request(checkout)))


def submit(checkout: Checkout, pass_: Pass, *, language: str, gather: Callable[[], None]) -> Future[Outcome]:
    """`place` for an event loop: the outcome will be there after the commit, and `answer` makes an answer of it.

    Who asks is let in with the batch: LongWay is raised for whoever isn't, as for what must be read again. `gather` as
    in `GroupCommit.submit`.
    """
    shard = shard_at_hand(checkout.user_id)
    if shard is None:
        raise LongWay
    return intake.group(shard).submit(Request(checkout, language, *checkout.idempotency(), pass_), gather)


def answer(outcome: Outcome) -> Placed:
    """What the customer is told: the first time in the same words as every other. Raises like `place`."""
    if isinstance(outcome, Stored):
        placed = _answer(outcome, replayed=False)
    else:
        placed = _answer(_read(outcome), replayed=outcome.replayed)
    ANSWERED()
    return placed


def _request(checkout: Checkout) -> Request:
    return Request(checkout, get_language() or "", *checkout.idempotency())


def _read(known: Known) -> Stored:
    order: Order | None = Order.objects.by_id(known.order_id).first()
    if order is None:
        # A key of long ago that wasn't forgotten yet: its order is in the archive.
        raise NotFound
    return Stored(order, *documents.parts_of(order))


def _answer(stored: Stored, *, replayed: bool) -> Placed:
    order = stored.order
    if order.status == Status.PLACING:
        raise RequestInProgress
    if order.sold_out is not None:
        refusal = menu.services.SoldOut(items=order.sold_out) if order.sold_out else PlacingFailed()
        refusal.replayed = replayed
        raise refusal
    return Placed(order.pk, documents.placed_document(order, stored.lines, stored.history), replayed=replayed)
