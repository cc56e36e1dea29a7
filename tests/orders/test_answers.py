"""What a caller is told fits what happened, however the moment was chosen."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

import menu.services
from menu.models import Option, OptionGroup, Shop
from menu.services import BelowMinimum, SoldOut
from orders import cart, intake, lifecycle, saga, services
from orders.errors import InvalidTransition
from orders.models import Cart
from orders.services import CartChanged, Checkout
from tests import factories
from tests.factories import Person, Stall, just_before
from tests.menu.factories import make_dish

pytestmark = pytest.mark.data


def cart_checkout(who: Person, at: Stall, version: int) -> Checkout:
    """The cart as it was at that version."""
    return Checkout(user_id=who.id, shop_id=at.shop_id, address_id=who.address_id, cart_version=version)


def add_fish(who: Person, at: Stall) -> int:
    """The version of the cart with one fish more."""
    line = factories.lines((at.fish, 1))[0]
    return services.add_to_cart(user_id=who.id, shop_id=at.shop_id, line=line).version


# --- placing ---


def test_a_checkout_that_recovery_overtook_hears_what_its_replay_hears(mei: Person, tao: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=1)

    def meanwhile() -> None:
        factories.placed(tao, stall, key="tao")
        factories.saga_due(factories.orders_of(mei)[0])
        saga.recover(mei.shard)

    with just_before(intake.saga, "reserve", meanwhile), pytest.raises(SoldOut) as first:  # type: ignore[attr-defined]
        factories.place(mei, stall)
    with pytest.raises(SoldOut) as again:
        factories.place(mei, stall)
    assert (first.value.replayed, again.value.replayed) == (False, True)
    assert first.value.extra == again.value.extra
    assert factories.audit() == []


def test_a_meal_that_costs_nothing_is_refused_before_anything_is_stored(mei: Person) -> None:
    free_shop = factories.stall("白送", delivery_fee=0, packing_fee=0, minimum_order=0)
    gift = make_dish(Shop.objects.get(pk=free_shop.shop_id), "小菜", "0.00").pk
    with pytest.raises(BelowMinimum):
        factories.placed(mei, free_shop, (gift, 1))
    assert factories.orders_of(mei) == []


# --- carts ---


def test_a_cart_changed_while_it_is_read_is_not_ordered_unseen(mei: Person, stall: Stall) -> None:
    seen = add_fish(mei, stall)
    with just_before(cart, "_lines", lambda: add_fish(mei, stall)), pytest.raises(CartChanged):
        services.place(cart_checkout(mei, stall, seen))
    assert factories.orders_of(mei) == []


def test_a_replayed_key_changes_nothing_in_the_cart(mei: Person, stall: Stall) -> None:
    body, path = {"item": stall.fish, "quantity": 1}, f"shops/{stall.shop_id}/cart/lines/"
    first, again = (json.loads(mei.api.post(path, body, Idempotency_Key="p").content) for _ in range(2))
    assert first == again


def test_a_key_is_replayed_though_the_dish_went_off_sale(mei: Person, stall: Stall) -> None:
    body, path = {"item": stall.fish, "quantity": 1}, f"shops/{stall.shop_id}/cart/lines/"
    mei.api.post(path, body, Idempotency_Key="p")
    menu.services.stop_selling(item_ids=[stall.fish])
    again = mei.api.post(path, body, Idempotency_Key="p")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "shops/{}/cart/"),
        ("GET", "shops/{}/cart/"),
        ("PATCH", "shops/{}/cart/lines/5/"),
        ("DELETE", "shops/{}/cart/lines/5/"),
    ],
)
@pytest.mark.parametrize("shop_id", [987654321, 10**22])
def test_a_shop_that_is_not_there_gets_no_cart(method: str, path: str, shop_id: int, mei: Person) -> None:
    answer = mei.api.call(method, path.format(shop_id), {"quantity": 1})
    assert (answer.status_code, Cart.objects.on(mei.shard).count()) == (404, 0)


@pytest.mark.parametrize(("count", "status"), [(20, 201), (40, 409)])
def test_a_line_has_room_for_twenty_options(count: int, status: int, mei: Person, stall: Stall) -> None:
    group = OptionGroup.objects.create(item_id=stall.fish, name="配料", min=0, max=40)
    options = [
        Option.objects.create(pk=1_000_000 + n, group=group, name=f"料{n}", price_delta=0).pk for n in range(count)
    ]
    menu.services.menu_changed(stall.shop_id)
    body = {"item": stall.fish, "quantity": 1, "options": options}
    assert mei.api.post(f"shops/{stall.shop_id}/cart/lines/", body).status_code == status


# --- lists ---


@pytest.mark.parametrize("cursor", ["p=abc", "p=1e400", "o=1&p=xyz"])
def test_an_invented_cursor_is_not_found(cursor: str, mei: Person, stall: Stall) -> None:
    factories.placed(mei, stall)
    assert mei.api.get(f"orders/?cursor={b64encode(cursor.encode()).decode()}").status_code == 404


def test_an_invented_cursor_of_the_board_is_not_found(lan: Person) -> None:
    assert lan.api.get(f"staff/orders/?cursor={b64encode(b'p=abc').decode()}").status_code == 404


def test_a_list_by_status_knows_what_is_past_its_time(mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    factories.overdue(order_id)
    waiting, cancelled = (
        json.loads(mei.api.get(f"orders/?status={status}").content)["results"]
        for status in ("pending_payment", "cancelled")
    )
    assert (waiting, [found["id"] for found in cancelled]) == ([], [order_id])


# --- what people do ---


def test_restocking_is_decided_on_the_order_as_it_is_moved(mei: Person, lan: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    order_id = factories.paid(mei, stall)
    accept = lambda: services.accept(order_id=order_id, staff_id=lan.id)  # noqa: E731
    with just_before(lifecycle.changes, "change", accept):  # type: ignore[attr-defined]
        services.withdraw(order_id=order_id, staff_id=lan.id, reason="煮糊了")
    # What was being cooked is gone.
    assert factories.stock(stall.fish) == (4, 0, 1)


def test_portions_not_given_back_count_as_sold_though_nobody_had_confirmed_them(
    mei: Person, lan: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    monkeypatch.setattr("orders.compensation.follow_up", lambda *args, **kwargs: None)
    order_id = factories.paid(mei, stall)
    services.withdraw(order_id=order_id, staff_id=lan.id, reason="煮糊了", restock=False)
    saga.recover(mei.shard)
    assert factories.stock(stall.fish) == (4, 0, 1)
    assert factories.saga_of(order_id).state == "compensated"


def test_a_reminder_of_an_order_cancelled_meanwhile_says_so(mei: Person, stall: Stall) -> None:
    order_id = factories.paid(mei, stall)
    cancel = lambda: services.cancel(order_id=order_id, user_id=mei.id)  # noqa: E731
    with just_before(lifecycle, "run_atomic", cancel), pytest.raises(InvalidTransition):
        services.remind(order_id=order_id, user_id=mei.id)


@pytest.mark.parametrize("changes", [{}, {"cart_version": 3, "lines": ()}])
def test_a_checkout_needs_something_that_tells_it_from_the_next(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs a key"):
        Checkout(user_id=1, shop_id=1, address_id=1, **changes)
