"""What a list of lines costs, worked out from a menu. Pure: no database, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from django.utils.translation import gettext as _

from menu.errors import ItemUnavailable, OptionInvalid, QuantityInvalid
from menu.snapshot import Menu, MenuItem, MenuOption, MenuOptionGroup, ShopInfo

HIGHEST_QUANTITY = 99
CENT = Decimal("0.01")
ITEM_NOT_FOUND, ITEM_OFF_SALE = "item_not_found", "item_off_sale"
OPTION_INVALID, OPTIONS_REQUIRED = "option_invalid", "options_required"
QUANTITY_INVALID = "quantity_invalid"


@dataclass(frozen=True)
class LineRequest:
    """What somebody wants: so many of an item, with these options."""

    item_id: int
    quantity: int
    option_ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QuotedOption:
    """A chosen option, with the names and the price as they are now."""

    id: int
    group: str
    name: str
    price_delta: Decimal


@dataclass(frozen=True, kw_only=True)
class QuotedComponent:
    """What one portion of a set meal brings."""

    item_id: int
    name: str
    quantity: int


@dataclass(frozen=True, kw_only=True)
class QuotedLine:
    """A line that can be ordered. `index` is its place in the request; `in_stock` is only a hint."""

    index: int
    item_id: int
    kind: str
    name: str
    unit_price: Decimal
    quantity: int
    amount: Decimal
    options: tuple[QuotedOption, ...]
    image: str
    components: tuple[QuotedComponent, ...]
    in_stock: bool = True


@dataclass(frozen=True, kw_only=True)
class LineProblem:
    """A line that can't be ordered, and why. `name` is empty when nobody knows the item."""

    index: int
    item_id: int
    code: str
    detail: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Quote:
    """Prices in yuan. `demands` are the portions per limited item; empty when nothing on the list is limited."""

    shop: ShopInfo
    lines: tuple[QuotedLine, ...]
    problems: tuple[LineProblem, ...]
    goods_total: Decimal
    packing_fee: Decimal
    delivery_fee: Decimal
    total: Decimal
    demands: dict[int, int]

    def require_complete(self) -> None:
        """Raise QuantityInvalid, OptionInvalid or ItemUnavailable (in that order) if any line can't be ordered."""
        found = {problem.code for problem in self.problems}
        if QUANTITY_INVALID in found:
            self._refuse(QuantityInvalid, QUANTITY_INVALID)
        if found & {OPTION_INVALID, OPTIONS_REQUIRED}:
            self._refuse(OptionInvalid, OPTION_INVALID, OPTIONS_REQUIRED)
        if found:
            self._refuse(ItemUnavailable, ITEM_NOT_FOUND, ITEM_OFF_SALE)

    def _refuse(self, error: type[ItemUnavailable | OptionInvalid | QuantityInvalid], *codes: str) -> NoReturn:
        problems = [problem for problem in self.problems if problem.code in codes]
        items = [{"id": problem.item_id, "name": problem.name, "reason": problem.code} for problem in problems]
        raise error(" ".join(dict.fromkeys(problem.detail for problem in problems)), items=items)


class _LineRefused(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


def price(menu: Menu, lines: Sequence[LineRequest]) -> Quote:
    """Price lines against a menu. Never raises for a bad line: it becomes a problem of the quote."""
    quoted: list[QuotedLine] = []
    problems: list[LineProblem] = []
    for index, line in enumerate(lines):
        item = menu.items.get(line.item_id)
        try:
            quoted.append(_quote_line(index, line, item))
        except _LineRefused as refusal:
            name = item.name if item else ""
            problems.append(
                LineProblem(index=index, item_id=line.item_id, code=refusal.code, detail=refusal.detail, name=name)
            )
    return _add_up(menu, quoted, problems)


def _add_up(menu: Menu, lines: list[QuotedLine], problems: list[LineProblem]) -> Quote:
    goods = sum((line.amount for line in lines), Decimal("0.00"))
    packing = (menu.shop.packing_fee * sum(line.quantity for line in lines)).quantize(CENT)
    # Nothing to deliver costs nothing: an empty cart shows zero, not the delivery fee.
    delivery = menu.shop.delivery_fee.quantize(CENT) if lines else Decimal("0.00")
    return Quote(
        shop=menu.shop,
        lines=tuple(lines),
        problems=tuple(problems),
        goods_total=goods,
        packing_fee=packing,
        delivery_fee=delivery,
        total=goods + packing + delivery,
        demands=_demands(menu, lines),
    )


def _quote_line(index: int, line: LineRequest, item: MenuItem | None) -> QuotedLine:
    if item is None:
        raise _LineRefused(ITEM_NOT_FOUND, _("商品不存在。"))
    if not item.on_sale:
        raise _LineRefused(ITEM_OFF_SALE, _("“%(name)s”已下架。") % {"name": item.name})
    # bool is an int to Python, and 1.0 equals 1: only real whole numbers count.
    if type(line.quantity) is not int or not 1 <= line.quantity <= HIGHEST_QUANTITY:
        raise _LineRefused(QUANTITY_INVALID, _("“%(name)s”的数量应为 1 到 99。") % {"name": item.name})
    options = _choose(item, line.option_ids)
    # Discounts may not make a portion cost less than nothing.
    unit_price = max(item.price + sum(option.price_delta for option in options), Decimal(0)).quantize(CENT)
    return QuotedLine(
        index=index,
        item_id=item.id,
        kind=item.kind,
        name=item.name,
        unit_price=unit_price,
        quantity=line.quantity,
        amount=unit_price * line.quantity,
        options=options,
        image=item.image,
        components=tuple(
            QuotedComponent(item_id=part.item_id, name=part.name, quantity=part.quantity) for part in item.components
        ),
        in_stock=item.in_stock,
    )


def _choose(item: MenuItem, option_ids: tuple[int, ...]) -> tuple[QuotedOption, ...]:
    """The options in the menu's order, whatever order they were asked for in."""
    wanted = set(option_ids)
    known = {option.id for group in item.option_groups for option in group.options}
    if len(wanted) != len(option_ids) or not wanted <= known:
        raise _LineRefused(OPTION_INVALID, _("“%(name)s”没有所选的规格。") % {"name": item.name})
    chosen: list[QuotedOption] = []
    for group in item.option_groups:
        picked = [option for option in group.options if option.id in wanted]
        _check_count(item, group, picked)
        chosen += [
            QuotedOption(id=option.id, group=group.name, name=option.name, price_delta=option.price_delta)
            for option in picked
        ]
    return tuple(chosen)


def _check_count(item: MenuItem, group: MenuOptionGroup, picked: list[MenuOption]) -> None:
    names = {"name": item.name, "group": group.name, "min": group.min, "max": group.max}
    if len(picked) < group.min:
        raise _LineRefused(OPTIONS_REQUIRED, _("“%(name)s”的%(group)s至少选 %(min)d 项。") % names)
    if len(picked) > group.max:
        raise _LineRefused(OPTION_INVALID, _("“%(name)s”的%(group)s最多选 %(max)d 项。") % names)


def _demands(menu: Menu, lines: Iterable[QuotedLine]) -> dict[int, int]:
    """Portions per limited item: of the item itself and of what a set meal is made of."""
    wanted: Counter[int] = Counter()
    for line in lines:
        wanted[line.item_id] += line.quantity
        for part in line.components:
            wanted[part.item_id] += part.quantity * line.quantity
    return {item_id: wanted[item_id] for item_id in sorted(wanted) if menu.items[item_id].limited}
