"""Sold out until a time: the dish is off until then, customers see when it comes back, and a timer brings it back."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.utils.translation import gettext as _

from menu.models import Stock
from menu.stock import MOST_PORTIONS, put_stock
from waimai.infra import timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import ValidationFailed
from waimai.infra.sharding import DEFAULT

BACK = "menu.back"


def sell_out(*, item_id: int, until: datetime, portions: int | None = None, reason: str = "") -> None:
    """No portion until then; from then on `portions`, or (None) as many as there were: a number, or any number.

    Whoever sets the stock meanwhile decides anew. Raises NoSuchItem, and ValidationFailed for a time that is over, for
    a number that isn't from 1 to a million, and for none when none was left to come back.
    """
    _check(portions)
    run_atomic(DEFAULT, partial(_sell_out, item_id, until, portions, reason))


def _check(portions: int | None) -> None:
    if portions is not None and not 1 <= portions <= MOST_PORTIONS:
        raise ValidationFailed(errors={"portions": [_("份数应为 1 到 1000000 的整数。")]})


def _sell_out(item_id: int, until: datetime, portions: int | None, reason: str) -> None:
    if until <= db_now(DEFAULT):
        raise ValidationFailed(errors={"until": [_("恢复时间已过。")]})
    stock = Stock.objects.select_for_update().filter(item_id=item_id).first()
    if portions is None and stock is not None and stock.limited:
        # Sold out for a while twice: what it comes back with stays what it was.
        portions = stock.back_with if stock.back_at else stock.available
        if portions == 0:
            raise ValidationFailed(errors={"portions": [_("已无剩余，请填写恢复时的份数。")]})
    put_stock(item_id, 0, reason)
    Stock.objects.filter(item_id=item_id).update(back_at=until, back_with=portions)
    timers.schedule(BACK, item_id, due_at=until, using=DEFAULT)


def bring_back(*, item_id: int, portions: int | None = None, reason: str = "") -> None:
    """What is sold out is back now, with `portions` or (None) with what it was to come back with.

    Raises NoSuchItem, and ValidationFailed for a number that isn't from 1 to a million, or for none where portions are
    counted and all were sold.
    """
    _check(portions)

    def body() -> None:
        stock = Stock.objects.select_for_update().filter(item_id=item_id).first()
        if stock is None or (not stock.back_at and (not stock.limited or stock.available)):
            # Somebody was faster, or the clock: it is back, and stays as it came.
            return
        if portions is None and not stock.back_at:
            raise ValidationFailed(errors={"portions": [_("份数已售完，请填写还能供应几份。")]})
        put_stock(item_id, stock.back_with if portions is None else portions, reason)
        timers.cancel(BACK, [item_id], using=DEFAULT)

    run_atomic(DEFAULT, body)


@timers.fires(BACK)
def come_back(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """The time has come for these items."""
    over = set(ref_ids)
    for item_id in sorted(ref_ids):
        # Held, so that whoever sets the stock at this moment comes before or after, and not in between.
        stock = Stock.objects.select_for_update().filter(item_id=item_id).first()
        if stock is None or not stock.back_at:
            continue
        if stock.back_at <= now:
            put_stock(item_id, stock.back_with, BACK)
        else:
            # Sold out anew for longer: that is its timer now.
            over.discard(item_id)
    timers.cancel(BACK, sorted(over), using=using)
