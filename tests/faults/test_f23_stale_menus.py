"""A price changes while other processes know the old one: who orders pays what was shown, or is asked again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
import redis
from django.core.cache import cache
from django.db.models import F
from pytest_django import Settings

import menu.services
from menu import catalogue
from menu.models import Item, Shop
from orders import intake
from tests.accounts.factories import problem, read
from tests.factories import Person, Stall, audit, just_before, order, orders_of, place, placed, wish

pytestmark = pytest.mark.data
OLD, NEW = "63.00", "67.00"


def reprice(stall: Stall, price: str = "60.00") -> None:
    """As another process does it: the rows change, and nobody tells this process."""
    Item.objects.filter(pk=stall.fish).update(price=Decimal(price))
    Shop.objects.filter(pk=stall.shop_id).update(menu_version=F("menu_version") + 1)


@pytest.fixture(params=["cache", "no cache"])
def with_or_without_cache(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    """Once as usual, once with a Redis that is gone."""
    if request.param == "cache":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in ("get", "get_many", "set", "add", "incr", "delete", "touch"):
            patch.setattr(cache, name, _gone)
        yield


def _gone(*_args: object, **_kwargs: object) -> None:
    raise redis.ConnectionError("gone")


@pytest.mark.usefixtures("with_or_without_cache")
def test_f23_the_next_order_is_priced_anew(mei: Person, stall: Stall) -> None:
    assert order(placed(mei, stall, key="before")).total == Decimal(OLD)
    assert stall.shop_id in catalogue._menus  # This process knows the old price ...
    reprice(stall)
    assert order(placed(mei, stall, key="after")).total == Decimal(NEW)  # ... and asks whether it still holds.
    assert audit() == []


@pytest.mark.usefixtures("with_or_without_cache")
def test_f23_a_total_that_is_no_longer_right_is_refused_and_told(mei: Person, stall: Stall) -> None:
    menu.services.get_menu(stall.shop_id)
    reprice(stall)
    answer = mei.api.post("orders/", wish(mei, stall, shown_total=OLD), Idempotency_Key="k-1")
    assert problem(answer) == (409, "total_changed")
    assert read(answer)["total"] == NEW
    assert orders_of(mei) == []
    answer = mei.api.post("orders/", wish(mei, stall, shown_total=NEW), Idempotency_Key="k-1")
    assert (answer.status_code, read(answer)["total"]) == (201, NEW)


def test_f23_a_price_that_changes_while_the_order_is_written_is_the_one_that_was_shown(
    mei: Person, stall: Stall
) -> None:
    with just_before(intake, "_store", lambda: reprice(stall)):
        order_id = placed(mei, stall, shown_total=Decimal(OLD))
    assert order(order_id).total == Decimal(OLD)
    assert place(mei, stall, shown_total=Decimal(OLD)).replayed  # The same key is the same order at the same price.
    assert audit() == []


def test_f23_a_menu_that_changes_while_it_is_read_is_read_again(mei: Person, stall: Stall) -> None:
    catalogue._menus.clear()
    with just_before(catalogue, "_keep", lambda: reprice(stall)):
        menu.services.get_menu(stall.shop_id)
    assert order(placed(mei, stall)).total == Decimal(NEW)


def test_f23_portions_that_were_shown_and_are_gone_are_refused(mei: Person, tao: Person, stall: Stall) -> None:
    """What a page shows of stock is a hint; the hold is the truth."""
    menu.services.set_stock(item_id=stall.fish, available=1)
    menu.services.get_menu(stall.shop_id)
    with just_before(menu.services, "hold_stock", lambda: placed(tao, stall)), pytest.raises(menu.services.SoldOut):
        placed(mei, stall)
    assert menu.services.stock_of([stall.fish])[stall.fish].held == 1
