"""A cart as a page shows it: a row per line, and whether it can be ordered as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from menu.services import LineProblem, QuotedLine
from orders.cart import CartView

PARTS_SHOWN = 3


@dataclass(frozen=True)
class Row:
    """One line. `quoted` is None for what the menu no longer has; `problem` says why it can't be ordered."""

    id: int
    quantity: int
    name: str
    quoted: QuotedLine | None
    problem: str


@dataclass(frozen=True)
class InCart:
    """How many portions of an item are in the cart, and its line without options."""

    portions: int = 0
    line: Row | None = None


@dataclass(frozen=True)
class Basket:
    """The whole cart. `missing` yuan are missing to what the shop delivers for."""

    view: CartView
    rows: tuple[Row, ...]
    portions: int
    missing: Decimal
    ready: bool

    @property
    def shown(self) -> tuple[str, ...]:
        """What a page shows of the cart's prices, as its form can carry it: `key|amount|name`."""
        quote = self.view.quote
        lines = [f"{row.id}|{row.quoted.amount}|{row.name} × {row.quantity}" for row in self.rows if row.quoted]
        return (*lines, f"packing|{quote.packing_fee}|{_('打包费')}", f"delivery|{quote.delivery_fee}|{_('配送费')}")

    def of_item(self, item_id: int) -> InCart:
        """What of an item is in the cart."""
        mine = [(row, line) for row, line in zip(self.rows, self.view.lines, strict=True) if line.item_id == item_id]
        plain = next((row for row, line in mine if not line.options), None)
        return InCart(sum(row.quantity for row, _line in mine), plain)


@dataclass(frozen=True)
class Difference:
    """What was shown at one price and is at another now; empty where it wasn't, or isn't any more."""

    name: str
    was: str
    now: str


def differences(seen: Iterable[str], now: Basket) -> list[Difference]:
    """What differs between what a page showed (as `Basket.shown`) and the cart as it is. Nonsense is passed over."""
    before, after = _by_key(seen), _by_key(now.shown)
    return [
        Difference((after.get(key) or before[key])[1], before.get(key, ("", ""))[0], after.get(key, ("", ""))[0])
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


def _by_key(shown: Iterable[str]) -> dict[str, tuple[str, str]]:
    parts = [each.split("|", 2) for each in shown]
    return {part[0]: (part[1], part[2]) for part in parts if len(part) == PARTS_SHOWN}


def basket(view: CartView) -> Basket:
    """The cart made ready to be shown."""
    quoted = {line.index: line for line in view.quote.lines}
    problems = {problem.index: problem for problem in view.quote.problems}
    rows = []
    for index, line in enumerate(view.lines):
        found, refused = quoted.get(index), problems.get(index)
        known = found or refused
        name = known.name if known else ""
        rows.append(Row(line.id, line.quantity, name or _("已下架的商品"), found, _problem(found, refused)))
    missing = max(view.quote.shop.minimum_order - view.quote.goods_total, Decimal(0))
    ready = bool(rows) and not missing and not any(row.problem for row in rows)
    return Basket(view, tuple(rows), sum(row.quantity for row in rows), missing, ready)


def _problem(found: QuotedLine | None, refused: LineProblem | None) -> str:
    if refused is not None:
        return refused.detail
    return "" if found is None or found.in_stock else _("已售罄")
