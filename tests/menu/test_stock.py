"""Portions: held, sold, given back, each once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext

from menu import services
from menu.errors import NoSuchItem, SoldOut
from menu.events import ItemSoldOut
from menu.models import Item, Shop, Stock, StockAdjustment, StockHold
from tests.menu.factories import make_dish, make_set_meal, make_shop
from waimai.infra.errors import ValidationFailed
from waimai.infra.ids import new_id
from waimai.infra.models import Barrier
from waimai.infra.outbox import hear, publish

pytestmark = pytest.mark.data


@pytest.fixture
def shop(db_all: object) -> Shop:
    return make_shop()


@pytest.fixture
def tofu(shop: Shop) -> Item:
    return make_dish(shop, "麻婆豆腐", stock=5)


def counts(item: Item) -> tuple[int, int, int]:
    """Available, held, sold."""
    stock = Stock.objects.get(item=item)
    return stock.available, stock.held, stock.sold


def states(order_id: int) -> list[str]:
    return [hold.state for hold in services.holds_of([order_id]).get(order_id, [])]


def order() -> int:
    return new_id(7)


# --- how many there are ---


def test_an_item_is_unlimited_until_somebody_says_otherwise(shop: Shop) -> None:
    dish = make_dish(shop)
    assert services.stock_of([dish.pk]) == {}


def test_setting_the_stock_limits_the_item(tofu: Item) -> None:
    info = services.stock_of([tofu.pk])[tofu.pk]
    assert (info.available, info.held, info.sold) == (5, 0, 0)


def test_setting_it_again_writes_the_difference(tofu: Item) -> None:
    services.set_stock(item_id=tofu.pk, available=2, reason="mei")
    assert list(StockAdjustment.objects.order_by("pk").values_list("delta", "reason")) == [(5, ""), (-3, "mei")]


def test_portions_are_counted_from_now_on(tofu: Item) -> None:
    services.hold_stock(order_id=order(), demands={tofu.pk: 2})
    services.set_stock(item_id=tofu.pk, available=10)
    assert counts(tofu) == (10, 2, 0)
    assert services.stock_problems() == []


def test_unlimited_again(tofu: Item) -> None:
    services.set_stock(item_id=tofu.pk, available=None)
    assert services.stock_of([tofu.pk])[tofu.pk].available is None
    services.hold_stock(order_id=order(), demands={tofu.pk: 50})
    assert counts(tofu) == (5, 0, 0)


def test_a_hold_from_before_unlimited_comes_back(tofu: Item) -> None:
    early = order()
    services.hold_stock(order_id=early, demands={tofu.pk: 2})
    services.set_stock(item_id=tofu.pk, available=None)
    services.release_stock(order_ids=[early])
    assert counts(tofu) == (5, 0, 0)
    assert services.stock_problems() == []


@pytest.mark.parametrize("available", [-1, 1_000_001, 1.5, True, "3"])
def test_senseless_stock_is_refused(tofu: Item, available: Any) -> None:
    with pytest.raises(ValidationFailed):
        services.set_stock(item_id=tofu.pk, available=available)
    assert counts(tofu) == (5, 0, 0)


def test_stock_of_nothing_is_refused(shop: Shop) -> None:
    with pytest.raises(NoSuchItem):
        services.set_stock(item_id=404, available=1)


def test_the_database_itself_refuses_less_than_nothing(tofu: Item) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(using="default"):
        Stock.objects.filter(item=tofu).update(available=-1)


# --- holding ---


def test_a_hold_takes_portions(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    assert counts(tofu) == (3, 2, 0)
    assert services.holds_of([mei])[mei] == [services.HoldInfo(item_id=tofu.pk, quantity=2, state="live")]


def test_a_repeated_hold_changes_nothing(tofu: Item) -> None:
    mei = order()
    for _ in range(3):
        services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    assert counts(tofu) == (3, 2, 0)


def test_a_repetition_after_the_last_portion_went_is_no_refusal(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 5})
    services.hold_stock(order_id=mei, demands={tofu.pk: 5})
    assert counts(tofu) == (0, 5, 0)


def test_too_few_are_left(tofu: Item) -> None:
    with pytest.raises(SoldOut) as refused:
        services.hold_stock(order_id=order(), demands={tofu.pk: 6})
    assert refused.value.extra["items"] == [{"id": tofu.pk, "name": "麻婆豆腐", "available": 5}]
    assert "麻婆豆腐" in str(refused.value.detail)
    assert counts(tofu) == (5, 0, 0)


def test_all_or_none_and_every_short_item_is_named(shop: Shop, tofu: Item) -> None:
    soup, rice = make_dish(shop, "酸辣汤", stock=1), make_dish(shop, "米饭", stock=0)
    tao = order()
    with pytest.raises(SoldOut) as refused:
        services.hold_stock(order_id=tao, demands={rice.pk: 1, soup.pk: 2, tofu.pk: 1})
    assert refused.value.extra["items"] == [
        {"id": soup.pk, "name": "酸辣汤", "available": 1},
        {"id": rice.pk, "name": "米饭", "available": 0},
    ]
    assert (counts(tofu), states(tao)) == ((5, 0, 0), [])


def test_a_refused_order_may_try_again_when_there_is_more(tofu: Item) -> None:
    tao = order()
    with pytest.raises(SoldOut):
        services.hold_stock(order_id=tao, demands={tofu.pk: 6})
    services.set_stock(item_id=tofu.pk, available=6)
    services.hold_stock(order_id=tao, demands={tofu.pk: 6})
    assert counts(tofu) == (0, 6, 0)


def test_what_is_not_limited_is_passed_over(shop: Shop, tofu: Item) -> None:
    free = make_dish(shop, "米饭")
    mei = order()
    services.hold_stock(order_id=mei, demands={free.pk: 9, tofu.pk: 1})
    assert [hold.item_id for hold in services.holds_of([mei])[mei]] == [tofu.pk]


def test_a_set_meal_takes_portions_of_its_dishes(shop: Shop, tofu: Item) -> None:
    meal = make_set_meal(shop, [(tofu, 2)])
    quote = services.quote(shop_id=shop.pk, lines=[services.LineRequest(meal.pk, 2)])
    services.hold_stock(order_id=order(), demands=quote.demands)
    assert counts(tofu) == (1, 4, 0)


# --- selling and giving back ---


def test_confirmed_portions_are_sold_once(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    assert [services.confirm_stock(order_ids=[mei]) for _ in range(2)] == [1, 0]
    assert (counts(tofu), states(mei)) == ((3, 0, 2), ["sold"])


def test_held_portions_come_back_once(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    assert [services.release_stock(order_ids=[mei]) for _ in range(2)] == [1, 0]
    assert (counts(tofu), states(mei)) == ((5, 0, 0), ["released"])


def test_sold_portions_come_back_once(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    services.confirm_stock(order_ids=[mei])
    assert [services.release_stock(order_ids=[mei]) for _ in range(2)] == [1, 0]
    assert counts(tofu) == (5, 0, 0)
    assert services.stock_problems() == []


def test_what_came_back_isnt_sold_afterwards(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    services.release_stock(order_ids=[mei])
    assert services.confirm_stock(order_ids=[mei]) == 0
    assert counts(tofu) == (5, 0, 0)


def test_a_hold_that_comes_after_its_release_finds_the_door_shut(tofu: Item) -> None:
    late = order()
    assert services.release_stock(order_ids=[late]) == 0
    services.hold_stock(order_id=late, demands={tofu.pk: 2})
    assert (counts(tofu), states(late)) == ((5, 0, 0), [])


def test_sold_portions_come_back_though_the_barrier_is_forgotten(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    services.confirm_stock(order_ids=[mei])
    Barrier.objects.on("default").delete()
    assert [services.release_stock(order_ids=[mei]) for _ in range(2)] == [1, 0]
    assert counts(tofu) == (5, 0, 0)


def test_what_came_back_stays_back_though_the_barrier_is_forgotten(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    services.release_stock(order_ids=[mei])
    Barrier.objects.on("default").delete()
    assert services.release_stock(order_ids=[mei]) == 0
    assert counts(tofu) == (5, 0, 0)


def test_releasing_many_orders_asks_no_more_often_than_releasing_one(tofu: Item) -> None:
    services.set_stock(item_id=tofu.pk, available=50)
    asked = []
    for many in (1, 10):
        orders = [order() for _ in range(many)]
        for order_id in orders:
            services.hold_stock(order_id=order_id, demands={tofu.pk: 1})
        with CaptureQueriesContext(connections["default"]) as queries:
            services.release_stock(order_ids=orders)
        asked.append(len(queries))
    assert asked[0] == asked[1]


def test_releasing_what_never_held_leaves_others_alone(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 2})
    services.release_stock(order_ids=[order()])
    assert counts(tofu) == (3, 2, 0)


def test_hundreds_of_orders_at_once(shop: Shop) -> None:
    rice, soup = make_dish(shop, "米饭", stock=1000), make_dish(shop, "酸辣汤", stock=1000)
    many = [order() for _ in range(130)]
    for order_id in many:
        services.hold_stock(order_id=order_id, demands={rice.pk: 2, soup.pk: 1})
    assert services.confirm_stock(order_ids=many[:40]) == 80
    assert services.release_stock(order_ids=[*many, many[0]]) == 260
    assert (counts(rice), counts(soup)) == ((1000, 0, 0), (1000, 0, 0))
    assert services.stock_problems() == []


def test_portions_of_a_deleted_dish_are_no_problem(tofu: Item) -> None:
    mei = order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 1})
    services.confirm_stock(order_ids=[mei])
    services.stop_selling(item_ids=[tofu.pk])
    services.delete_item(item_id=tofu.pk)
    assert services.release_stock(order_ids=[mei]) == 1
    assert services.stock_problems() == []


def test_nobody_asked_nothing_happens(tofu: Item) -> None:
    assert (services.release_stock(order_ids=[]), services.confirm_stock(order_ids=[])) == (0, 0)


# --- the order of statements ---


def test_the_stock_rows_change_last_and_ascending(shop: Shop) -> None:
    """A hot dish is locked for as short as can be, and no two orders wait for each other in a circle."""
    first, second = make_dish(shop, "甲", stock=9), make_dish(shop, "乙", stock=9)
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connections["default"].execute_wrapper(note):
        services.hold_stock(order_id=order(), demands={second.pk: 1, first.pk: 1})
    tail = [(sql, params) for sql, params in statements if not re.match("SAVEPOINT|RELEASE|BEGIN", sql)][-2:]
    assert all(re.match(r"UPDATE .menu_stock. ", sql) for sql, _ in tail)
    assert [params[-2] for _, params in tail] == [first.pk, second.pk]


# --- the menu follows ---


def version(shop: Shop) -> int:
    return Shop.objects.get(pk=shop.pk).menu_version


def is_available(shop: Shop) -> bool:
    return bool(services.menu_document(shop.pk).data["categories"][0]["items"][0]["available"])


def test_an_ordinary_hold_leaves_the_menus_copies_good(shop: Shop, tofu: Item) -> None:
    before = version(shop)
    services.hold_stock(order_id=order(), demands={tofu.pk: 4})
    assert version(shop) == before


def test_the_menu_shows_sold_out_and_back_again(shop: Shop, tofu: Item) -> None:
    mei = order()
    assert is_available(shop)
    services.hold_stock(order_id=mei, demands={tofu.pk: 5})
    assert not is_available(shop)
    services.release_stock(order_ids=[mei])
    assert is_available(shop)


def test_a_set_meal_is_sold_out_with_its_dish(shop: Shop, tofu: Item) -> None:
    make_set_meal(shop, [(tofu, 2)])
    services.hold_stock(order_id=order(), demands={tofu.pk: 5})
    items = [item for category in services.menu_document(shop.pk).data["categories"] for item in category["items"]]
    assert [item["available"] for item in items] == [False, False]


def in_stock(item: Item) -> bool:
    return services.get_menu(item.shop_id).items[item.pk].in_stock


def test_a_set_meal_that_needs_two_is_gone_when_one_is_left_and_back_with_the_second(shop: Shop, tofu: Item) -> None:
    meal, feast = make_set_meal(shop, [(tofu, 2)]), make_set_meal(shop, [(tofu, 4)], "四人餐")
    mei, tao = order(), order()
    services.hold_stock(order_id=mei, demands={tofu.pk: 1})
    assert [in_stock(one) for one in (tofu, meal, feast)] == [True, True, True]
    services.hold_stock(order_id=tao, demands={tofu.pk: 2})
    assert [in_stock(one) for one in (tofu, meal, feast)] == [True, True, False]
    services.hold_stock(order_id=order(), demands={tofu.pk: 1})
    assert [in_stock(one) for one in (tofu, meal, feast)] == [True, False, False]
    services.release_stock(order_ids=[mei])
    assert [in_stock(one) for one in (tofu, meal, feast)] == [True, True, False]
    services.release_stock(order_ids=[tao])
    assert [in_stock(one) for one in (tofu, meal, feast)] == [True, True, True]


heard: list[ItemSoldOut] = []


@hear(ItemSoldOut)
def _note(event: ItemSoldOut, *, using: str) -> None:
    heard.append(event)


def test_the_last_portion_is_news(shop: Shop, tofu: Item) -> None:
    from waimai.infra.outbox import relay

    heard.clear()
    services.hold_stock(order_id=order(), demands={tofu.pk: 4})
    services.hold_stock(order_id=order(), demands={tofu.pk: 1})
    relay("default")
    assert heard == [ItemSoldOut(key=tofu.pk, shop_id=shop.pk, name="麻婆豆腐")]


def test_running_low_is_no_news(shop: Shop, tofu: Item) -> None:
    from waimai.infra.outbox import relay

    heard.clear()
    make_set_meal(shop, [(tofu, 2)])
    services.hold_stock(order_id=order(), demands={tofu.pk: 4})
    relay("default")
    assert heard == []


def test_news_belongs_inside_a_transaction(tofu: Item) -> None:
    with pytest.raises(RuntimeError):
        publish(ItemSoldOut(key=tofu.pk, shop_id=tofu.shop_id, name=tofu.name), using="default")


# --- the audit ---


def test_the_audit_is_clean_after_ordinary_days(shop: Shop, tofu: Item) -> None:
    mei, tao, lan = order(), order(), order()
    for order_id in (mei, tao, lan):
        services.hold_stock(order_id=order_id, demands={tofu.pk: 1})
    services.confirm_stock(order_ids=[mei, tao])
    services.release_stock(order_ids=[tao])
    assert counts(tofu) == (3, 1, 1)
    assert services.stock_problems() == []


@pytest.mark.parametrize("field", ["available", "held", "sold"])
def test_the_audit_finds_a_counter_that_is_off(tofu: Item, field: str) -> None:
    Stock.objects.filter(item=tofu).update(**{field: 7})
    (problem,) = services.stock_problems()
    assert f"item {tofu.pk}" in problem


def test_the_audit_finds_a_hold_that_nobody_counted(tofu: Item) -> None:
    StockHold.objects.create(order_id=order(), item_id=tofu.pk, quantity=1)
    assert len(services.stock_problems()) == 1
