"""A guest's cart: kept in the session, priced like any other, and taken over into the user's own after login, once."""

from __future__ import annotations

import secrets
from typing import TypedDict, cast

from django.contrib.sessions.backends.base import SessionBase

import menu.services
from menu.services import LineRequest
from orders import cart
from orders.cart import MOST_LINES, MOST_OF_A_LINE, CartFull, CartView
from orders.models import CartLine
from waimai.infra import idempotency
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound
from waimai.infra.sharding import shard_of_user

ROUTE = "orders.guest_cart"
SESSION_KEY = "carts"


class _Line(TypedDict):
    id: int
    item: int
    options: list[int]
    quantity: int


class _Stored(TypedDict):
    """What the session keeps of one cart. The token tells a cart that was taken over from a new one."""

    token: str
    lines: list[_Line]


class GuestCart:
    """The cart of somebody who isn't logged in, in one shop."""

    def __init__(self, session: SessionBase, shop_id: int) -> None:
        self.session = session
        self.shop_id = shop_id

    def view(self) -> CartView:
        """The cart with today's prices. Raises NotFound for an unknown shop."""
        lines = self._stored()["lines"]
        rows = tuple(
            CartLine(
                id=line["id"],
                item_id=line["item"],
                options=",".join(map(str, line["options"])),
                quantity=line["quantity"],
            )
            for line in lines
        )
        quote = menu.services.quote(shop_id=self.shop_id, lines=[_request(line) for line in lines])
        return CartView(self.shop_id, 0, rows, quote)

    def add(self, line: LineRequest) -> CartView:
        """Put so many more of an item in. Raises the menu's refusals for what can't be ordered now, and CartFull."""
        menu.services.quote(shop_id=self.shop_id, lines=[line]).require_complete()
        stored = self._stored()
        options = sorted(line.option_ids)
        same = [x for x in stored["lines"] if (x["item"], x["options"]) == (line.item_id, options)]
        if not same:
            number = 1 + max((x["id"] for x in stored["lines"]), default=0)
            same = [{"id": number, "item": line.item_id, "options": options, "quantity": 0}]
            stored["lines"] += same
        same[0]["quantity"] += line.quantity
        if len(stored["lines"]) > MOST_LINES or same[0]["quantity"] > MOST_OF_A_LINE:
            raise CartFull
        self._store(stored)
        return self.view()

    def set_quantity(self, line_id: int, quantity: int) -> CartView:
        """Make it `quantity` (1 to 99) of a line. Raises NotFound, QuantityInvalid."""
        if not 1 <= quantity <= MOST_OF_A_LINE:
            raise menu.services.QuantityInvalid
        stored = self._stored()
        self._find(stored, line_id)["quantity"] = quantity
        self._store(stored)
        return self.view()

    def remove(self, line_id: int) -> CartView:
        """Take a line out. Raises NotFound."""
        stored = self._stored()
        stored["lines"].remove(self._find(stored, line_id))
        self._store(stored)
        return self.view()

    def clear(self) -> None:
        """Take everything out."""
        _forget(self.session, self.shop_id)

    def _stored(self) -> _Stored:
        return _read(self.session, self.shop_id) or {"token": secrets.token_hex(16), "lines": []}

    def _store(self, stored: _Stored) -> None:
        # A fresh dictionary at the top: the session notices only what is assigned to it.
        self.session[SESSION_KEY] = {**self.session.get(SESSION_KEY, {}), str(self.shop_id): stored}

    @staticmethod
    def _find(stored: _Stored, line_id: int) -> _Line:
        for line in stored["lines"]:
            if line["id"] == line_id:
                return line
        raise NotFound


class UserCart:
    """The same for somebody who is logged in: the cart on the user's shard."""

    def __init__(self, user_id: int, shop_id: int) -> None:
        self.user_id = user_id
        self.shop_id = shop_id

    def view(self) -> CartView:
        """As `cart.view`."""
        return cart.view(user_id=self.user_id, shop_id=self.shop_id)

    def add(self, line: LineRequest) -> CartView:
        """As `cart.add`."""
        return cart.add(user_id=self.user_id, shop_id=self.shop_id, line=line)

    def set_quantity(self, line_id: int, quantity: int) -> CartView:
        """As `cart.set_quantity`."""
        return cart.set_quantity(user_id=self.user_id, shop_id=self.shop_id, line_id=line_id, quantity=quantity)

    def remove(self, line_id: int) -> CartView:
        """As `cart.remove`."""
        return cart.remove(user_id=self.user_id, shop_id=self.shop_id, line_id=line_id)

    def clear(self) -> None:
        """As `cart.clear`."""
        cart.clear(user_id=self.user_id, shop_id=self.shop_id)


def take_over(session: SessionBase, *, user_id: int, shop_id: int) -> None:
    """Put what was chosen before login into the user's cart and forget it in the session.

    Twice is harmless: the token is bound in the transaction that fills the cart, so a session that was saved late, or
    asked twice at once, adds nothing again. Raises CartFull when both don't fit together; the session keeps its part.
    """
    stored = _read(session, shop_id)
    if stored is None:
        return
    token = stored["token"]
    lines = [_request(line) for line in stored["lines"]]
    using = shard_of_user(user_id)

    def body() -> None:
        print_ = idempotency.fingerprint(ROUTE, token)
        taken = idempotency.claim(
            user_id=user_id, key=f"guest:{token}", route=ROUTE, fingerprint=print_, ref_id=shop_id, using=using
        )
        if taken is None:
            cart.merge(user_id=user_id, shop_id=shop_id, lines=lines)

    run_atomic(using, body)
    _forget(session, shop_id)


def _read(session: SessionBase, shop_id: int) -> _Stored | None:
    return cast("_Stored | None", session.get(SESSION_KEY, {}).get(str(shop_id)))


def _forget(session: SessionBase, shop_id: int) -> None:
    kept = {key: value for key, value in session.get(SESSION_KEY, {}).items() if key != str(shop_id)}
    if kept:
        session[SESSION_KEY] = kept
    else:
        session.pop(SESSION_KEY, None)


def _request(line: _Line) -> LineRequest:
    return LineRequest(item_id=line["item"], quantity=line["quantity"], option_ids=tuple(line["options"]))
