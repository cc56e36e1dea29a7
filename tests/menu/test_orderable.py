"""Whether a shop takes an order: hours, area, minimum."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from menu import services
from menu.errors import BelowMinimum, OutOfDeliveryArea, ShopClosed
from menu.pricing import LineRequest, Quote, price
from tests.menu.factories import menu_item, menu_of, span

NOON = dt.datetime(2026, 1, 5, 4, tzinfo=dt.UTC)  # A Monday, 12:00 in Shanghai
AREA = {
    "type": "Polygon",
    "coordinates": [[[116.40, 39.88], [116.50, 39.88], [116.50, 39.96], [116.40, 39.96], [116.40, 39.88]]],
}


def quote(price_of_it: str = "30.00", **terms: Any) -> Quote:
    return price(menu_of(menu_item(1, price_of_it), **terms), [LineRequest(1, 1)])


def test_an_ordinary_order_is_taken() -> None:
    services.check_orderable(quote(delivery_area=AREA), at=NOON, latitude=39.915, longitude=116.455)


def test_a_shop_without_an_area_delivers_everywhere() -> None:
    services.check_orderable(quote(), at=NOON)


def test_a_closed_shop_says_when_it_opens() -> None:
    with pytest.raises(ShopClosed) as refused:
        services.check_orderable(quote(opening_hours=(span(0, "17:00", "21:00"),)), at=NOON)
    assert refused.value.extra == {"opens_at": "2026-01-05T09:00:00+00:00"}


def test_a_shop_closed_by_hand_doesnt_say() -> None:
    with pytest.raises(ShopClosed) as refused:
        services.check_orderable(quote(is_open=False), at=NOON)
    assert refused.value.extra == {"opens_at": None}


def test_a_later_time_is_what_counts() -> None:
    hours = (span(0, "17:00", "21:00"),)
    services.check_orderable(quote(opening_hours=hours), at=NOON + dt.timedelta(hours=6))


@pytest.mark.parametrize("place", [(39.80, 116.455), (None, 116.455), (39.915, None), (None, None)])
def test_a_place_outside_or_unknown_is_refused(place: tuple[float | None, float | None]) -> None:
    with pytest.raises(OutOfDeliveryArea):
        services.check_orderable(quote(delivery_area=AREA), at=NOON, latitude=place[0], longitude=place[1])


def test_latitude_and_longitude_are_not_swapped() -> None:
    with pytest.raises(OutOfDeliveryArea):
        services.check_orderable(quote(delivery_area=AREA), at=NOON, latitude=116.455, longitude=39.915)


def test_below_the_minimum_says_what_is_missing() -> None:
    with pytest.raises(BelowMinimum) as refused:
        services.check_orderable(quote("14.00"), at=NOON)
    assert refused.value.extra == {"missing": "6.00"}


def test_fees_dont_count_towards_the_minimum() -> None:
    with pytest.raises(BelowMinimum):
        services.check_orderable(quote("19.99"), at=NOON)


def test_exactly_the_minimum_is_enough() -> None:
    services.check_orderable(quote("20.00"), at=NOON)


def test_an_order_that_costs_nothing_is_refused_as_nobody_can_pay_nothing() -> None:
    free = quote("0.00", minimum_order=Decimal(0), delivery_fee=Decimal(0), packing_fee=Decimal(0))
    with pytest.raises(BelowMinimum) as refused:
        services.check_orderable(free, at=NOON)
    assert refused.value.extra == {"missing": "0.01"}


def test_no_minimum() -> None:
    services.check_orderable(quote("0.00", minimum_order=Decimal(0)), at=NOON)
