"""The menu's admin pages. They keep the same rules as the services, and every save makes the menu's copies stale."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from menu import forms, services
from menu.models import (
    Category,
    Item,
    OpeningHours,
    Option,
    OptionGroup,
    SetMealComponent,
    Shop,
)
from menu.own_admin import OwnRelatedFilter, OwnRows, OwnShopsOnly, own_shops
from menu.stock_admin import LeftFilter
from waimai.infra.admin import press, record
from waimai.infra.admin_base import ModelAdmin, TabularInline
from waimai.infra.errors import DomainError


class MenuAdmin(OwnRows, ModelAdmin[Any]):
    """A page whose every change bumps its shop's menu version, in the same transaction."""

    def shop_id_of(self, obj: Any) -> int:
        """The shop that an object belongs to."""
        return int(obj.shop_id)

    def why_it_stays(self, obj: Any) -> str:
        """Why an object can't be deleted; empty when it can."""
        return ""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """After the object and everything on its page went in."""
        super().save_related(request, form, formsets, change)
        services.menu_changed(self.shop_id_of(form.instance))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """One object."""
        services.menu_changed(self.shop_id_of(obj))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Several, from the list."""
        services.menu_changed(*(self.shop_id_of(obj) for obj in queryset))
        super().delete_queryset(request, queryset)

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], Any, Any]:
        """What a deletion takes along; a rule that forbids it is shown like a protected object, and stops it."""
        rows = list(objs)
        found, counts, permissions, protected = super().get_deleted_objects(rows, request)
        return found, counts, permissions, [*protected, *filter(None, map(self.why_it_stays, rows))]


class OpeningHoursInline(TabularInline[OpeningHours, Shop]):
    """The week."""

    model = OpeningHours
    extra = 0


@admin.register(Shop)
class ShopAdmin(MenuAdmin):
    """Shops and their terms. Never deleted: orders speak of them."""

    form = forms.ShopForm
    list_display = ("name", "is_open", "minimum_order", "delivery_fee", "packing_fee", "prep_minutes")
    list_filter = ("is_open",)
    search_fields = ("^name",)
    inlines = (OpeningHoursInline,)
    actions = ("open_shops", "close_shops")
    shop_path = "pk"

    def shop_id_of(self, obj: Any) -> int:
        """Itself."""
        return int(obj.pk)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only for who works everywhere: a new shop is nobody's yet."""
        return own_shops(request) is None and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    @admin.action(description=gettext_lazy("开始营业"), permissions=["change"])
    def open_shops(self, request: HttpRequest, queryset: QuerySet[Shop]) -> None:
        """Open by hand."""
        press(request, queryset, _("开始营业"), lambda shop: services.set_open(shop_id=shop.pk, is_open=True))

    @admin.action(description=gettext_lazy("打烊"), permissions=["change"])
    def close_shops(self, request: HttpRequest, queryset: QuerySet[Shop]) -> None:
        """Close by hand."""
        press(request, queryset, _("打烊"), lambda shop: services.set_open(shop_id=shop.pk, is_open=False))


@admin.register(Category)
class CategoryAdmin(MenuAdmin):
    """Headings of the menu."""

    form = forms.CategoryForm
    list_display = ("name", "shop", "kind", "sort", "is_active")
    list_filter = (("shop", OwnRelatedFilter), "kind", "is_active")
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A category doesn't move to another shop."""
        return ("shop",) if obj else ()

    def why_it_stays(self, obj: Category) -> str:
        """It has items."""
        return services.why_category_stays(obj)


class OptionGroupInline(TabularInline[OptionGroup, Item]):
    """The choices that come with an item; their options are on a page of their own."""

    model = OptionGroup
    form = forms.LimitsForm
    extra = 0
    show_change_link = True


class ComponentInline(OwnShopsOnly, TabularInline[SetMealComponent, Item]):
    """The dishes of a set meal."""

    model = SetMealComponent
    fk_name = "set_meal"
    formset = forms.ComponentFormSet
    extra = 0
    autocomplete_fields = ("dish",)


@admin.register(Item)
class ItemAdmin(MenuAdmin):
    """Dishes and set meals."""

    form = forms.ItemForm
    list_display = ("name", "shop", "category", "kind", "price", "on_sale", "portions_left")
    list_filter = ("on_sale", LeftFilter, "kind", ("shop", OwnRelatedFilter), ("category", OwnRelatedFilter))
    list_select_related = ("shop", "category", "stock")
    search_fields = ("name",)
    readonly_fields = ("preview", "counters")
    fields = (
        ("shop", "kind", "category"),
        ("name", "price", "sort"),
        "description",
        ("preview", "picture"),
        "on_sale",
        ("portions", "counters"),
    )
    inlines = (OptionGroupInline, ComponentInline)
    # Three fields in a row leave no room for labels beside them.
    compressed_fields = False
    action_form = forms.StockActionForm
    actions = ("put_on_sale", "stop_selling", "sold_out", "set_stock")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """An item stays in its shop and remains what it is."""
        return (*self.readonly_fields, "shop", "kind") if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Item, form: Any, change: bool) -> None:
        """The item; stopping a dish stops its set meals too, and portions go through the books."""
        super().save_model(request, obj, form, change)
        if change and "on_sale" in form.changed_data and not obj.on_sale:
            services.stop_selling(item_ids=[obj.pk])
        if "portions" in form.changed_data:
            services.set_stock(
                item_id=obj.pk, available=form.cleaned_data["portions"], reason=request.user.get_username()
            )

    def why_it_stays(self, obj: Item) -> str:
        """It is on sale, in a set meal, or somebody is about to pay for it."""
        return services.why_not_deletable(obj)

    @admin.display(description=gettext_lazy("图片"))
    def preview(self, obj: Item) -> SafeString | str:
        """The picture as customers see it."""
        url = services.image_url(obj.image)
        return format_html('<img src="{}" alt="" height="96">', url) if url else "–"

    @admin.display(description=gettext_lazy("占用 / 已售"))
    def counters(self, obj: Item) -> str:
        """Portions that wait for payment, and those that were sold."""
        return f"{obj.stock.held} / {obj.stock.sold}" if obj.pk and hasattr(obj, "stock") else "–"

    @admin.display(description=gettext_lazy("可售份数"))
    def portions_left(self, obj: Item) -> str:
        """How many can be ordered, and when more come."""
        return str(obj.stock) if hasattr(obj, "stock") else "∞"

    @admin.action(description=gettext_lazy("起售"), permissions=["change"])
    def put_on_sale(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        """Sell the chosen, all or none."""
        try:
            count = services.put_on_sale(item_ids=_ids(queryset))
        except DomainError as error:
            messages.error(request, str(error.detail))
            record(request, queryset, gettext_lazy("起售"), str(error.detail))
        else:
            messages.success(
                request, ngettext("已起售 %(count)d 个商品。", "已起售 %(count)d 个商品。", count) % {"count": count}
            )
            record(request, queryset, gettext_lazy("起售"))

    @admin.action(description=gettext_lazy("停售"), permissions=["change"])
    def stop_selling(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        """Stop the chosen, and the set meals they are part of."""
        count = services.stop_selling(item_ids=_ids(queryset))
        record(request, queryset, gettext_lazy("停售"))
        messages.success(
            request, ngettext("已停售 %(count)d 个商品。", "已停售 %(count)d 个商品。", count) % {"count": count}
        )

    @admin.action(description=gettext_lazy("今日售罄"), permissions=["change"])
    def sold_out(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        """None left until the time beside the action, or the next day that the shop opens."""
        wish = forms.SoldOutForm(request.POST)
        if not wish.is_valid():
            messages.error(request, _("请填写正确的恢复时间和份数。"))
        elif press(request, list(queryset.order_by("pk")), _("今日售罄"), wish.sell_out):
            messages.success(request, _("库存已更新。"))

    @admin.action(description=gettext_lazy("设置份数（留空表示不限）"), permissions=["change"])
    def set_stock(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        """As many as the number beside the action says."""
        typed = request.POST.get("portions", "").strip()
        if typed and not (typed.isascii() and typed.isdigit()):
            messages.error(request, _("份数应为整数。"))
            return
        self._set_stock(request, queryset, int(typed) if typed else None)

    def _set_stock(self, request: HttpRequest, queryset: QuerySet[Item], available: int | None) -> None:
        by = request.user.get_username()
        button = _("设置份数") + f" {'∞' if available is None else available}"
        rows = list(queryset.order_by("pk"))
        change = partial(services.set_stock, available=available, reason=by)
        if press(request, rows, button, lambda item: change(item_id=item.pk)):
            messages.success(request, _("库存已更新。"))


def _ids(queryset: QuerySet[Item]) -> list[int]:
    return sorted(queryset.values_list("pk", flat=True))


class OptionInline(TabularInline[Option, OptionGroup]):
    """The options of a group."""

    model = Option
    formset = forms.OptionFormSet
    extra = 1


@admin.register(OptionGroup)
class OptionGroupAdmin(MenuAdmin):
    """Choices and their options."""

    form = forms.OptionGroupForm
    list_display = ("name", "item", "min", "max", "sort")
    list_select_related = ("item",)
    list_filter = (("item__shop", OwnRelatedFilter),)
    search_fields = ("name", "item__name")
    autocomplete_fields = ("item",)
    shop_path = "item__shop_id"
    inlines = (OptionInline,)

    def shop_id_of(self, obj: Any) -> int:
        """The item's."""
        return int(obj.item.shop_id)
