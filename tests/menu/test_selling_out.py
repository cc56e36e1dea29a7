"""Sold out until a time: customers see when, and it comes back by itself."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from django.test import Client

from menu import selling_out, services
from menu.errors import NoSuchItem
from menu.hours import clock_ahead
from menu.models import Item, Shop, Stock, StockAdjustment
from tests.accounts.factories import Api, read, staff
from tests.menu.factories import make_dish, make_set_meal, make_shop, shop_info, span
from waimai.infra import timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ValidationFailed
from waimai.infra.ids import new_id
from waimai.infra.models import Timer
from waimai.infra.sharding import DEFAULT

pytestmark = pytest.mark.data
MONDAY, WEDNESDAY = 0, 2


@pytest.fixture
def shop(db_all: object) -> Shop:
    return make_shop()


def soon(**ahead: int) -> datetime:
    return db_now(DEFAULT) + timedelta(**(ahead or {"hours": 1}))


def its_time_comes(*items: Item) -> None:
    moment = db_now(DEFAULT) - timedelta(seconds=5)
    for item in items:
        Stock.objects.filter(item=item, back_at__isnull=False).update(back_at=moment)
    Timer.objects.on(DEFAULT).filter(kind="menu.back").update(due_at=moment)
    timers.sweep(DEFAULT)


def available(item: Item) -> int | None:
    return services.stock_of([item.pk])[item.pk].available


def back_at(item: Item) -> datetime | None:
    return services.get_menu(item.shop_id).items[item.pk].back_at


@pytest.mark.parametrize(
    ("before", "portions", "after"), [(None, None, None), (5, None, 5), (5, 9, 9), (0, 9, 9), (None, 3, 3)]
)
def test_it_comes_back_as_it_was_or_as_many_as_were_said(
    shop: Shop, before: int | None, portions: int | None, after: int | None
) -> None:
    dish = make_dish(shop, stock=before)
    until = soon()
    services.sell_out(item_id=dish.pk, until=until, portions=portions)
    assert (available(dish), back_at(dish)) == (0, until)
    assert not services.get_menu(shop.pk).items[dish.pk].in_stock
    timers.sweep(DEFAULT)
    assert available(dish) == 0
    its_time_comes(dish)
    assert (available(dish), back_at(dish)) == (after, None)
    assert services.get_menu(shop.pk).items[dish.pk].in_stock
    assert list(services.stock_problems()) == []
    assert not Timer.objects.on(DEFAULT).filter(kind="menu.back").exists()


def test_later_or_sooner_than_first_said_it_comes_back_as_it_was(shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    services.sell_out(item_id=dish.pk, until=soon())
    until = soon(hours=3)
    services.sell_out(item_id=dish.pk, until=until)
    assert back_at(dish) == until
    its_time_comes(dish)
    assert available(dish) == 5


def test_whoever_sets_the_stock_meanwhile_decides(shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    services.sell_out(item_id=dish.pk, until=soon())
    services.set_stock(item_id=dish.pk, available=2)
    assert back_at(dish) is None
    its_time_comes(dish)
    assert available(dish) == 2


def test_senseless_wishes_are_refused_and_change_nothing(shop: Shop) -> None:
    none_left, some = make_dish(shop, stock=0), make_dish(shop, "酸辣汤", stock=5)
    for dish, wish in (
        (none_left, {"until": soon()}),
        (some, {"until": db_now(DEFAULT)}),
        (some, {"until": soon(), "portions": 0}),
        (some, {"until": soon(), "portions": 1_000_001}),
    ):
        with pytest.raises(ValidationFailed):
            services.sell_out(item_id=dish.pk, **wish)
    assert (available(none_left), available(some), back_at(some)) == (0, 5, None)
    with pytest.raises(NoSuchItem):
        services.sell_out(item_id=999_999, until=soon())


def test_a_dish_that_was_deleted_meanwhile_is_not_missed(shop: Shop) -> None:
    dish, other = make_dish(shop), make_dish(shop, "酸辣汤")
    for each in (dish, other):
        services.sell_out(item_id=each.pk, until=soon())
    StockAdjustment.objects.filter(item=dish).delete()
    dish.delete()
    its_time_comes(other)
    assert available(other) is None


def test_a_set_meal_waits_for_the_last_of_its_dishes(shop: Shop) -> None:
    fish, rice = make_dish(shop, "鱼"), make_dish(shop, "饭")
    meal = make_set_meal(shop, [(fish, 1), (rice, 2)])
    until = soon(hours=2)
    services.sell_out(item_id=fish.pk, until=soon())
    services.sell_out(item_id=rice.pk, until=until)
    assert back_at(meal) == until
    services.set_stock(item_id=fish.pk, available=0)
    assert back_at(meal) is None
    services.set_stock(item_id=fish.pk, available=None)
    services.set_stock(item_id=rice.pk, available=None)
    assert back_at(meal) is None


def test_customers_and_their_apps_see_when(shop: Shop) -> None:
    dish = make_dish(shop)
    until = datetime.combine(db_now(DEFAULT).date() + timedelta(days=1), time(9, 30), tzinfo=UTC)
    services.sell_out(item_id=dish.pk, until=until)
    items = read(Api().get(f"shops/{shop.pk}/menu/"))["categories"][0]["items"]
    assert [(item["available"], datetime.fromisoformat(item["back_at"])) for item in items] == [(False, until)]
    shown = f"{until + timedelta(hours=8):%m-%d} 17:30 恢复"
    for path in (f"/shops/{shop.pk}/", f"/shops/{shop.pk}/items/{dish.pk}/"):
        assert shown in Client().get(path).content.decode()


# --- the time that staff mean ---


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("clock", "at", "means"),
    [
        (time(18), "2026-01-05T09:00", "2026-01-05T10:00"),  # 17:00 on Monday in Shanghai: in an hour
        (time(17), "2026-01-05T09:00", "2026-01-06T09:00"),
        (time(2), "2026-01-05T16:30", "2026-01-05T18:00"),  # past midnight
        (None, "2026-01-05T09:00", "2026-01-07T02:00"),  # closed on Tuesday: Wednesday at ten
        (None, "2026-01-05T19:00", "2026-01-07T02:00"),  # three in the morning is still Monday's evening
    ],
)
def test_a_clock_means_its_next_time_and_none_means_another_day(clock: time | None, at: str, means: str) -> None:
    shop = shop_info(opening_hours=(span(MONDAY, "10:00", "22:00"), span(WEDNESDAY, "10:00", "22:00")))
    assert clock_ahead(shop, clock, now=utc(at)) == utc(means)


def test_a_shop_without_hours_begins_its_day_by_the_clock() -> None:
    assert clock_ahead(shop_info(), None, now=utc("2026-01-05T09:00")) == utc("2026-01-05T20:00")


def test_staff_sell_out_in_the_list(shop: Shop) -> None:
    boss = Client()
    boss.force_login(staff("boss", is_superuser=True))
    tofu, none_left = make_dish(shop, stock=5), make_dish(shop, "酸辣汤", stock=0)
    data = {"action": "sold_out", "_selected_action": [tofu.pk, none_left.pk], "back_at": "18:00", "portions": ""}
    html = boss.post("/admin/menu/item/", data, follow=True).content.decode()
    assert "请填写恢复时的份数" in html
    until = back_at(tofu)
    assert until is not None
    assert (until + timedelta(hours=8)).time() == time(18)
    assert f"0 → {until + timedelta(hours=8):%m-%d} 18:00" in html
    html = boss.post("/admin/menu/item/", data | {"back_at": "25:00"}, follow=True).content.decode()
    assert "请填写正确的恢复时间和份数" in html
    boss.post("/admin/menu/item/", data | {"back_at": "", "portions": "7"})
    its_time_comes(tofu, none_left)
    assert (available(tofu), available(none_left)) == (7, 7)


@pytest.mark.parametrize("before", [5, None])
def test_pressed_twice_it_is_back_once(shop: Shop, before: int | None) -> None:
    dish = make_dish(shop, stock=before)
    services.sell_out(item_id=dish.pk, until=soon())
    for _press in range(2):
        services.bring_back(item_id=dish.pk)
    assert (available(dish), back_at(dish)) == (before, None)


def test_what_was_counted_and_all_sold_is_back_with_a_number(shop: Shop) -> None:
    dish = make_dish(shop, stock=0)
    with pytest.raises(ValidationFailed) as refusal:
        services.bring_back(item_id=dish.pk)
    assert set(refusal.value.errors or {}) == {"portions"}
    for wrong in (0, 10**7):
        with pytest.raises(ValidationFailed):
            services.bring_back(item_id=dish.pk, portions=wrong)
    assert available(dish) == 0
    services.bring_back(item_id=dish.pk, portions=8)
    assert available(dish) == 8


def test_a_press_on_an_old_screen_lifts_no_limit(shop: Shop) -> None:
    dish = make_dish(shop, stock=1)
    services.sell_out(item_id=dish.pk, until=soon())
    its_time_comes(dish)
    services.hold_stock(order_id=new_id(7), demands={dish.pk: 1})
    with pytest.raises(ValidationFailed):
        services.bring_back(item_id=dish.pk)
    assert available(dish) == 0


def test_a_number_goes_before_what_it_was_to_come_back_with(shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    services.sell_out(item_id=dish.pk, until=soon())
    services.bring_back(item_id=dish.pk, portions=2)
    assert (available(dish), back_at(dish)) == (2, None)


def test_a_timer_that_was_moved_while_it_fired_stays(shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    services.sell_out(item_id=dish.pk, until=soon(hours=20))
    # Claimed before the dish was sold out for longer, and handled after it.
    run_atomic(DEFAULT, lambda: selling_out.come_back([dish.pk], using=DEFAULT, now=db_now(DEFAULT)))
    assert available(dish) == 0
    its_time_comes(dish)
    assert available(dish) == 5


def test_portions_that_orders_give_back_are_not_sold_before_the_time(shop: Shop) -> None:
    dish = make_dish(shop, stock=5)
    order = new_id(7)
    services.hold_stock(order_id=order, demands={dish.pk: 2})
    services.sell_out(item_id=dish.pk, until=soon())
    services.release_stock(order_ids=[order])
    assert not services.get_menu(shop.pk).items[dish.pk].in_stock
    with pytest.raises(services.SoldOut) as refusal:
        services.hold_stock(order_id=new_id(7), demands={dish.pk: 1})
    assert refusal.value.extra["items"][0]["available"] == 0
    another = new_id(7)
    assert list(services.hold_many({another: {dish.pk: 1}})) == [another]
    its_time_comes(dish)
    assert available(dish) == 3
    services.hold_stock(order_id=new_id(7), demands={dish.pk: 1})
    assert list(services.stock_problems()) == []
