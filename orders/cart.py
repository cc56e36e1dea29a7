"""The cart: what a user means to order in a shop, priced anew at every look.

Every change raises the cart's version under a lock on its row, so that two clicks at once both count, and a checkout
that names a version orders what was seen or is told that it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from django.db.models import F, QuerySet
from django.utils.translation import gettext_lazy as _

import menu.services
from menu.services import LineRequest, Quote
from orders.errors import CartEmpty
from orders.models import LONGEST_OPTIONS, Cart, CartLine, Order
from waimai.infra import idempotency, ids
from waimai.infra.db import run_atomic
from waimai.infra.errors import DomainError, NotFound
from waimai.infra.rows import update_or_insert
from waimai.infra.sharding import bucket_of_user, shard_of_user

ROUTE = "cart.add"
MOST_LINES = 50
MOST_OF_A_LINE = 99


class CartChanged(DomainError):
    """The cart is no longer the one that was seen."""

    code, status, title = "cart_changed", 409, _("购物车有变动，请再确认一次")


class CartFull(DomainError):
    """The cart holds as many different lines, or as many of one, as it can."""

    code, status, title = "cart_full", 409, _("购物车放不下了")


@dataclass(frozen=True)
class CartView:
    """A cart with today's prices. `quote` covers the lines in their order; its problems name what can't be had."""

    shop_id: int
    version: int
    lines: tuple[CartLine, ...]
    quote: Quote
    # True when the change had been made before, under the same idempotency key.
    replayed: bool = False


def view(*, user_id: int, shop_id: int) -> CartView:
    """The user's cart in a shop, empty when there is none. Raises NotFound for an unknown shop."""
    using = shard_of_user(user_id)
    version = _version(user_id, shop_id)
    lines = tuple(_lines(user_id, shop_id, using))
    return CartView(shop_id, version, lines, menu.services.quote(shop_id=shop_id, lines=[as_request(x) for x in lines]))


def add(*, user_id: int, shop_id: int, line: LineRequest, key: str | None = None) -> CartView:
    """Put so many more of an item with these options into the cart; once, however often it is asked with one `key`.

    Raises the menu's refusals for a line that can't be ordered now, CartFull, IdempotencyKeyReused.
    """
    print_ = idempotency.fingerprint(ROUTE, [shop_id, line.item_id, line.quantity, sorted(line.option_ids)])
    bound: dict[str, Any] = {"user_id": user_id, "route": ROUTE, "fingerprint": print_, "using": shard_of_user(user_id)}
    if key is not None and idempotency.find(key=key, **bound) is not None:
        return replace(view(user_id=user_id, shop_id=shop_id), replayed=True)
    menu.services.quote(shop_id=shop_id, lines=[line]).require_complete()

    def body(using: str) -> None:
        if key is not None and idempotency.claim(key=key, ref_id=line.item_id, **bound) is not None:
            raise _AddedBefore
        _merge(user_id, shop_id, [line], using)

    try:
        _change(user_id, shop_id, body, make=True)
    except _AddedBefore:
        return replace(view(user_id=user_id, shop_id=shop_id), replayed=True)
    return view(user_id=user_id, shop_id=shop_id)


class _AddedBefore(Exception):
    """A twin request was faster; what this one began is rolled back."""


def merge(*, user_id: int, shop_id: int, lines: Iterable[LineRequest]) -> CartView:
    """Put several lines into the cart at once (a guest's cart at login, an old order again)."""
    wanted = list(lines)
    _change(user_id, shop_id, lambda using: _merge(user_id, shop_id, wanted, using), make=True)
    return view(user_id=user_id, shop_id=shop_id)


def set_quantity(*, user_id: int, shop_id: int, line_id: int, quantity: int) -> CartView:
    """Make it `quantity` (1 to 99) of a line. Raises NotFound for a line that isn't in this cart, QuantityInvalid."""
    if type(quantity) is not int or not 1 <= quantity <= MOST_OF_A_LINE:
        raise menu.services.QuantityInvalid

    def body(using: str) -> None:
        if _line(user_id, shop_id, line_id, using).update(quantity=quantity) != 1:
            raise NotFound

    _change(user_id, shop_id, body)
    return view(user_id=user_id, shop_id=shop_id)


def take_one(*, user_id: int, shop_id: int, line_id: int) -> None:
    """One less of a line, which goes with its last; nothing happens for a line that isn't there any more."""

    def body(using: str) -> None:
        line = _line(user_id, shop_id, line_id, using)
        if not line.filter(quantity__gt=1).update(quantity=F("quantity") - 1):
            line.delete()

    _change(user_id, shop_id, body)


def remove(*, user_id: int, shop_id: int, line_id: int) -> CartView:
    """Take a line out. Raises NotFound for a line that isn't in this cart."""

    def body(using: str) -> None:
        if not _line(user_id, shop_id, line_id, using).delete()[0]:
            raise NotFound

    _change(user_id, shop_id, body)
    return view(user_id=user_id, shop_id=shop_id)


def clear(*, user_id: int, shop_id: int) -> None:
    """Take everything out. Raises NotFound for an unknown shop."""
    menu.services.get_shop(shop_id)
    _change(user_id, shop_id, lambda using: _delete_lines(user_id, shop_id, using))


def for_checkout(user_id: int, shop_id: int, *, seen_version: int | None) -> tuple[tuple[LineRequest, ...], int]:
    """The cart's lines and version. Raises CartEmpty, and CartChanged when it isn't the version that was seen."""
    version = _version(user_id, shop_id)
    lines = tuple(as_request(line) for line in _lines(user_id, shop_id, shard_of_user(user_id)))
    # Read around the lines: a change in between would be ordered unseen, under the version before it.
    if _version(user_id, shop_id) != version or seen_version not in (None, version):
        raise CartChanged
    if not lines:
        raise CartEmpty
    return lines, version


def empty_after_order(order: Order, *, using: str) -> None:
    """In the order's transaction: take out what was ordered, unless the cart was changed since it was read."""
    if order.cart_version is not None and _raise_version(order, using):
        _delete_lines(order.user_id, order.shop_id, using)


def touch_after_refusal(order: Order, *, using: str) -> None:
    """After "sold out": the next checkout of the same cart is a new request, not a replay of the refusal."""
    if order.cart_version is not None:
        _raise_version(order, using)


def _raise_version(order: Order, using: str) -> bool:
    row = Cart.objects.on(using).filter(user_id=order.user_id, shop_id=order.shop_id, version=order.cart_version)
    return bool(row.update(version=F("version") + 1) == 1)


def _change(user_id: int, shop_id: int, body: Callable[[str], None], *, make: bool = False) -> None:
    """Run `body(alias)` with the cart's row locked and its version raised; `make` the row if there is none."""
    using = shard_of_user(user_id)
    key, more = {"user_id": user_id, "shop_id": shop_id}, {"version": F("version") + 1}

    def locked() -> None:
        if make:
            fresh = {"bucket": bucket_of_user(user_id), "version": 0}
            update_or_insert(Cart, key, fresh, more, using=using)
        else:
            Cart.objects.on(using).filter(**key).update(**more)
        body(using)

    run_atomic(using, locked)


def _merge(user_id: int, shop_id: int, lines: Sequence[LineRequest], using: str) -> None:
    known = {(line.item_id, line.options): line for line in _lines(user_id, shop_id, using)}
    for wanted in lines:
        options = ",".join(map(str, sorted(wanted.option_ids)))
        if len(options) > LONGEST_OPTIONS:
            raise CartFull
        line = known.get((wanted.item_id, options))
        if line is None:
            known[wanted.item_id, options] = _new_line(user_id, shop_id, wanted, options, using)
            continue
        line.quantity += wanted.quantity
        _line(user_id, shop_id, line.id, using).update(quantity=line.quantity)
    if len(known) > MOST_LINES or any(line.quantity > MOST_OF_A_LINE for line in known.values()):
        raise CartFull


def _new_line(user_id: int, shop_id: int, wanted: LineRequest, options: str, using: str) -> CartLine:
    bucket = bucket_of_user(user_id)
    line = CartLine(
        id=ids.new_id(bucket),
        bucket=bucket,
        user_id=user_id,
        shop_id=shop_id,
        item_id=wanted.item_id,
        options=options,
        quantity=wanted.quantity,
    )
    CartLine.objects.on(using).bulk_create([line])
    return line


def _version(user_id: int, shop_id: int) -> int:
    rows = Cart.objects.for_user(user_id).filter(shop_id=shop_id)
    return cast("int", rows.values_list("version", flat=True).first() or 0)


def _lines(user_id: int, shop_id: int, using: str) -> list[CartLine]:
    return list(CartLine.objects.on(using).filter(user_id=user_id, shop_id=shop_id).order_by("id"))


def _line(user_id: int, shop_id: int, line_id: int, using: str) -> QuerySet[CartLine]:
    rows: QuerySet[CartLine] = CartLine.objects.on(using).filter(user_id=user_id, shop_id=shop_id, id=line_id)
    return rows


def _delete_lines(user_id: int, shop_id: int, using: str) -> None:
    CartLine.objects.on(using).filter(user_id=user_id, shop_id=shop_id).delete()


def as_request(line: CartLine) -> LineRequest:
    """A line as the menu prices it."""
    options = tuple(int(number) for number in line.options.split(",") if number)
    return LineRequest(item_id=line.item_id, quantity=line.quantity, option_ids=options)
