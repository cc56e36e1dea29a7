"""The desk in the admin: a list with what staff may do; the order itself moves by `orders.desk.services`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

import accounts.services
from orders.desk import services
from orders.desk.models import LONGEST_NUMBER, OF_A_DAY, DeskOrder
from orders.page_admin import STATUS_COLOURS, line_text, order_page
from waimai.infra.admin import ReadOnlyAdmin, press, record
from waimai.infra.admin_base import ActionForm, Growing, TextWidget, coloured
from waimai.infra.db import by_index
from waimai.infra.exports import csv_response

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Not for people: the dishes say it better.
EXPORTED = (
    "order_id",
    "shop_name",
    "status",
    "payment_status",
    "total",
    "net_total",
    "paid_at",
    "contact_name",
    "note",
)
MOST_EXPORTED = 10_000
# How far back one looks for what no index leads to, and how long the digits of each are.
DAYS_OF_NUMBERS, DAYS_OF_PHONES = 1, 7
LONGEST_PHONE = 12
# What the order's own page has buttons for, and which of them want a reason.
BUTTONS = {
    "accept": _("接单"),
    "deliver": _("派送"),
    "complete": _("完成"),
    "reject": _("拒单"),
    "cancel": _("取消"),
}
WITH_REASON = frozenset({"reject", "cancel"})
HIDDEN = frozenset({"lines", "version", "applied_at"})


class ReasonForm(ActionForm):
    """The action's form, with the reason that rejecting and cancelling need."""

    reason = forms.CharField(label=_("原因"), required=False, max_length=200, widget=TextWidget)


@admin.register(DeskOrder)
class DeskOrderAdmin(Growing, ReadOnlyAdmin):
    """The paid orders of the shops this person works for."""

    list_display = ("order_id", "pickup", "state", "dishes", "net", "contact_name", "paid_at", "note", "shop_name")
    list_filter: ClassVar = ["status", "payment_status", "business_date"]
    search_fields = ("=order_id",)
    search_help_text = _("订单号、取餐号（昨天和今天）或电话（最近七天）")
    fieldsets: ClassVar[Any] = (
        (
            _("全部字段"),
            {"classes": ("collapse",), "fields": [f.name for f in DeskOrder._meta.fields if f.name not in HIDDEN]},
        ),
    )
    action_form = ReasonForm
    actions = ("accept", "reject", "deliver", "complete", "cancel", "export")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """For everybody who works in a shop."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For everybody who works in a shop, and only that shop's orders."""
        user_id = request.user.pk
        if user_id is None or not request.user.is_staff:
            return False
        shops = accounts.services.shops_of_staff(user_id=user_id, permission="view_board")
        return shops is None or (bool(shops) if obj is None else obj.shop_id in shops)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeskOrder]:
        """The rows of this person's shops."""
        return services.visible_to(request.user.pk or 0).order_by(*self.get_ordering(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> DeskOrder | None:
        """A row of this person's shops. Raises Http404 for another's, as for one that doesn't exist."""
        found: DeskOrder | None = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Newest first: of one state by the index of states, of all by their numbers, which rise with time."""
        return ("-paid_at", "-order_id") if "status__exact" in request.GET else ("-order_id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeskOrder], search_term: str
    ) -> tuple[QuerySet[DeskOrder], bool]:
        """What people call out or phone from is looked for among the latest days, by the index of days."""
        term = search_term.strip()
        days, column = (DAYS_OF_NUMBERS, "number") if len(term) <= LONGEST_NUMBER else (DAYS_OF_PHONES, "phone")
        if not term.isascii() or not term.isdigit() or len(term) > LONGEST_PHONE:
            return super().get_search_results(request, queryset, search_term)
        # One more: a shop in the west has yesterday's date still.
        since = timezone.localdate() - timedelta(days=days + 1)
        return by_index(queryset, OF_A_DAY).filter(business_date__gte=since, **{column: term}), False

    @admin.display(description=_("取餐号"), ordering="number")
    def pickup(self, row: DeskOrder) -> int | None:
        """What people call out."""
        return row.number

    @admin.display(description=_("状态"), ordering="status")
    @coloured(STATUS_COLOURS)
    def state(self, row: DeskOrder) -> tuple[str, str]:
        """Where it stands."""
        return row.status, str(row.get_status_display())

    @admin.display(description=_("实收"), ordering="total")
    def net(self, row: DeskOrder) -> Decimal:
        """What it costs now."""
        return row.net

    @admin.display(description=_("商品"))
    def dishes(self, row: DeskOrder) -> str:
        """What to cook, as far as it fits."""
        return Truncator("、".join(map(line_text, row.lines))).chars(60)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What this person may do in some shop; in which, is decided order by order."""
        user_id = request.user.pk or 0
        return {
            name: action
            for name, action in super().get_actions(request).items()
            if name == "export"
            or accounts.services.has_permission_somewhere(user_id=user_id, permission=f"{name}_order")
        }

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The order on one page, with buttons for what this person may do to it now: they send what the list's do."""
        row: DeskOrder = context["original"]
        allowed = accounts.services.permissions_of(user_id=request.user.pk or 0, shop_id=row.shop_id)
        context["page"] = order_page(request, row.order_id, row.lines)
        context["buttons"] = [
            (name, BUTTONS[name], name in WITH_REASON)
            for name in services.ACTIONS.get(row.status, ())
            if name in BUTTONS and f"{name}_order" in allowed
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description=_("接单"))
    def accept(self, request: HttpRequest, queryset: QuerySet[DeskOrder]) -> HttpResponse | None:
        """Take the chosen orders."""
        return self._each(request, queryset, _("接单"), services.accept)

    @admin.action(description=_("拒单（需填写原因）"))
    def reject(self, request: HttpRequest, queryset: QuerySet[DeskOrder]) -> HttpResponse | None:
        """Refuse the chosen orders."""
        return self._each(request, queryset, _("拒单"), services.reject, reason=request.POST.get("reason", ""))

    @admin.action(description=_("派送"))
    def deliver(self, request: HttpRequest, queryset: QuerySet[DeskOrder]) -> HttpResponse | None:
        """Hand the chosen orders to the courier."""
        return self._each(request, queryset, _("派送"), services.deliver)

    @admin.action(description=_("完成"))
    def complete(self, request: HttpRequest, queryset: QuerySet[DeskOrder]) -> HttpResponse | None:
        """End the chosen orders."""
        return self._each(request, queryset, _("完成"), services.complete)

    @admin.action(description=_("取消（需填写原因）"))
    def cancel(self, request: HttpRequest, queryset: QuerySet[DeskOrder]) -> HttpResponse | None:
        """Cancel the chosen orders."""
        return self._each(request, queryset, _("取消"), services.cancel, reason=request.POST.get("reason", ""))

    @admin.action(description=_("导出 CSV"))
    def export(self, request: HttpRequest, queryset: QuerySet[DeskOrder]) -> StreamingHttpResponse:
        """The chosen orders as a table; who took it is written down."""
        rows = queryset[:MOST_EXPORTED]
        record(request, rows, _("导出 CSV"))
        header = [str(getattr(DeskOrder._meta.get_field(name), "verbose_name", name)) for name in EXPORTED]
        found = rows.iterator(chunk_size=500)
        cells = ([row.net if name == "net_total" else getattr(row, name) for name in EXPORTED] for row in found)
        return csv_response("orders", header, cells)

    def _each(
        self,
        request: HttpRequest,
        rows: QuerySet[DeskOrder],
        button: StrPromise,
        action: Callable[..., DeskOrder],
        **details: Any,
    ) -> HttpResponse | None:
        done = press(
            request, rows, button, lambda row: action(order_id=row.order_id, staff_id=request.user.pk, **details)
        )
        if done:
            messages.success(request, ngettext("%d 个订单已处理", "%d 个订单已处理", done) % done)
        if "stay" in request.POST and (row := rows.first()):
            return HttpResponseRedirect(reverse("admin:desk_deskorder_change", args=[row.pk]))
        return None
