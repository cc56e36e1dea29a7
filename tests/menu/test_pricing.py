"""Prices, worked out without a database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menu.errors import ItemUnavailable, OptionInvalid, QuantityInvalid
from menu.pricing import LineRequest, price
from tests.menu.factories import component, menu_group, menu_item, menu_of

FISH = menu_item(
    1,
    "56.00",
    name="老坛酸菜鱼",
    option_groups=(menu_group(1, 1, 1, ["0", "2.50"]), menu_group(2, 0, 2, ["0", "-1", "0"])),
)
RICE = menu_item(2, "2.00", name="米饭", limited=True)
MEAL = menu_item(3, "68.00", name="招牌套餐", kind="set_meal", components=(component(1), component(2, 2)))
STOPPED = menu_item(4, "9.00", name="停售的", on_sale=False)
MENU = menu_of(FISH, RICE, MEAL, STOPPED)


def codes(*lines: LineRequest) -> list[tuple[int, str]]:
    return [(problem.index, problem.code) for problem in price(MENU, lines).problems]


def test_a_cart_adds_up() -> None:
    quote = price(MENU, [LineRequest(1, 1, (101, 201)), LineRequest(2, 3)])
    assert [line.unit_price for line in quote.lines] == [Decimal("57.50"), Decimal("2.00")]
    assert [line.amount for line in quote.lines] == [Decimal("57.50"), Decimal("6.00")]
    assert (quote.goods_total, quote.packing_fee, quote.delivery_fee) == (Decimal("63.50"), 4, 6)
    assert quote.total == Decimal("73.50")


def test_a_set_meal_is_packed_once_a_portion() -> None:
    quote = price(MENU, [LineRequest(3, 2)])
    assert quote.packing_fee == Decimal("2.00")
    assert quote.total == Decimal("144.00")


def test_an_empty_list_costs_nothing() -> None:
    quote = price(MENU, [])
    assert (quote.total, quote.delivery_fee, quote.lines) == (0, 0, ())


def test_a_line_carries_what_an_order_copies() -> None:
    line = price(MENU, [LineRequest(1, 1, (201, 101))]).lines[0]
    assert (line.index, line.item_id, line.kind, line.name) == (0, 1, "dish", "老坛酸菜鱼")
    # In the menu's order, not the request's.
    assert [(option.group, option.name, option.price_delta) for option in line.options] == [
        ("组1", "选项1", Decimal("2.50")),
        ("组2", "选项1", Decimal(-1)),
    ]


def test_a_set_meals_line_says_what_is_in_it() -> None:
    line = price(MENU, [LineRequest(3, 1)]).lines[0]
    assert [(part.item_id, part.quantity) for part in line.components] == [(1, 1), (2, 2)]


def test_demands_count_limited_portions_in_set_meals_too() -> None:
    assert price(MENU, [LineRequest(3, 2), LineRequest(2, 1)]).demands == {2: 5}


def test_nothing_limited_means_no_demands() -> None:
    assert price(MENU, [LineRequest(1, 3, (100,))]).demands == {}


@pytest.mark.parametrize("quantity", [0, -1, 100, 1_000_000_000, 1.5, 1.0, True, "2", None, float("nan")])
def test_a_quantity_is_a_whole_number_from_1_to_99(quantity: Any) -> None:
    assert codes(LineRequest(2, quantity)) == [(0, "quantity_invalid")]


@pytest.mark.parametrize("quantity", [1, 99])
def test_the_ends_of_the_range_are_in_it(quantity: int) -> None:
    assert codes(LineRequest(2, quantity)) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "options_required"),
        ((200,), "options_required"),
        ((100, 101), "option_invalid"),  # One too many
        ((100, 200, 201, 202), "option_invalid"),
        ((100, 100), "option_invalid"),  # The same twice
        ((100, 999), "option_invalid"),  # Of nobody
    ],
)
def test_options_must_fit(options: tuple[int, ...], code: str) -> None:
    assert codes(LineRequest(1, 1, options)) == [(0, code)]


def test_options_of_another_dish_are_refused() -> None:
    assert codes(LineRequest(2, 1, (100,))) == [(0, "option_invalid")]


def test_bad_lines_dont_spoil_the_good_ones() -> None:
    quote = price(MENU, [LineRequest(99, 1), LineRequest(2, 1), LineRequest(4, 1), LineRequest(2, 0)])
    assert [(line.index, line.item_id) for line in quote.lines] == [(1, 2)]
    assert [(one.index, one.code, one.name) for one in quote.problems] == [
        (0, "item_not_found", ""),
        (2, "item_off_sale", "停售的"),
        (3, "quantity_invalid", "米饭"),
    ]
    assert quote.goods_total == Decimal("2.00")


def test_a_discount_never_pays_the_customer() -> None:
    cheap = menu_item(5, "1.00", option_groups=(menu_group(5, 0, 1, ["-3"]),))
    assert price(menu_of(cheap), [LineRequest(5, 2, (500,))]).goods_total == 0


def test_prices_have_two_places() -> None:
    whole = menu_item(6, "18")
    quote = price(menu_of(whole, packing_fee=Decimal(1), delivery_fee=Decimal(6)), [LineRequest(6, 1)])
    assert [str(one) for one in (quote.goods_total, quote.packing_fee, quote.delivery_fee, quote.total)] == [
        "18.00",
        "1.00",
        "6.00",
        "25.00",
    ]


def test_sold_out_is_a_hint_not_a_problem() -> None:
    gone = menu_item(7, limited=True, in_stock=False)
    quote = price(menu_of(gone), [LineRequest(7, 1)])
    assert (quote.problems, quote.lines[0].in_stock, quote.demands) == ((), False, {7: 1})


def test_a_complete_quote_passes() -> None:
    price(MENU, [LineRequest(2, 1)]).require_complete()


def test_what_is_gone_is_named() -> None:
    with pytest.raises(ItemUnavailable) as refused:
        price(MENU, [LineRequest(4, 1), LineRequest(99, 1)]).require_complete()
    assert refused.value.extra["items"] == [
        {"id": 4, "name": "停售的", "reason": "item_off_sale"},
        {"id": 99, "name": "", "reason": "item_not_found"},
    ]
    assert "停售的" in str(refused.value.detail)


@pytest.mark.parametrize("options", [(), (999,)])
def test_bad_options_have_one_code(options: tuple[int, ...]) -> None:
    with pytest.raises(OptionInvalid):
        price(MENU, [LineRequest(1, 1, options)]).require_complete()


def test_a_bad_quantity_is_told_first() -> None:
    with pytest.raises(QuantityInvalid) as refused:
        price(MENU, [LineRequest(4, 1), LineRequest(1, 1), LineRequest(2, 0)]).require_complete()
    assert [item["id"] for item in refused.value.extra["items"]] == [2]


CENTS = st.integers(0, 999_999).map(lambda cents: str(Decimal(cents) / 100))
LINES = st.lists(st.builds(LineRequest, st.integers(1, 5), st.integers(-2, 120)), max_size=12)


@given(prices=st.lists(CENTS, min_size=3, max_size=3), lines=LINES)
def test_totals_are_the_sum_of_their_parts(prices: list[str], lines: list[LineRequest]) -> None:
    menu = menu_of(*(menu_item(number, text) for number, text in enumerate(prices, 1)))
    quote = price(menu, lines)
    good = [line for line in lines if line.item_id <= 3 and 1 <= line.quantity <= 99]
    assert len(quote.lines) + len(quote.problems) == len(lines)
    assert quote.goods_total == sum(Decimal(prices[line.item_id - 1]) * line.quantity for line in good)
    assert quote.packing_fee == sum(line.quantity for line in good)
    assert quote.total == quote.goods_total + quote.packing_fee + (6 if good else 0)
    assert quote.total.as_tuple().exponent == -2


@given(lines=LINES)
def test_the_order_of_lines_changes_no_total(lines: list[LineRequest]) -> None:
    forwards, backwards = price(MENU, lines), price(MENU, lines[::-1])
    assert forwards.total == backwards.total
    assert forwards.demands == backwards.demands
    assert list(forwards.demands) == sorted(forwards.demands)


@given(meals=st.integers(1, 99), rice=st.integers(1, 99))
def test_demands_are_portions(meals: int, rice: int) -> None:
    assert price(MENU, [LineRequest(3, meals), LineRequest(2, rice)]).demands == {2: 2 * meals + rice}
