from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from pytest_django import Settings

import menu.services
from menu.models import Item, OpeningHours, Shop
from menu.services import (
    BelowMinimum,
    ItemUnavailable,
    LineRequest,
    OptionInvalid,
    OutOfDeliveryArea,
    QuantityInvalid,
    ShopClosed,
    SoldOut,
)
from orders import intake, saga, services
from orders.errors import CartEmpty, DeliveryTimeInvalid, TotalChanged
from orders.models import OrderLine
from tests.accounts.factories import home_of
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    audit,
    changes_of,
    history,
    just_before,
    keys_of,
    lines,
    nothing_stored,
    order,
    orders_of,
    place,
    placed,
    saga_of,
    stock,
    timer,
)
from tests.menu.factories import make_dish, make_group, make_set_meal
from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound
from waimai.infra.models import OutboxMessage

pytestmark = pytest.mark.data


def line_of(order_id: int, n: int = 1) -> OrderLine:
    row: OrderLine = OrderLine.objects.of_order(order_id).get(n=n)
    return row


def limit(item_id: int, available: int) -> None:
    menu.services.set_stock(item_id=item_id, available=available)


# --- nothing on it is limited ---


def test_an_order_waits_for_its_payment(mei: Person, stall: Stall) -> None:
    answer = place(mei, stall)
    row = order(answer.order_id)
    assert (row.status, row.payment_status, row.version, row.limited) == ("pending_payment", "unpaid", 1, False)
    assert not answer.replayed
    assert changes_of(answer.order_id) == [("place", "customer", "")]


def test_its_total_is_made_on_our_side(mei: Person, stall: Stall) -> None:
    row = order(placed(mei, stall, (stall.fish, 2), (stall.rice, 3)))
    assert (row.goods_total, row.packing_fee, row.delivery_fee) == (Decimal("118.00"), Decimal("5.00"), Decimal("6.00"))
    assert row.total == Decimal("129.00")


def test_lines_keep_the_names_and_prices_of_the_moment(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 2))
    Item.objects.filter(pk=stall.fish).update(name="水煮鱼", price=Decimal(99))
    line = line_of(order_id)
    assert (line.name, line.unit_price, line.quantity, line.amount) == (
        "酸菜鱼",
        Decimal("56.00"),
        2,
        Decimal("112.00"),
    )


def test_options_are_kept_and_priced(mei: Person, stall: Stall) -> None:
    _, extra = make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "加辣": "2.50"}, least=1)
    wanted = (LineRequest(item_id=stall.fish, quantity=2, option_ids=(extra.pk,)),)
    order_id = placed(mei, stall, lines=wanted)
    assert line_of(order_id).options == [{"id": extra.pk, "group": "辣度", "name": "加辣", "price_delta": "2.50"}]
    assert (line_of(order_id).amount, order(order_id).total) == (Decimal("117.00"), Decimal("125.00"))


def test_a_set_meal_keeps_what_it_is_made_of(mei: Person, stall: Stall) -> None:
    dishes = [(Item.objects.get(pk=stall.fish), 1), (Item.objects.get(pk=stall.rice), 2)]
    meal = make_set_meal(Shop.objects.get(pk=stall.shop_id), dishes)
    line = line_of(placed(mei, stall, (meal.pk, 1)))
    assert (line.kind, line.name, line.unit_price) == ("set_meal", "双人餐", Decimal("30.00"))
    assert [(part["name"], part["quantity"]) for part in line.components] == [("酸菜鱼", 1), ("米饭", 2)]


def test_the_address_is_kept_as_it_was(mei: Person, stall: Stall) -> None:
    row = order(placed(mei, stall))
    assert (row.contact_name, row.phone, row.address_text) == ("梅", "13911110001", "北京市朝阳区建国路 88 号")
    assert (row.latitude, row.longitude) == (Decimal("39.915000"), Decimal("116.455000"))


def test_wishes_are_kept(mei: Person, stall: Stall) -> None:
    row = order(placed(mei, stall, note="不要敲门 🐟", tableware=3))
    assert (row.note, row.tableware) == ("不要敲门 🐟", 3)


def test_the_same_dish_on_two_lines_stays_two_lines(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall, (stall.fish, 1), (stall.fish, 2))
    assert [(line_of(order_id, n).n, line_of(order_id, n).quantity) for n in (1, 2)] == [(1, 1), (2, 2)]
    assert order(order_id).goods_total == Decimal("168.00")


def test_there_is_a_time_to_pay(mei: Person, stall: Stall, settings: Settings) -> None:
    settings.WAIMAI_PAYMENT_TIMEOUT_SECONDS = 600
    before = db_now(mei.shard)
    order_id = placed(mei, stall)
    row = order(order_id)
    assert row.expires_at - row.placed_at == timedelta(seconds=600)
    assert before <= row.placed_at <= db_now(mei.shard)
    assert timer("order.expire", order_id) == row.expires_at


def test_the_order_lives_on_its_customers_shard(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    assert order_id < 2**53
    assert order(order_id).bucket == ids.bucket_of(order_id)
    assert orders_of(mei) == [order_id]


def test_its_saga_waits_for_the_charge(mei: Person, stall: Stall) -> None:
    saga = saga_of(placed(mei, stall))
    assert (saga.state, saga.step, saga.next_at) == ("running", "charge", None)


def test_its_news_is_told(mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    from orders.events import OrderPlaced
    from waimai.infra import outbox

    heard: list[OrderPlaced] = []
    monkeypatch.setitem(outbox._inside, OrderPlaced.topic, [lambda event, using: heard.append(event)])
    order_id = placed(mei, stall)
    assert [(e.key, e.version, e.user_id, e.shop_id, e.status) for e in heard] == [
        (order_id, 1, mei.id, stall.shop_id, "pending_payment")
    ]


def test_a_day_of_business_begins_when_the_shop_says(mei: Person, stall: Stall) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(day_starts_at=time(23, 59, 59))
    menu.services.menu_changed(stall.shop_id)
    row = order(placed(mei, stall))
    assert row.business_date == row.placed_at.astimezone(ZoneInfo("Asia/Shanghai")).date() - timedelta(days=1)


def test_an_order_for_later_keeps_its_time(mei: Person, stall: Stall) -> None:
    later = db_now(mei.shard) + timedelta(hours=5)
    assert order(placed(mei, stall, deliver_at=later)).deliver_at == later


# --- the cart ---


def fill_cart(who: Person, at: Stall, *wanted: tuple[int, int]) -> int:
    """Put things into the cart; returns its version."""
    for line in lines(*wanted):
        services.add_to_cart(user_id=who.id, shop_id=at.shop_id, line=line)
    return services.view_cart(user_id=who.id, shop_id=at.shop_id).version


def cart_of(who: Person, at: Stall) -> list[tuple[int, int]]:
    view = services.view_cart(user_id=who.id, shop_id=at.shop_id)
    return [(line.item_id, line.quantity) for line in view.lines]


def test_without_lines_the_cart_is_ordered_and_emptied(mei: Person, stall: Stall) -> None:
    fill_cart(mei, stall, (stall.fish, 1), (stall.rice, 2))
    order_id = placed(mei, stall, lines=None)
    assert order(order_id).goods_total == Decimal("60.00")
    assert cart_of(mei, stall) == []


def test_a_cart_that_changed_meanwhile_keeps_what_is_new(mei: Person, stall: Stall) -> None:
    fill_cart(mei, stall, (stall.fish, 1))
    with just_before(intake, "_store", lambda: fill_cart(mei, stall, (stall.tofu, 1))):
        order_id = placed(mei, stall, lines=None)
    assert [line.item_id for line in OrderLine.objects.of_order(order_id)] == [stall.fish]
    assert cart_of(mei, stall) == [(stall.fish, 1), (stall.tofu, 1)]


def test_ordering_lines_leaves_the_cart_alone(mei: Person, stall: Stall) -> None:
    fill_cart(mei, stall, (stall.tofu, 1))
    placed(mei, stall)
    assert cart_of(mei, stall) == [(stall.tofu, 1)]


def test_the_cart_of_another_shop_is_left_alone(mei: Person, stall: Stall) -> None:
    from tests import factories

    other = factories.stall("粤味小馆")
    fill_cart(mei, other, (other.tofu, 1))
    fill_cart(mei, stall, (stall.fish, 1))
    placed(mei, stall, lines=None)
    assert cart_of(mei, other) == [(other.tofu, 1)]


def test_a_cart_that_was_shown_otherwise_is_not_ordered(mei: Person, stall: Stall) -> None:
    seen = fill_cart(mei, stall, (stall.fish, 1))
    fill_cart(mei, stall, (stall.fish, 1))
    with pytest.raises(services.CartChanged):
        place(mei, stall, lines=None, cart_version=seen, key=None)
    assert orders_of(mei) == []


def test_one_version_of_a_cart_is_ordered_once(mei: Person, stall: Stall) -> None:
    seen = fill_cart(mei, stall, (stall.fish, 1))
    first = place(mei, stall, lines=None, cart_version=seen, key=None)
    again = place(mei, stall, lines=None, cart_version=seen, key=None)
    assert (again.order_id, again.replayed) == (first.order_id, True)
    assert keys_of(mei) == [f"cart:{stall.shop_id}:{seen}"]


def test_the_next_cart_is_another_order(mei: Person, stall: Stall) -> None:
    first = place(mei, stall, lines=None, cart_version=fill_cart(mei, stall, (stall.fish, 1)), key=None)
    second = place(mei, stall, lines=None, cart_version=fill_cart(mei, stall, (stall.fish, 1)), key=None)
    assert orders_of(mei) == [first.order_id, second.order_id]


def test_an_empty_cart_is_no_order(mei: Person, stall: Stall) -> None:
    with pytest.raises(CartEmpty):
        place(mei, stall, lines=None)
    assert nothing_stored(mei)


# --- something on it is limited ---


def test_limited_portions_are_held_before_the_answer(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 10)
    order_id = placed(mei, stall, (stall.fish, 3))
    assert stock(stall.fish) == (7, 3, 0)
    assert history(order_id) == ["placing", "pending_payment"]
    assert changes_of(order_id) == [("place", "customer", ""), ("confirm", "customer", "")]
    assert (order(order_id).limited, order(order_id).version) == (True, 2)


def test_its_timer_is_set_when_it_can_be_paid(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 10)
    order_id = placed(mei, stall)
    assert timer("order.expire", order_id) == order(order_id).expires_at
    assert (saga_of(order_id).step, saga_of(order_id).next_at) == ("charge", None)


def test_a_set_meal_holds_its_dishes(mei: Person, stall: Stall) -> None:
    dishes = [(Item.objects.get(pk=stall.fish), 1), (Item.objects.get(pk=stall.rice), 2)]
    meal = make_set_meal(Shop.objects.get(pk=stall.shop_id), dishes)
    limit(stall.rice, 10)
    placed(mei, stall, (meal.pk, 2), (stall.rice, 1))
    assert stock(stall.rice) == (5, 5, 0)


def test_a_cart_of_limited_things_is_emptied_with_the_confirmation(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 10)
    fill_cart(mei, stall, (stall.fish, 2))
    placed(mei, stall, lines=None)
    assert cart_of(mei, stall) == []


def test_the_last_portion_goes_to_the_first_who_asks(mei: Person, tao: Person, stall: Stall) -> None:
    limit(stall.fish, 1)
    placed(mei, stall)
    with pytest.raises(SoldOut):
        place(tao, stall)
    assert stock(stall.fish) == (0, 1, 0)


def test_sold_out_names_the_items_and_what_is_left(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 2)
    limit(stall.rice, 1)
    with pytest.raises(SoldOut) as refusal:
        place(mei, stall, (stall.fish, 3), (stall.tofu, 1), (stall.rice, 4))
    assert refusal.value.extra["items"] == [
        {"id": stall.fish, "name": "酸菜鱼", "available": 2},
        {"id": stall.rice, "name": "米饭", "available": 1},
    ]


def test_sold_out_takes_nothing(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 5)
    limit(stall.rice, 1)
    with pytest.raises(SoldOut):
        place(mei, stall, (stall.fish, 3), (stall.rice, 4))
    assert (stock(stall.fish), stock(stall.rice)) == ((5, 0, 0), (1, 0, 0))


def test_a_sold_out_order_is_kept_as_cancelled(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 0)
    with pytest.raises(SoldOut):
        place(mei, stall)
    (order_id,) = orders_of(mei)
    assert changes_of(order_id) == [("place", "customer", ""), ("give_up", "system", "sold_out")]
    assert order(order_id).sold_out == [{"id": stall.fish, "name": "酸菜鱼", "available": 0}]
    assert (saga_of(order_id).state, timer("order.expire", order_id)) == ("compensated", None)
    assert audit() == []


def test_after_sold_out_the_cart_is_kept_and_is_a_new_wish(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 0)
    fill_cart(mei, stall, (stall.tofu, 2))
    seen = services.merge_into_cart(user_id=mei.id, shop_id=stall.shop_id, lines=lines((stall.fish, 1))).version
    with pytest.raises(SoldOut):
        place(mei, stall, lines=None, cart_version=seen, key=None)
    assert cart_of(mei, stall) == [(stall.tofu, 2), (stall.fish, 1)]
    limit(stall.fish, 5)
    again = services.view_cart(user_id=mei.id, shop_id=stall.shop_id).version
    assert again == seen + 1
    assert order(placed(mei, stall, lines=None, cart_version=again, key=None)).status == "pending_payment"


def test_an_item_that_became_unlimited_needs_no_hold(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 5)
    unlimit = partial(menu.services.set_stock, item_id=stall.fish, available=None)
    with just_before(saga, "reserve", unlimit):
        order_id = placed(mei, stall)
    assert order(order_id).status == "pending_payment"
    assert stock(stall.fish) == (5, 0, 0)


# --- refused: nothing is stored, no key is bound ---


def test_a_shop_that_is_not_there(mei: Person, stall: Stall) -> None:
    with pytest.raises(NotFound):
        place(mei, stall, shop_id=987654321)
    assert nothing_stored(mei)


def test_someone_elses_address(mei: Person, tao: Person, stall: Stall) -> None:
    with pytest.raises(NotFound):
        place(mei, stall, address_id=tao.address_id)
    assert nothing_stored(mei)


def test_no_lines_at_all(mei: Person, stall: Stall) -> None:
    with pytest.raises(CartEmpty):
        place(mei, stall, lines=())
    assert nothing_stored(mei)


def test_a_dish_of_another_shop(mei: Person, stall: Stall) -> None:
    from tests import factories

    other = factories.stall("粤味小馆")
    with pytest.raises(ItemUnavailable) as refusal:
        place(mei, stall, (other.fish, 1))
    assert refusal.value.extra["items"] == [{"id": other.fish, "name": "", "reason": "item_not_found"}]
    assert nothing_stored(mei)


def test_a_dish_off_sale(mei: Person, stall: Stall) -> None:
    menu.services.stop_selling(item_ids=[stall.fish])
    with pytest.raises(ItemUnavailable) as refusal:
        place(mei, stall)
    assert refusal.value.extra["items"] == [{"id": stall.fish, "name": "酸菜鱼", "reason": "item_off_sale"}]
    assert nothing_stored(mei)


@pytest.mark.parametrize("quantity", [0, -1, 100, 1_000_000_000, 1.5, "2", True, None])
def test_a_quantity_that_is_none(quantity: int, mei: Person, stall: Stall) -> None:
    with pytest.raises(QuantityInvalid):
        place(mei, stall, (stall.fish, quantity))
    assert nothing_stored(mei)


def test_a_choice_that_is_missing(mei: Person, stall: Stall) -> None:
    make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "加辣": "2"}, least=1)
    with pytest.raises(OptionInvalid):
        place(mei, stall)
    assert nothing_stored(mei)


def test_an_option_of_another_dish(mei: Person, stall: Stall) -> None:
    (ice,) = make_group(Item.objects.get(pk=stall.tofu), "温度", {"去冰": "0"})
    with pytest.raises(OptionInvalid):
        place(mei, stall, lines=(LineRequest(item_id=stall.fish, quantity=1, option_ids=(ice.pk,)),))
    assert nothing_stored(mei)


def test_a_shop_closed_by_hand(mei: Person, stall: Stall) -> None:
    menu.services.set_open(shop_id=stall.shop_id, is_open=False)
    with pytest.raises(ShopClosed):
        place(mei, stall)
    assert nothing_stored(mei)


def test_a_shop_closed_by_its_hours(mei: Person, stall: Stall) -> None:
    today = datetime.now(tz=UTC).astimezone(ZoneInfo("Asia/Shanghai"))
    OpeningHours.objects.create(
        shop_id=stall.shop_id, weekday=(today.weekday() + 3) % 7, opens=time(10), closes=time(11)
    )
    menu.services.menu_changed(stall.shop_id)
    with pytest.raises(ShopClosed) as refusal:
        place(mei, stall)
    opens_at = datetime.fromisoformat(refusal.value.extra["opens_at"])
    assert timedelta(days=1) < opens_at - today < timedelta(days=4)
    assert nothing_stored(mei)


def test_a_closed_shop_takes_orders_for_when_it_is_open(mei: Person, stall: Stall) -> None:
    soon = datetime.now(tz=UTC).astimezone(ZoneInfo("Asia/Shanghai")) + timedelta(hours=2)
    before, after = soon - timedelta(minutes=30), soon + timedelta(minutes=30)
    OpeningHours.objects.create(
        shop_id=stall.shop_id, weekday=before.weekday(), opens=before.time(), closes=after.time()
    )
    menu.services.menu_changed(stall.shop_id)
    with pytest.raises(ShopClosed):
        place(mei, stall)
    assert order(placed(mei, stall, deliver_at=soon)).status == "pending_payment"


def test_less_than_the_shop_delivers_for(mei: Person, stall: Stall) -> None:
    with pytest.raises(BelowMinimum) as refusal:
        place(mei, stall, (stall.tofu, 1))
    assert refusal.value.extra["missing"] == "2.00"
    assert nothing_stored(mei)


def test_just_what_the_shop_delivers_for(mei: Person, stall: Stall) -> None:
    assert order(placed(mei, stall, (stall.tofu, 1), (stall.rice, 1))).goods_total == Decimal("20.00")


def test_a_place_outside_the_area(mei: Person, stall: Stall) -> None:
    area = [[116.40, 39.88], [116.50, 39.88], [116.50, 39.96], [116.40, 39.96], [116.40, 39.88]]
    Shop.objects.filter(pk=stall.shop_id).update(delivery_area={"type": "Polygon", "coordinates": [area]})
    menu.services.menu_changed(stall.shop_id)
    far = home_of(mei.user, latitude=39.80, longitude=116.455)
    with pytest.raises(OutOfDeliveryArea):
        place(mei, stall, address_id=far.id)
    assert nothing_stored(mei)
    assert order(placed(mei, stall)).status == "pending_payment"


@pytest.mark.parametrize("hours", [-1, 0, 25])
def test_a_time_that_has_passed_or_is_too_far(hours: int, mei: Person, stall: Stall) -> None:
    with pytest.raises(DeliveryTimeInvalid):
        place(mei, stall, deliver_at=db_now(mei.shard) + timedelta(hours=hours))
    assert nothing_stored(mei)


@pytest.mark.parametrize("shown", ["62.99", "63.01", "0.00", "56.00"])
def test_a_total_that_was_not_the_shown_one(shown: str, mei: Person, stall: Stall) -> None:
    with pytest.raises(TotalChanged) as refusal:
        place(mei, stall, shown_total=Decimal(shown))
    assert refusal.value.extra == {"total": "63.00"}
    assert nothing_stored(mei)


def test_the_shown_total_is_the_right_one(mei: Person, stall: Stall) -> None:
    assert order(placed(mei, stall, shown_total=FISH_TOTAL)).total == FISH_TOTAL


def test_a_price_that_changed_since_it_was_shown(mei: Person, stall: Stall) -> None:
    Item.objects.filter(pk=stall.fish).update(price=Decimal(58))
    menu.services.menu_changed(stall.shop_id)
    with pytest.raises(TotalChanged) as refusal:
        place(mei, stall, shown_total=FISH_TOTAL)
    assert refusal.value.extra == {"total": "65.00"}


def test_a_refusal_holds_no_portions(mei: Person, stall: Stall) -> None:
    limit(stall.fish, 5)
    with pytest.raises(TotalChanged):
        place(mei, stall, shown_total=Decimal("1.00"))
    assert stock(stall.fish) == (5, 0, 0)
    assert nothing_stored(mei)


def test_what_is_refused_is_not_told(mei: Person, stall: Stall) -> None:
    with pytest.raises(BelowMinimum):
        place(mei, stall, (stall.rice, 1))
    assert not OutboxMessage.objects.on(mei.shard).exists()


def test_a_dish_added_a_moment_ago_can_be_ordered(mei: Person, stall: Stall) -> None:
    soup = make_dish(Shop.objects.get(pk=stall.shop_id), "鸡蛋汤", "25.00")
    assert order(placed(mei, stall, (soup.pk, 1))).goods_total == Decimal("25.00")
