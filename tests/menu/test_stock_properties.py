"""Whatever is done to the stock in whatever order, the books add up."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from menu import services
from menu.errors import SoldOut
from menu.models import Item, Stock
from tests.menu.factories import make_dish, make_shop
from waimai.infra.ids import new_id

pytestmark = pytest.mark.data
ORDERS, DISHES = 5, 2

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(0, ORDERS - 1), st.lists(st.integers(0, 3), min_size=2, max_size=2)),
        st.tuples(st.just("confirm"), st.lists(st.integers(0, ORDERS - 1), max_size=3)),
        st.tuples(st.just("release"), st.lists(st.integers(0, ORDERS - 1), max_size=3)),
        st.tuples(st.just("set"), st.integers(0, DISHES - 1), st.one_of(st.none(), st.integers(0, 6))),
    ),
    max_size=14,
)


def _do(step: tuple[object, ...], orders: list[int], dishes: list[Item]) -> None:
    match step:
        case ("hold", int(which), [int(first), int(second)]):
            demands = {dishes[0].pk: first, dishes[1].pk: second}
            with suppress(SoldOut):
                services.hold_stock(order_id=orders[which], demands=demands)
        case ("confirm", list(which)):
            services.confirm_stock(order_ids=[orders[number] for number in which])
        case ("release", list(which)):
            services.release_stock(order_ids=[orders[number] for number in which])
        case ("set", int(which), None | int() as available):
            services.set_stock(item_id=dishes[which].pk, available=available)
        case _:
            raise AssertionError(step)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_books_add_up_whatever_is_done(steps: list[tuple[object, ...]]) -> None:
    shop = make_shop(f"店{new_id(1)}")
    dishes = [make_dish(shop, "甲", stock=4), make_dish(shop, "乙", stock=2)]
    orders = [new_id(5) for _ in range(ORDERS)]
    for step in steps:
        _do(step, orders, dishes)
        assert services.stock_problems() == []
        assert not Stock.objects.filter(available__lt=0).exists()
    services.release_stock(order_ids=orders)
    ended = list(Stock.objects.filter(item__in=dishes).values_list("held", "sold"))
    assert ended == [(0, 0), (0, 0)]
