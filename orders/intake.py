"""The intake: checkouts that come at the same moment are checked, written and committed together, shard by shard.

A batch is what `waimai.infra.group_commit` has gathered while the last one was written. Each step asks each database
once for all of it; whoever is refused leaves the batch at that step, and nobody else notices. T0, T1 and T2 are those
of `orders.placing`, each one transaction for the whole batch. When one fails as a whole, T0 is tried by halves, and
what comes after it one order at a time: the saga of each says how far it came.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache, partial
from itertools import groupby
from typing import Any

from django.db import DatabaseError
from django.utils.translation import override

import accounts.services
import menu.services
from accounts.services import AddressInfo
from orders import cart, changes, documents, saga
from orders.batch import Batch, Known, Outcome, Request, Stored
from orders.changes import By
from orders.checkout import ROUTE, Checkout, Draft, draft
from orders.models import Order, OrderChange, OrderLine, Saga
from orders.states import Actor, Move, Status
from waimai.infra import crashpoints, idempotency, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import DomainError, IdempotencyKeyReused, ServiceUnavailable
from waimai.infra.group_commit import GroupCommit
from waimai.infra.outages import is_outage
from waimai.infra.rows import insert_rows

logger = logging.getLogger(__name__)
T0 = crashpoints.around("place.t0")
PLACED = Move("place", ("",), Status.PENDING_PAYMENT)
BEGUN = Move("place", ("",), Status.PLACING)


@cache
def group(using: str) -> GroupCommit[Request, Outcome]:
    """The writer of a shard in this process."""
    return GroupCommit(using, partial(write, using))


def write(using: str, requests: Sequence[Request]) -> list[Outcome | Exception]:
    """Place a batch on a shard; what became of each, in its order. Raises only when nothing was stored."""
    batch = Batch(using, requests)
    batch.let_in()
    batch.answer_known()
    batch.spend_tokens()
    drafts = _draft(batch)
    if drafts:
        _keep(batch, drafts)
    return batch.settled(partial(write, using))


def _draft(batch: Batch) -> dict[int, Draft]:
    """The orders of those that pass every check, by their places."""
    places = batch.open()
    if not places:
        return {}
    now, drafts = db_now(batch.using), {}
    address_of, menu_of = _addresses([batch.requests[n].checkout for n in places]), cache(menu.services.get_menu)

    def language_of(n: int) -> str:
        return batch.requests[n].language

    for language, speakers in groupby(sorted(places, key=language_of), language_of):
        with override(language):
            for n in speakers:
                checkout = batch.requests[n].checkout
                try:
                    shop_menu, address = menu_of(checkout.shop_id), address_of(checkout)
                    drafts[n] = draft(checkout, address=address, menu_now=shop_menu, now=now)
                except DomainError as refusal:
                    batch.outcomes[n] = refusal
    # A twin elsewhere may have ordered since we looked: then the cart is empty, or the dish gone.
    if refused := [n for n in places if n not in drafts]:
        batch.answer_known(refused)
    return drafts


def _addresses(checkouts: Sequence[Checkout]) -> Callable[[Checkout], AddressInfo]:
    """Where to find the address of a checkout: read in one query, but for those that two people claim."""
    owners = {checkout.address_id: checkout.user_id for checkout in checkouts}
    found = accounts.services.get_addresses(owners=owners)

    def address_of(checkout: Checkout) -> AddressInfo:
        known = found.get(checkout.address_id)
        if known is not None and owners[checkout.address_id] == checkout.user_id:
            return known
        return accounts.services.get_address(user_id=checkout.user_id, address_id=checkout.address_id)

    return address_of


def _keep(batch: Batch, drafts: dict[int, Draft]) -> None:
    """T0, then T1 and T2 for those that need them; the outcome of each."""
    using = batch.using
    claims = {n: batch.requests[n] for n in drafts}
    rivals, rows = run_atomic(using, lambda: _store(drafts, claims, using), commit=T0)
    for n, rival in rivals.items():
        batch.outcomes[n] = rival
    stored = {n: each for n, each in drafts.items() if n not in rivals}
    limited = [each for each in stored.values() if each.order.limited]
    reserved = _reserve(limited, rows, using) if limited else {}
    for n, each in stored.items():
        number = each.order.pk
        batch.outcomes[n] = reserved.get(number) or Stored(each.order, each.lines, [rows[number]])


def _store(
    drafts: dict[int, Draft], requests: dict[int, Request], using: str
) -> tuple[dict[int, Known | IdempotencyKeyReused], dict[int, OrderChange]]:
    """T0: keys, orders, lines, first history rows, sagas. Returns whose keys were taken, and the history rows."""
    rivals = _claim(drafts, requests, using)
    kept = [each for n, each in drafts.items() if n not in rivals]
    orders = [each.order for each in kept]
    if not orders:
        return rivals, {}
    insert_rows(Order, list(map(vars, orders)), using=using)
    insert_rows(OrderLine, [vars(line) for each in kept for line in each.lines], using=using)
    insert_rows(Saga, [_saga(order) for order in orders], using=using)
    rows: dict[int, OrderChange] = {}
    for limited, move in ((False, PLACED), (True, BEGUN)):
        chosen = [order for order in orders if order.limited == limited]
        if chosen:
            by, at = By(Actor.CUSTOMER), chosen[0].placed_at
            history = changes.record(chosen, [""] * len(chosen), move, using=using, by=by, at=at)
            rows |= {row.order_id: row for row in history}
    ready = [order for order in orders if not order.limited]
    if ready:
        timers.schedule_many(saga.EXPIRE, [(order.pk, order.expires_at) for order in ready], using=using, new=True)
        for order in ready:
            cart.empty_after_order(order, using=using)
    return rivals, rows


def _claim(
    drafts: dict[int, Draft], requests: dict[int, Request], using: str
) -> dict[int, Known | IdempotencyKeyReused]:
    claims = [
        idempotency.Claim(*requests[n].claim, ROUTE, requests[n].fingerprint, each.order.pk)
        for n, each in drafts.items()
    ]
    taken = idempotency.claim_many(claims, using=using)
    rivals: dict[int, Known | IdempotencyKeyReused] = {}
    for n, request in requests.items():
        if (row := taken.get(request.claim)) is not None:
            rivals[n] = request.bound_to(row)
    return rivals


def _saga(order: Order) -> dict[str, Any]:
    soon = order.placed_at + timedelta(seconds=saga.RECOVER_AFTER_SECONDS)
    return {
        "order_id": order.pk,
        "bucket": order.bucket,
        "state": Saga.State.RUNNING,
        "step": Saga.Step.RESERVE if order.limited else Saga.Step.CHARGE,
        "next_at": soon if order.limited else None,
    }


def _reserve(drafts: Sequence[Draft], begun: dict[int, OrderChange], using: str) -> dict[int, Outcome | Exception]:
    """T1 and T2 for orders that wait for portions; what became of each, by number.

    T0 stands: whatever fails here is unknown, not undone. Recovery goes on with it, and its customer asks again.
    """
    opened, failed = _hold_and_open(drafts, using)
    outcomes: dict[int, Outcome | Exception] = {**failed}
    for each in drafts:
        if (row := opened.get(each.order.pk)) is not None:
            outcomes[each.order.pk] = Stored(each.order, each.lines, [begun[each.order.pk], row])
    if others := [each for each in drafts if each.order.pk not in outcomes]:
        outcomes |= _read_back(others, using)
    return outcomes


def _hold_and_open(drafts: Sequence[Draft], using: str) -> tuple[dict[int, OrderChange], dict[int, Exception]]:
    """Together, or else one by one; returns what moved in our own hands, and what failed."""
    if len(drafts) > 1:
        demands = {each.order.pk: each.demands for each in drafts}
        try:
            return saga.reserve_many([each.order for each in drafts], demands, using=using), {}
        except Exception as error:  # noqa: BLE001 - whatever it is, the sagas go on
            logger.warning("%s: reservations of %s failed together: %r", using, list(demands), error)
            if is_outage(error):
                return {}, {order_id: ServiceUnavailable() for order_id in demands}
    failed: dict[int, Exception] = {}
    for each in drafts:
        try:
            saga.reserve(each.order.pk, each.demands)
        except Exception as error:  # noqa: BLE001 - as above
            failed[each.order.pk] = error
    return {}, failed


def _read_back(drafts: Sequence[Draft], using: str) -> dict[int, Outcome | Exception]:
    numbers = [each.order.pk for each in drafts]
    try:
        now = {row.pk: row for row in Order.objects.on(using).filter(pk__in=numbers)}
        history = documents.history_of(numbers, using=using)
    except DatabaseError as error:
        logger.warning("%s: orders %s placed, but not read back: %r", using, numbers, error)
        return {number: ServiceUnavailable() for number in numbers}
    return {each.order.pk: Stored(now[each.order.pk], each.lines, history[each.order.pk]) for each in drafts}
