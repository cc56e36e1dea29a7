"""Today in figures, read from the desk's rows: what was sold, what came of it, and what waits.

Only reading. Whose shops they are is for the caller to say; nobody's shops have no figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce
from operator import or_

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

import menu.services
from orders.desk.models import OF_A_SHOP, OF_ALL, DeskOrder, LostSales
from orders.states import PaymentStatus, Status
from waimai.infra.db import by_index

CENT = Decimal("0.01")
NOBODYS = Q(shop_id__in=())
# Neither called off nor given back, whole.
STANDS = ~Q(status=Status.CANCELLED)
KEPT = STANDS & ~Q(payment_status__in=(PaymentStatus.REFUNDING, PaymentStatus.REFUNDED))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of the orders of a day: how many were paid, stand and are completed; what they brought, net of what went back."""

    paid: int = 0
    valid: int = 0
    completed: int = 0
    turnover: Decimal = Decimal("0.00")

    @property
    def completion(self) -> int | None:
        """Completed ones in a hundred that were paid; None before there was any."""
        return round(100 * self.completed / self.paid) if self.paid else None

    @property
    def average(self) -> Decimal | None:
        """What an order that stands brought; None before there was any."""
        return (self.turnover / self.valid).quantize(CENT, ROUND_HALF_UP) if self.valid else None

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            paid=self.paid + other.paid,
            valid=self.valid + other.valid,
            completed=self.completed + other.completed,
            turnover=self.turnover + other.turnover,
        )


def business_days(*, shops: Collection[int] | None, at: datetime) -> dict[date, list[int]]:
    """The business day that it is in these shops (None: in all), and in which of them: time zones differ."""
    days: dict[date, list[int]] = defaultdict(list)
    for shop in menu.services.list_shops():
        if shops is None or shop.id in shops:
            days[menu.services.business_date(shop, at)].append(shop.id)
    return days


def of_today(*, days: dict[date, list[int]]) -> dict[tuple[int, str], Figures]:
    """The figures of each shop that was paid for anything on its present day, by number and name; one query."""
    rows = (
        DeskOrder.objects.filter(_today(days))
        .values("shop_id")
        .order_by("shop_id")
        .annotate(
            # A shop that was renamed today is one shop.
            name=Max("shop_name"),
            paid=Count("pk"),
            valid=Count("pk", filter=STANDS),
            completed=Count("pk", filter=Q(status=Status.COMPLETED)),
            turnover=Sum(Coalesce("net_total", "total"), filter=KEPT, default=Decimal("0.00")),
        )
    )
    return {
        (row["shop_id"], row["name"]): Figures(
            paid=row["paid"], valid=row["valid"], completed=row["completed"], turnover=row["turnover"].quantize(CENT)
        )
        for row in rows
    }


def _today(days: dict[date, list[int]]) -> Q:
    return reduce(or_, (Q(business_date=day, shop_id__in=ids) for day, ids in days.items()), NOBODYS)


def lost(*, days: dict[date, list[int]]) -> tuple[int, Decimal]:
    """How many orders came to nothing on the shops' present days as something was sold out, and their totals (yuan)."""
    found = LostSales.objects.filter(_today(days)).aggregate(orders=Sum("orders"), amount=Sum("amount"))
    return found["orders"] or 0, (found["amount"] or Decimal(0)).quantize(CENT)


def waiting(*, shops: Collection[int] | None) -> int:
    """How many paid orders nobody has taken yet, of whatever day; one query."""
    rows: QuerySet[DeskOrder] = DeskOrder.objects.filter(status=Status.PAID)
    if shops is not None:
        rows = rows.filter(shop_id__in=shops)
    return by_index(rows, OF_ALL if shops is None else OF_A_SHOP).count()
