"""When a shop is open, in its own time zone, and to which business day a moment belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

DAYS_LOOKED_AHEAD = 8


@dataclass(frozen=True, kw_only=True)
class OpeningSpan:
    """Open on `weekday` (0 is Monday) from `opens` to `closes`; a `closes` not after `opens` is on the next day."""

    weekday: int
    opens: time
    closes: time

    @property
    def crosses_midnight(self) -> bool:
        """Whether it ends on the next day."""
        return self.closes <= self.opens


class HasHours(Protocol):
    """What the functions here must know of a shop: its time zone, its hours, and whether it is switched on."""

    @property
    def time_zone(self) -> str:
        """An IANA name."""

    @property
    def day_starts_at(self) -> time:
        """When its business day begins."""

    @property
    def is_open(self) -> bool:
        """The switch thrown by hand."""

    @property
    def opening_hours(self) -> Sequence[OpeningSpan]:
        """Its weekly hours; none means always."""


def is_open_at(shop: HasHours, at: datetime) -> bool:
    """Whether the shop takes orders at `at`: switched on by hand, and within its hours (no hours: always)."""
    if not shop.is_open:
        return False
    if not shop.opening_hours:
        return True
    local = at.astimezone(ZoneInfo(shop.time_zone))
    return any(_covers(span, local.weekday(), local.time()) for span in shop.opening_hours)


def _covers(span: OpeningSpan, weekday: int, clock: time) -> bool:
    if not span.crosses_midnight:
        return span.weekday == weekday and span.opens <= clock < span.closes
    if span.weekday == weekday:
        return clock >= span.opens
    return (span.weekday + 1) % 7 == weekday and clock < span.closes


def hours_on(shop: HasHours, at: datetime) -> list[OpeningSpan]:
    """The opening hours of the business day of a moment, earliest first: after midnight still those of the evening."""
    weekday = business_date(shop, at).weekday()
    return sorted((span for span in shop.opening_hours if span.weekday == weekday), key=lambda span: span.opens)


def open_until(shop: HasHours, at: datetime) -> time | None:
    """When the shop closes that is open at `at`, by its clock; None while it is closed, and when it never closes.

    Hours that begin where others end go on.
    """
    if not shop.opening_hours or not is_open_at(shop, at):
        return None
    moment = start = at.astimezone(ZoneInfo(shop.time_zone))
    while moment - start < timedelta(days=DAYS_LOOKED_AHEAD):
        span = next((each for each in shop.opening_hours if _covers(each, moment.weekday(), moment.time())), None)
        if span is None:
            return moment.time()
        end = datetime.combine(moment.date(), span.closes, tzinfo=moment.tzinfo)
        moment = end if end > moment else end + timedelta(days=1)
    return None


def next_opening(shop: HasHours, at: datetime) -> datetime | None:
    """When a shop that is closed at `at` opens by its hours (UTC); None when it was closed by hand, or is open."""
    if not shop.is_open or is_open_at(shop, at):
        return None
    zone = ZoneInfo(shop.time_zone)
    today = at.astimezone(zone).date()
    days = [today + timedelta(days=ahead) for ahead in range(DAYS_LOOKED_AHEAD)]
    openings = (
        datetime.combine(day, span.opens, tzinfo=zone).astimezone(UTC)
        for day in days
        for span in shop.opening_hours
        if span.weekday == day.weekday()
    )
    return min((opening for opening in openings if opening > at), default=None)


def next_day_opening(shop: HasHours, at: datetime) -> datetime:
    """When the shop opens on a business day after that of `at` (UTC); without hours, when the next one begins."""
    zone = ZoneInfo(shop.time_zone)
    begins = datetime.combine(business_date(shop, at) + timedelta(days=1), shop.day_starts_at, tzinfo=zone)
    return next_opening(shop, begins) or begins.astimezone(UTC)


def clock_ahead(shop: HasHours, clock: time | None, *, now: datetime) -> datetime:
    """The next moment at which the shop's clock shows this (UTC); without one, when it opens on another day."""
    if clock is None:
        return next_day_opening(shop, now)
    today = datetime.combine(now.astimezone(ZoneInfo(shop.time_zone)).date(), clock, tzinfo=ZoneInfo(shop.time_zone))
    return (today if today > now else today + timedelta(days=1)).astimezone(UTC)


def business_date(shop: HasHours, at: datetime) -> date:
    """The business day of a moment: before the hour at which the shop's day starts it is still yesterday's."""
    local = at.astimezone(ZoneInfo(shop.time_zone))
    return local.date() - timedelta(days=1) if local.time() < shop.day_starts_at else local.date()
