"""Placing an order: T0 writes it down, T1 holds the portions, T2 opens it for payment (`docs/architecture.md`).

An order of unlimited things needs one transaction. With limited ones the saga row written in T0 lets recovery finish
what a crash cut off, and the idempotency key, bound in T0, lets the customer ask for the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.utils.translation import gettext as _

import accounts.services
import menu.services
from menu.services import LineRequest, Quote
from orders import cart, changes, documents, saga
from orders.changes import By
from orders.errors import CartEmpty, DeliveryTimeInvalid, PlacingFailed, TotalChanged
from orders.models import Order, OrderLine, Saga
from orders.states import Actor, Move, Status
from waimai.infra import crashpoints, idempotency, ids, ratelimit, timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import DomainError, NotFound, RequestInProgress
from waimai.infra.sharding import bucket_of_user, shard_of_user

ROUTE = "orders.place"
FURTHEST_AHEAD = timedelta(hours=24)
T0, ANSWERED = crashpoints.around("place.t0"), crashpoints.point("place.answer")
PLACED = Move("place", ("",), Status.PENDING_PAYMENT)
BEGUN = Move("place", ("",), Status.PLACING)


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """What a customer sends. `lines` None means the cart; `key` None means "this version of my cart"."""

    user_id: int
    shop_id: int
    address_id: int
    lines: tuple[LineRequest, ...] | None = None
    note: str = ""
    tableware: int = 1
    deliver_at: datetime | None = None
    shown_total: Decimal | None = None
    cart_version: int | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        """Without a key the cart's version is the key: without that too, every later checkout would be a replay."""
        if self.key is None and (self.cart_version is None or self.lines is not None):
            raise ValueError("a checkout needs a key, or the version of the cart that it orders")

    def idempotency(self) -> tuple[str, str]:
        """The key and the fingerprint of what it stands for. A key made of the cart's version stands for that alone."""
        if self.key is None:
            derived = f"cart:{self.shop_id}:{self.cart_version}"
            return derived, idempotency.fingerprint(ROUTE, derived)
        lines = None if self.lines is None else [[x.item_id, x.quantity, sorted(x.option_ids)] for x in self.lines]
        total = None if self.shown_total is None else f"{self.shown_total:.2f}"
        later = None if self.deliver_at is None else self.deliver_at.timestamp()
        body = [self.shop_id, self.address_id, lines, self.note, self.tableware, later, total]
        return self.key, idempotency.fingerprint(ROUTE, body)


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
    using = shard_of_user(checkout.user_id)
    key, fingerprint = checkout.idempotency()
    look_up = partial(
        idempotency.find, user_id=checkout.user_id, key=key, route=ROUTE, fingerprint=fingerprint, using=using
    )
    if (known := look_up()) is not None:
        return _answer(known, replayed=True)
    ratelimit.spend("order", checkout.user_id)
    try:
        draft = _draft(checkout, using)
    except DomainError:
        # A twin of this request may have ordered since we looked: then the cart is empty, or the last portion gone.
        if (known := look_up()) is None:
            raise
        return _answer(known, replayed=True)
    rival = run_atomic(using, lambda: _store(draft, checkout, key, fingerprint, using), commit=T0)
    if rival is not None:
        return _answer(rival, replayed=True)
    if draft.order.limited:
        saga.reserve(draft.order.pk, draft.quote.demands)
    ANSWERED()
    return _answer(draft.order.pk, replayed=False)


@dataclass(frozen=True)
class _Draft:
    """An order that isn't stored yet."""

    order: Order
    quote: Quote


def _draft(checkout: Checkout, using: str) -> _Draft:
    """Check and price a checkout; nothing is written."""
    now = db_now(using)
    address = accounts.services.get_address(user_id=checkout.user_id, address_id=checkout.address_id)
    lines, cart_version = _wanted(checkout)
    quote = menu.services.quote(shop_id=checkout.shop_id, lines=lines)
    quote.require_complete()
    at = _time_of_delivery(checkout.deliver_at, now)
    menu.services.check_orderable(quote, at=at, latitude=address.latitude, longitude=address.longitude)
    if checkout.shown_total is not None and checkout.shown_total != quote.total:
        raise TotalChanged(total=str(quote.total))
    bucket = bucket_of_user(checkout.user_id)
    order = Order(
        id=ids.new_id(bucket),
        bucket=bucket,
        user_id=checkout.user_id,
        shop_id=quote.shop.id,
        shop_name=quote.shop.name,
        status=Status.PLACING if quote.demands else Status.PENDING_PAYMENT,
        goods_total=quote.goods_total,
        packing_fee=quote.packing_fee,
        delivery_fee=quote.delivery_fee,
        total=quote.total,
        contact_name=address.contact_name,
        phone=address.phone,
        address_text=f"{address.region}{address.detail}",
        latitude=address.latitude,
        longitude=address.longitude,
        note=checkout.note,
        tableware=checkout.tableware,
        deliver_at=checkout.deliver_at,
        business_date=menu.services.business_date(quote.shop, now),
        placed_at=now,
        expires_at=now + timedelta(seconds=settings.WAIMAI_PAYMENT_TIMEOUT_SECONDS),
        limited=bool(quote.demands),
        cart_version=cart_version,
    )
    return _Draft(order, quote)


def _wanted(checkout: Checkout) -> tuple[tuple[LineRequest, ...], int | None]:
    """The lines to order, and the version of the cart when they come from it."""
    if checkout.lines is not None:
        if not checkout.lines:
            raise CartEmpty
        return checkout.lines, None
    return cart.for_checkout(checkout.user_id, checkout.shop_id, seen_version=checkout.cart_version)


def _time_of_delivery(chosen: datetime | None, now: datetime) -> datetime:
    if chosen is None:
        return now
    if not now < chosen <= now + FURTHEST_AHEAD:
        raise DeliveryTimeInvalid(_("请选择从现在起 24 小时以内的送达时间"))
    return chosen


def _store(draft: _Draft, checkout: Checkout, key: str, fingerprint: str, using: str) -> int | None:
    """T0: the key, the order, its lines, its first history row and its saga. Returns the order the key already has."""
    order = draft.order
    taken = idempotency.claim(
        user_id=order.user_id, key=key, route=ROUTE, fingerprint=fingerprint, ref_id=order.pk, using=using
    )
    if taken is not None:
        return taken
    Order.objects.on(using).bulk_create([order])
    OrderLine.objects.on(using).bulk_create(_lines(order, draft.quote))
    _begin_saga(order, using)
    move = BEGUN if order.limited else PLACED
    changes.record([order], [""], move, using=using, by=By(Actor.CUSTOMER, order.user_id), at=order.placed_at)
    if not order.limited:
        timers.schedule(saga.EXPIRE, order.pk, due_at=order.expires_at, using=using)
        cart.empty_after_order(order, using=using)
    return None


def _lines(order: Order, quote: Quote) -> list[OrderLine]:
    return [
        OrderLine(
            order_id=order.pk,
            n=n,
            bucket=order.bucket,
            item_id=line.item_id,
            kind=line.kind,
            name=line.name,
            unit_price=line.unit_price,
            quantity=line.quantity,
            amount=line.amount,
            options=[
                {"id": o.id, "group": o.group, "name": o.name, "price_delta": str(o.price_delta)} for o in line.options
            ],
            components=[{"item": c.item_id, "name": c.name, "quantity": c.quantity} for c in line.components],
            image=line.image or "",
        )
        for n, line in enumerate(quote.lines, start=1)
    ]


def _begin_saga(order: Order, using: str) -> None:
    soon = order.placed_at + timedelta(seconds=saga.RECOVER_AFTER_SECONDS)
    row = Saga(
        order_id=order.pk,
        bucket=order.bucket,
        state=Saga.State.RUNNING,
        step=Saga.Step.RESERVE if order.limited else Saga.Step.CHARGE,
        next_at=soon if order.limited else None,
    )
    Saga.objects.on(using).bulk_create([row])


def _answer(order_id: int, *, replayed: bool) -> Placed:
    """What the key stands for, rendered from the order: the first time in the same words as every other."""
    order: Order | None = Order.objects.by_id(order_id).first()
    if order is None:
        # A key of long ago that wasn't forgotten yet: its order is in the archive.
        raise NotFound
    if order.status == Status.PLACING:
        raise RequestInProgress
    if order.sold_out is not None:
        refusal = menu.services.SoldOut(items=order.sold_out) if order.sold_out else PlacingFailed()
        refusal.replayed = replayed
        raise refusal
    return Placed(order_id, documents.placed_document(order), replayed=replayed)
