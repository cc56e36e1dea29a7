"""Opening hours, in the shop's own time."""

from __future__ import annotations

import datetime as dt

import pytest

from menu import services
from menu.hours import business_date, is_open_at, next_opening
from tests.menu.factories import make_shop, shop_info, span

# 2026-01-05 is a Monday.
MONDAY, TUESDAY, SUNDAY = 0, 1, 6


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_no_hours_is_always_open() -> None:
    assert is_open_at(shop_info(), utc("2026-01-05T19:30"))


def test_closed_by_hand_beats_the_clock() -> None:
    assert not is_open_at(shop_info(is_open=False), utc("2026-01-05T04:00"))


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-01-05T01:59:59", False),  # 09:59:59 in Shanghai
        ("2026-01-05T02:00", True),
        ("2026-01-05T13:59:59", True),
        ("2026-01-05T14:00", False),  # 22:00: the end doesn't belong to it
        ("2026-01-06T04:00", False),  # Tuesday
    ],
)
def test_hours_are_in_the_shops_time(at: str, is_open: bool) -> None:
    shop = shop_info(opening_hours=(span(MONDAY, "10:00", "22:00"),))
    assert is_open_at(shop, utc(at)) is is_open


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-01-05T09:59", False),  # Monday 17:59
        ("2026-01-05T10:00", True),
        ("2026-01-05T17:59", True),  # Tuesday 01:59: Monday's night
        ("2026-01-05T18:00", False),  # Tuesday 02:00
        ("2026-01-04T17:00", False),  # Monday 01:00: Sunday has no hours
    ],
)
def test_hours_cross_midnight(at: str, is_open: bool) -> None:
    shop = shop_info(opening_hours=(span(MONDAY, "18:00", "02:00"),))
    assert is_open_at(shop, utc(at)) is is_open


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-01-05T04:00", dt.time(14)),  # Monday 12:00
        ("2026-01-05T17:45", dt.time(3)),  # Tuesday 01:45: Monday's night
        ("2026-01-05T07:00", None),  # Monday 15:00: between the two
        ("2026-01-05T19:00", None),  # Tuesday 03:00
    ],
)
def test_the_end_of_the_hours_that_run(at: str, until: dt.time | None) -> None:
    hours = (span(MONDAY, "10:00", "14:00"), span(MONDAY, "18:00", "03:00"))
    assert services.open_until(shop_info(opening_hours=hours), utc(at)) == until
    assert services.open_until(shop_info(opening_hours=hours, is_open=False), utc(at)) is None
    assert services.open_until(shop_info(), utc(at)) is None


@pytest.mark.parametrize(
    ("hours", "until"),
    [
        ([(day, "00:00", "00:00") for day in range(7)], None),
        ([(MONDAY, "00:00", "00:00")], dt.time(0)),
        ([(MONDAY, "10:00", "14:00"), (MONDAY, "14:00", "22:00")], dt.time(22)),
        ([(MONDAY, "10:00", "00:00"), (MONDAY + 1, "00:00", "02:00")], dt.time(2)),
    ],
)
def test_hours_that_begin_where_others_end_go_on(hours: list[tuple[int, str, str]], until: dt.time | None) -> None:
    shop = shop_info(opening_hours=tuple(span(*each) for each in hours))
    assert services.open_until(shop, utc("2026-01-05T04:00")) == until  # Monday noon


def test_the_hours_of_a_day_last_until_the_next_begins() -> None:
    monday = span(MONDAY, "18:00", "03:00")
    shop = shop_info(opening_hours=(monday,))
    assert services.hours_on(shop, utc("2026-01-05T17:45")) == [monday]  # Tuesday 01:45
    assert services.hours_on(shop, utc("2026-01-05T20:00")) == []  # Tuesday 04:00


def test_sunday_night_reaches_into_monday() -> None:
    shop = shop_info(opening_hours=(span(SUNDAY, "20:00", "03:00"),))
    assert is_open_at(shop, utc("2026-01-04T18:30"))  # Monday 02:30


def test_equal_ends_are_a_whole_day() -> None:
    shop = shop_info(opening_hours=(span(MONDAY, "06:00", "06:00"),))
    assert is_open_at(shop, utc("2026-01-05T21:59"))  # Tuesday 05:59
    assert not is_open_at(shop, utc("2026-01-05T22:00"))


def test_the_same_moment_is_open_in_london_and_closed_in_shanghai() -> None:
    hours, noon_in_london = (span(MONDAY, "11:00", "13:00"),), utc("2026-01-05T12:00")
    assert is_open_at(shop_info(opening_hours=hours, time_zone="Europe/London"), noon_in_london)
    assert not is_open_at(shop_info(opening_hours=hours), noon_in_london)


def test_summer_time_moves_the_hours_with_the_wall_clock() -> None:
    shop = shop_info(opening_hours=(span(SUNDAY, "10:00", "12:00"),), time_zone="Europe/London")
    assert is_open_at(shop, utc("2026-03-22T10:30"))  # Winter time
    assert is_open_at(shop, utc("2026-03-29T09:30"))  # The day the clock goes forward
    assert not is_open_at(shop, utc("2026-03-29T11:30"))


def test_next_opening_is_later_today() -> None:
    shop = shop_info(opening_hours=(span(MONDAY, "10:00", "14:00"), span(MONDAY, "17:00", "21:00")))
    assert next_opening(shop, utc("2026-01-05T07:00")) == utc("2026-01-05T09:00")


def test_next_opening_is_next_week() -> None:
    shop = shop_info(opening_hours=(span(MONDAY, "10:00", "14:00"),))
    assert next_opening(shop, utc("2026-01-05T07:00")) == utc("2026-01-12T02:00")


@pytest.mark.parametrize("hours", [(), (span(TUESDAY, "10:00", "14:00"),)])
def test_nobody_knows_when_a_shop_closed_by_hand_opens(hours: tuple[services.ShopInfo, ...]) -> None:
    assert next_opening(shop_info(is_open=False, opening_hours=hours), utc("2026-01-05T07:00")) is None


def test_an_open_shop_has_no_next_opening() -> None:
    assert next_opening(shop_info(), utc("2026-01-05T07:00")) is None


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-01-05T19:59", "2026-01-05"),  # 03:59 in Shanghai: still Monday's night
        ("2026-01-05T20:00", "2026-01-06"),
        ("2026-01-05T16:30", "2026-01-05"),  # Past midnight in Shanghai
        ("2026-01-05T15:30", "2026-01-05"),
    ],
)
def test_the_business_day_starts_at_four(at: str, day: str) -> None:
    assert business_date(shop_info(), utc(at)) == dt.date.fromisoformat(day)


def test_a_business_day_from_midnight_is_the_calendars() -> None:
    shop = shop_info(day_starts_at=dt.time(0), time_zone="America/New_York")
    assert business_date(shop, utc("2026-01-06T04:59")) == dt.date(2026, 1, 5)


@pytest.mark.data
def test_hours_come_from_the_database_in_order() -> None:
    shop = make_shop()
    shop.opening_hours.create(weekday=TUESDAY, opens=dt.time(10), closes=dt.time(22))
    shop.opening_hours.create(weekday=MONDAY, opens=dt.time(18), closes=dt.time(2))
    services.menu_changed(shop.pk)
    assert services.get_shop(shop.pk).opening_hours == (span(MONDAY, "18:00", "02:00"), span(TUESDAY, "10:00", "22:00"))
