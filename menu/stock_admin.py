"""Portions in the admin: to look at. They are changed on the item's page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from menu.counting import NONE_LEFT
from menu.models import Item, Stock, StockAdjustment
from menu.own_admin import OwnRelatedFilter, OwnRows
from waimai.infra.admin import ReadOnlyAdmin
from waimai.infra.admin_base import Growing


class LeftFilter(admin.SimpleListFilter):
    """By the portions that are left."""

    title = gettext_lazy("可售份数")
    parameter_name = "left"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """None, or a number of them."""
        return [("none", gettext_lazy("已售罄")), ("limited", gettext_lazy("限量"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Item]) -> QuerySet[Item]:
        """The items with so many left."""
        wanted = {"none": NONE_LEFT & Q(on_sale=True), "limited": Q(stock__limited=True)}
        return queryset.filter(wanted.get(self.value() or "", Q()))


@admin.register(Stock)
class StockAdmin(OwnRows, ReadOnlyAdmin):
    """Portions: to look at. They are changed on the item's page."""

    list_display = ("item", "limited", "available", "held", "sold", "back_at")
    list_filter = ("limited", ("item__shop", OwnRelatedFilter))
    list_select_related = ("item",)
    search_fields = ("item__name",)
    shop_path = "item__shop_id"


@admin.register(StockAdjustment)
class StockAdjustmentAdmin(Growing, OwnRows, ReadOnlyAdmin):
    """What staff added and took away: to look at."""

    list_display = ("made_at", "item", "delta", "reason")
    list_filter = ("made_at", ("item__shop", OwnRelatedFilter))
    list_select_related = ("item",)
    search_fields = ("item__name",)
    ordering = ("-pk",)
    shop_path = "item__shop_id"
