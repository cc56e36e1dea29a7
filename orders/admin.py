"""Orders and sagas in the admin, read-only: what staff do to an order they do on the desk.

Only the order of a saga that is stuck can be seen to here: run again, or cancelled with everything it owes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

import accounts.services
from orders import services
from orders.models import Order, OrderChange, Saga
from orders.page_admin import MONEY_COLOURS, STATUS_COLOURS, order_page
from waimai.infra.admin import DatabaseFilter, ShardedAdmin, as_id, press
from waimai.infra.admin_base import coloured, link_to
from waimai.infra.sharding import shard_of_user

HIDDEN = frozenset({"bucket", "limited", "sold_out", "cart_version"})
SHOWN = [field.name for field in Order._meta.fields if field.name not in HIDDEN]
SAGA_COLOURS = {"stuck": "danger", "compensating": "warning", "running": "info", "done": "success"}
RETRY, UNDO = _("重试"), _("撤销订单")


@admin.register(Order)
class OrderAdmin(ShardedAdmin):
    """Orders of one shard at a time, found by their number on any."""

    list_display = ("id", "shop_name", "state", "money", "total", "contact_name", "placed_at")
    list_filter: ClassVar = [DatabaseFilter, "status", "payment_status"]
    ordering = ("-id",)
    search_fields = ("=id",)
    search_help_text = _("订单号或顾客的手机号")
    fieldsets: ClassVar[Any] = ((_("全部字段"), {"classes": ("collapse",), "fields": SHOWN}),)

    @admin.display(description=_("状态"), ordering="status")
    @coloured(STATUS_COLOURS)
    def state(self, order: Order) -> tuple[str, str]:
        """Where it stands."""
        return order.status, str(order.get_status_display())

    @admin.display(description=_("支付状态"), ordering="payment_status")
    @coloured(MONEY_COLOURS)
    def money(self, order: Order) -> tuple[str, str]:
        """Where its money stands."""
        return order.payment_status, str(order.get_payment_status_display())

    def alias_of(self, request: HttpRequest) -> str:
        """One customer's orders, as that person's page asks for them, stand on that person's shard."""
        customer = as_id(request.GET.get("user_id", ""))
        return shard_of_user(customer) if customer else super().alias_of(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """By the order's number or the customer's phone; orders have no index of phones, people do."""
        customer = accounts.services.id_of_phone(search_term.strip())
        if customer is not None:
            return queryset.using(shard_of_user(customer)).filter(user_id=customer), False
        return super().get_search_results(request, queryset, search_term)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The order on one page: see `orders.page_admin`."""
        context["page"] = order_page(request, context["original"].pk)
        return super().render_change_form(request, context, *args, **kwargs)


@admin.register(Saga)
class SagaAdmin(ShardedAdmin):
    """How far each order's saga is; stuck ones can be run again, or undone."""

    list_display = ("order_id", "condition", "step", "attempts", "error", "next_at", "since")
    list_filter: ClassVar = [DatabaseFilter, "state", "step"]
    ordering = ("-order_id",)
    search_fields = ("=order_id",)
    fields = ("order", "state", "step", "since", "attempts", "error", "next_at", "release_stock", "version")
    readonly_fields = ("order", "since")
    actions = ("retry", "compensate")

    def rows_on(self, alias: str) -> QuerySet[Saga]:
        """With the moment of the order's latest change: each step of a saga begins with one."""
        changes = OrderChange.objects.on(alias).filter(order_id=OuterRef("order_id")).order_by("-n")
        rows: QuerySet[Saga] = super().rows_on(alias).annotate(changed_at=Subquery(changes.values("at")[:1]))
        return rows

    @admin.display(description=_("状态"), ordering="state")
    @coloured(SAGA_COLOURS)
    def condition(self, saga: Saga) -> tuple[str, str]:
        """Whether it goes on."""
        return saga.state, str(saga.get_state_display())

    @admin.display(description=_("开始于"))
    def since(self, saga: Saga) -> str:
        """Since when it is at this step."""
        return date_format(localtime(saga.changed_at), "DATETIME_FORMAT")  # type: ignore[attr-defined]

    @admin.display(description=_("订单"))
    def order(self, saga: Saga) -> SafeString:
        """The order, and the way to it."""
        return link_to("orders_order", saga.order_id)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The saga's page, with its buttons: they send what the list's actions send."""
        saga: Saga = context["original"]
        context["pressable"] = saga.state == Saga.State.STUCK and self.has_operate_permission(request)
        context["buttons"] = [("retry", RETRY), ("compensate", f"{UNDO}…")]
        context["list_url"] = _list_url(saga._state.db or "")
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description=RETRY, permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Saga]) -> None:
        """Take stuck sagas up again."""
        count = press(request, queryset, RETRY, lambda saga: services.retry_saga(saga.order_id))
        messages.info(request, ngettext("%d 个流程将重新执行", "%d 个流程将重新执行", count) % count)

    @admin.action(description=UNDO, permissions=["operate"])
    def compensate(self, request: HttpRequest, queryset: QuerySet[Saga]) -> HttpResponse | None:
        """Cancel the orders of stuck sagas, once the person has said why, and that it is meant."""
        reason = request.POST.get("reason", "").strip()
        if "confirmed" not in request.POST or not reason:
            return self._ask(request, queryset)
        staff_id = request.user.pk or 0
        count = press(
            request,
            queryset,
            UNDO,
            lambda saga: services.undo_stuck_order(order_id=saga.order_id, staff_id=staff_id, reason=reason),
        )
        messages.info(request, ngettext("%d 个订单已撤销", "%d 个订单已撤销", count) % count)
        return None

    def _ask(self, request: HttpRequest, sagas: QuerySet[Saga]) -> HttpResponse:
        stuck = sagas.filter(state=Saga.State.STUCK)
        context = self.admin_site.each_context(request) | {
            "title": UNDO,
            "opts": self.opts,
            "orders": Order.objects.on(sagas.db).filter(pk__in=list(stuck.values_list("order_id", flat=True))),
            "list_url": _list_url(sagas.db),
            "without_reason": "confirmed" in request.POST,
        }
        return TemplateResponse(request, "admin/orders/saga/compensate.html", context)


def _list_url(alias: str) -> str:
    return f"{reverse('admin:orders_saga_changelist')}?{DatabaseFilter.parameter_name}={alias}"
