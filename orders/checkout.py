"""What a customer wants to order, checked and priced; nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.utils.translation import gettext as _

import menu.services
from accounts.services import AddressInfo
from menu.services import LineRequest, Menu, Quote
from orders import cart
from orders.errors import CartEmpty, DeliveryTimeInvalid, TotalChanged
from orders.models import Order, OrderLine
from orders.states import Status
from waimai.infra import idempotency, ids
from waimai.infra.rows import new
from waimai.infra.sharding import bucket_of_user

ROUTE = "orders.place"
FURTHEST_AHEAD = timedelta(hours=24)
MICRODEGREE = Decimal("0.000001")


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
    # Whether an address without coordinates will do, also where the shop doesn't deliver everywhere.
    unplaced: bool = False

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
class Draft:
    """An order that isn't stored yet, and its lines."""

    order: Order
    lines: list[OrderLine]
    # Portions per limited item; empty when nothing on order is limited.
    demands: dict[int, int]


def draft(checkout: Checkout, *, address: AddressInfo, menu_now: Menu, now: datetime) -> Draft:
    """Check and price a checkout by the shop's menu at `now`, the clock of the customer's shard.

    Raises the refusals that `orders.services.place` names.
    """
    lines, cart_version = _wanted(checkout)
    quote = menu.services.price(menu_now, lines)
    quote.require_complete()
    at = _time_of_delivery(checkout.deliver_at, now)
    place = {"latitude": address.latitude, "longitude": address.longitude}
    menu.services.check_orderable(quote, at=at, **place, unplaced=checkout.unplaced)
    if checkout.shown_total is not None and checkout.shown_total != quote.total:
        raise TotalChanged(total=str(quote.total))
    order = _order(checkout, quote, address, now)
    order.cart_version = cart_version
    return Draft(order, _lines(order, quote), quote.demands)


def _order(checkout: Checkout, quote: Quote, address: AddressInfo, now: datetime) -> Order:
    """The order, in the very values that the database will give back: its first answer is made of them."""
    bucket = bucket_of_user(checkout.user_id)
    return new(
        Order,
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
        latitude=_degrees(address.latitude),
        longitude=_degrees(address.longitude),
        note=checkout.note,
        tableware=checkout.tableware,
        deliver_at=None if checkout.deliver_at is None else checkout.deliver_at.astimezone(UTC),
        business_date=menu.services.business_date(quote.shop, now),
        placed_at=now,
        expires_at=now + timedelta(seconds=settings.WAIMAI_PAYMENT_TIMEOUT_SECONDS),
        limited=bool(quote.demands),
    )


def _degrees(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value)).quantize(MICRODEGREE)


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


def _lines(order: Order, quote: Quote) -> list[OrderLine]:
    return [
        new(
            OrderLine,
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
