"""Orders and sagas in the admin, read-only: what staff do to an order they do on the desk."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from orders import services
from orders.documents import history_of, lines_of
from orders.models import Order, Saga
from waimai.infra.admin import DatabaseFilter, ShardedAdmin
from waimai.infra.sharding import shard_of_id


@admin.register(Order)
class OrderAdmin(ShardedAdmin):
    """Orders of one shard at a time, found by their number on any."""

    list_display = ("id", "shop_name", "status", "payment_status", "total", "contact_name", "placed_at")
    list_filter: ClassVar = [DatabaseFilter, "status", "payment_status"]
    ordering = ("-id",)
    search_fields = ("=id", "=phone")
    readonly_fields = ("lines", "timeline")
    exclude = ("bucket", "limited", "sold_out", "cart_version")

    @admin.display(description=_("商品"))
    def lines(self, order: Order) -> SafeString:
        """What was ordered."""
        rows = lines_of([order.pk], using=shard_of_id(order.pk))[order.pk]
        return format_html_join("", "{} × {} = ¥{}<br>", ((x.name, x.quantity, x.amount) for x in rows))

    @admin.display(description=_("时间线"))
    def timeline(self, order: Order) -> SafeString:
        """Every change, oldest first."""
        rows = history_of([order.pk], using=shard_of_id(order.pk))[order.pk]
        cells = ((f"{x.at:%F %T}", x.get_actor_display(), x.target, x.reason_text()) for x in rows)
        return format_html_join("", "{} {} → {} {}<br>", cells)


@admin.register(Saga)
class SagaAdmin(ShardedAdmin):
    """How far each order's saga is; stuck ones can be run again."""

    list_display = ("order_id", "state", "step", "attempts", "next_at", "error")
    list_filter: ClassVar = [DatabaseFilter, "state", "step"]
    ordering = ("-order_id",)
    search_fields = ("=order_id",)
    actions = ("run_again",)

    @admin.action(description=_("重新执行"), permissions=["run_again"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Saga]) -> None:
        """Take stuck sagas up again."""
        stuck = list(queryset.filter(state=Saga.State.STUCK).values_list("order_id", flat=True))
        for order_id in stuck:
            services.retry_saga(order_id)
        messages.info(request, ngettext("%d 个流程将重新执行", "%d 个流程将重新执行", len(stuck)) % len(stuck))

    def has_run_again_permission(self, request: HttpRequest) -> bool:
        """For superusers."""
        return bool(request.user.is_superuser)
