"""Holding portions for many orders at once: one hot dish is then one row lock and one update for all of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db.models import F

from menu.models import Item, Stock, StockHold
from menu.stock import HELD, STEP, _enough, _tell_low
from waimai.infra.barrier import enter_many
from waimai.infra.db import run_atomic
from waimai.infra.rows import insert_rows
from waimai.infra.sharding import DEFAULT

Demands = Mapping[int, Mapping[int, int]]
Short = dict[int, list[dict[str, Any]]]


class Overtaken(Exception):
    """Some step of the batch was done, or undone, before: then each order goes its own way."""


def hold_many(demands: Demands) -> Short:
    """Take the portions for many orders (by number) in one transaction; each gets all of its own or none.

    First come, first served, by number. Returns the items that fell short, as `SoldOut` names them, by the orders that
    hold nothing. Raises Overtaken, with nothing changed, when an order held or gave up its portions before.
    """
    return run_atomic(DEFAULT, partial(_hold_many, demands), commit=HELD)


def _hold_many(demands: Demands) -> Short:
    wanted = {item_id for each in demands.values() for item_id in each}
    enough = _enough(wanted, limited=True)
    rows = Stock.objects.filter(item_id__in=sorted(enough), limited=True).select_for_update().order_by("item_id")
    before = {row.item_id: row.orderable for row in rows}
    left = Counter(before)
    holds, missing = _share(demands, left)
    holders = [order_id for order_id in demands if order_id not in missing]
    if not enter_many(using=DEFAULT, saga_ids=holders, step=STEP):
        raise Overtaken
    insert_rows(StockHold, holds, using=DEFAULT)
    taken = {item_id: before[item_id] - left[item_id] for item_id in sorted(before) if left[item_id] < before[item_id]}
    _take(taken)
    _tell_low({item_id: left[item_id] for item_id in taken if left[item_id] < enough[item_id]})
    return _named(missing, before)


def _take(portions: Mapping[int, int]) -> None:
    """Count down the stock rows, which are locked: those that lose the same number in one statement."""
    items_of: defaultdict[int, list[int]] = defaultdict(list)
    for item_id, number in portions.items():
        items_of[number].append(item_id)
    for number, items in items_of.items():
        rows = Stock.objects.filter(item_id__in=items, available__gte=number)
        if rows.update(available=F("available") - number, held=F("held") + number) != len(items):
            raise Overtaken  # Only where nothing locks a row that is read.


def _share(demands: Demands, left: Counter[int]) -> tuple[list[dict[str, int]], dict[int, dict[int, int]]]:
    """Hand out what is `left`, which is counted down; returns the holds, and what others found of what they miss."""
    holds: list[dict[str, int]] = []
    missing: dict[int, dict[int, int]] = {}
    for order_id in sorted(demands):
        wanted = {item: n for item, n in sorted(demands[order_id].items()) if n > 0 and item in left}
        if short := {item: left[item] for item, n in wanted.items() if left[item] < n}:
            missing[order_id] = short
            continue
        for item, n in wanted.items():
            left[item] -= n
            holds.append({"order_id": order_id, "item_id": item, "quantity": n})
    return holds, missing


def _named(missing: Mapping[int, Mapping[int, int]], before: Mapping[int, int]) -> Short:
    items = {item for short in missing.values() for item in short}
    names = dict(Item.objects.filter(pk__in=items).values_list("pk", "name")) if items else {}
    return {
        order_id: [{"id": item, "name": names[item], "available": found} for item, found in short.items()]
        for order_id, short in missing.items()
    }
