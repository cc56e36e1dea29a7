"""The admin's front page: today at a glance, for the shops that the person works for."""

from __future__ import annotations

from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

import accounts.services
import menu.services
from orders.desk import figures
from orders.desk.figures import Figures
from orders.states import WITH_THE_SHOP, Status

# More shops than that are added up only.
SHOPS_SHOWN = 20


def glance(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What Unfold calls with the front page's context. Who works nowhere gets the page without figures."""
    shops = accounts.services.shops_of_staff(user_id=request.user.pk or 0, permission="view_board")
    if shops is not None and not shops:
        return context
    days = figures.business_days(shops=shops, at=timezone.now())
    by_shop = figures.of_today(days=days)
    total = sum(by_shop.values(), Figures())
    orders, since = reverse("admin:desk_deskorder_changelist"), str(min(days, default=""))
    tiles = [
        _tile(_("等待接单"), figures.waiting(shops=shops), _to(orders, status__exact=Status.PAID), urgent=True),
        _tile(_("今日营业额"), f"¥{total.turnover}", _to(orders, business_date__gte=since)),
        _tile(
            _("有效订单"),
            total.valid,
            _to(orders, business_date__gte=since, status__in=",".join((*WITH_THE_SHOP, Status.COMPLETED))),
        ),
        _tile(
            _("完成率"),
            "–" if total.completion is None else f"{total.completion}%",
            _to(orders, business_date__gte=since, status__exact=Status.COMPLETED),
        ),
        _tile(_("平均客单价"), "–" if total.average is None else f"¥{total.average}"),
        _sold_out(request, shops),
        _lost(days),
    ]
    return context | {"tiles": tiles, "by_shop": by_shop.items() if 1 < len(by_shop) <= SHOPS_SHOWN else ()}


def _sold_out(request: HttpRequest, shops: frozenset[int] | None) -> dict[str, Any]:
    link = _to(reverse("admin:menu_item_changelist"), left="none") if request.user.has_perm("menu.view_item") else ""
    return _tile(_("现已售罄的菜品"), menu.services.sold_out_now(shops=shops), link)


def _lost(days: dict[date, list[int]]) -> dict[str, Any]:
    count, amount = figures.lost(days=days)
    return _tile(_("今日因售罄流失"), f"{count} · ¥{amount}")


def _tile(name: str, number: object, link: str = "", *, urgent: bool = False) -> dict[str, Any]:
    return {"name": name, "number": number, "link": link, "urgent": urgent and bool(number)}


def _to(path: str, **query: str) -> str:
    return f"{path}?{urlencode(query)}"
