"""Stock in real threads, each with a connection of its own."""

from __future__ import annotations

from functools import partial

import pytest

from menu import services
from menu.errors import SoldOut
from menu.models import Item, Stock
from tests.menu.factories import make_dish, make_shop, together
from waimai.infra.ids import new_id

pytestmark = pytest.mark.data


@pytest.fixture
def dishes(db_all: object) -> tuple[Item, Item]:
    shop = make_shop()
    return make_dish(shop, "麻婆豆腐", stock=1), make_dish(shop, "酸辣汤", stock=10)


def hold(demands: dict[int, int]) -> int:
    order_id = new_id(3)
    services.hold_stock(order_id=order_id, demands=demands)
    return order_id


def counts(item: Item) -> tuple[int, int, int]:
    stock = Stock.objects.get(item=item)
    return stock.available, stock.held, stock.sold


def test_the_last_portion_goes_to_one_of_eight(dishes: tuple[Item, Item]) -> None:
    tofu, _soup = dishes
    answers = together(*[partial(hold, {tofu.pk: 1})] * 8)
    assert sum(isinstance(answer, int) for answer in answers) == 1
    assert sum(isinstance(answer, SoldOut) for answer in answers) == 7
    assert counts(tofu) == (0, 1, 0)
    assert services.stock_problems() == []


def test_two_dishes_in_opposite_order_never_lock_each_other(dishes: tuple[Item, Item]) -> None:
    tofu, soup = dishes
    services.set_stock(item_id=tofu.pk, available=10)
    forwards, backwards = {tofu.pk: 1, soup.pk: 1}, {soup.pk: 1, tofu.pk: 1}
    answers = together(*[partial(hold, demands) for demands in (forwards, backwards) * 6])
    assert sum(isinstance(answer, int) for answer in answers) == 10
    assert sum(isinstance(answer, SoldOut) for answer in answers) == 2
    assert (counts(tofu), counts(soup)) == ((0, 10, 0), (0, 10, 0))


def test_one_order_held_by_eight_at_once_is_held_once(dishes: tuple[Item, Item]) -> None:
    _tofu, soup = dishes
    mei = new_id(3)
    answers = together(*[partial(services.hold_stock, order_id=mei, demands={soup.pk: 3})] * 8)
    assert answers == [None] * 8
    assert counts(soup) == (7, 3, 0)


def test_one_order_released_by_eight_at_once_comes_back_once(dishes: tuple[Item, Item]) -> None:
    _tofu, soup = dishes
    mei = hold({soup.pk: 3})
    answers = together(*[partial(services.release_stock, order_ids=[mei])] * 8)
    assert sorted(answers) == [0] * 7 + [1]
    assert counts(soup) == (10, 0, 0)


def test_hold_and_release_of_one_order_at_once_leave_nothing_held(dishes: tuple[Item, Item]) -> None:
    _tofu, soup = dishes
    for _ in range(5):
        mei = new_id(3)
        together(
            partial(services.hold_stock, order_id=mei, demands={soup.pk: 2}),
            partial(services.release_stock, order_ids=[mei]),
        )
        assert counts(soup) == (10, 0, 0)


def test_paid_and_cancelled_at_once(dishes: tuple[Item, Item]) -> None:
    """Whichever comes first, the portions come back in the end and are counted once."""
    _tofu, soup = dishes
    for _ in range(5):
        mei = hold({soup.pk: 2})
        together(
            partial(services.confirm_stock, order_ids=[mei]),
            partial(services.release_stock, order_ids=[mei]),
        )
        assert counts(soup) == (10, 0, 0)
    assert services.stock_problems() == []


def test_staff_count_while_customers_buy(dishes: tuple[Item, Item]) -> None:
    _tofu, soup = dishes
    buyers = [partial(hold, {soup.pk: 1}) for _ in range(6)]
    staff = [partial(services.set_stock, item_id=soup.pk, available=20) for _ in range(2)]
    answers = together(*buyers, *staff)
    assert sum(isinstance(answer, int) for answer in answers) == 6
    available, held, sold = counts(soup)
    assert (held, sold) == (6, 0)
    assert 14 <= available <= 20
    assert services.stock_problems() == []


def test_two_count_an_uncounted_dish_at_once(db_all: object) -> None:
    dish = make_dish(make_shop())
    answers = together(*[partial(services.set_stock, item_id=dish.pk, available=4)] * 4)
    assert answers == [None] * 4
    assert counts(dish) == (4, 0, 0)
    assert services.stock_problems() == []


def test_a_dish_running_out_while_the_menu_is_edited(dishes: tuple[Item, Item]) -> None:
    """Both bump the menu's version: neither may hang or fail."""
    tofu, soup = dishes
    answers = together(
        partial(hold, {tofu.pk: 1}),
        partial(services.stop_selling, item_ids=[soup.pk]),
        partial(services.put_on_sale, item_ids=[tofu.pk]),
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert counts(tofu) == (0, 1, 0)
