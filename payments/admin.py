"""Payments, refunds and alerts to look at, one database at a time."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from payments import providers, services
from payments.models import LedgerEntry, Payment, PaymentAlert, ProviderTransaction, Refund
from payments.states import PaymentStatus, RefundStatus
from waimai.infra.admin import DatabaseFilter, KnownValues, ShardedAdmin, as_id, press
from waimai.infra.admin_base import coloured, link_to

PAYMENT_COLOURS = {"captured": "success", "failed": "danger", "pending": "warning", "init": "warning"}
REFUND_COLOURS = {"succeeded": "success", "pending": "warning"}


class ProviderFilter(KnownValues):
    """By who moved the money."""

    title, parameter_name = _("支付渠道"), "provider"
    known = staticmethod(lambda: providers.every().items())


class Linked:
    """Columns that lead to the order and the payment a row is about."""

    @admin.display(description=_("订单号"))
    def order(self, row: Any) -> SafeString:
        """The way to the order."""
        return link_to("orders_order", row.order_id)

    @admin.display(description=_("支付号"))
    def payment(self, row: Any) -> SafeString:
        """The way to the payment."""
        return link_to("payments_payment", row.payment_id)


@admin.register(Payment)
class PaymentAdmin(Linked, ShardedAdmin):
    """Attempts to pay."""

    list_display = ("id", "order", "amount", "state", "provider", "created_at", "captured_at")
    readonly_fields = ("order", "customer")
    exclude = ("bucket", "order_id", "user_id")
    list_filter: ClassVar[Any] = [DatabaseFilter, "status", ProviderFilter]
    search_fields = ("=id", "=order_id")
    search_help_text = _("支付号、订单号或渠道流水号")
    ordering = ("-id",)

    @admin.display(description=_("状态"))
    @coloured(PAYMENT_COLOURS)
    def state(self, row: Payment) -> tuple[str, str]:
        """Where it stands."""
        return row.status, str(PaymentStatus(row.status).label)

    @admin.display(description=_("顾客"))
    def customer(self, row: Payment) -> SafeString:
        """The way to who pays."""
        return link_to("accounts_user", row.user_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        """Also by what the provider calls it: the table of transactions has an index for that, payments have none."""
        text = search_term.strip()
        if not text or as_id(text):
            return super().get_search_results(request, queryset, search_term)
        known = ProviderTransaction.objects.on(queryset.db).filter(provider__in=providers.every(), transaction_id=text)
        return queryset.filter(pk__in=list(known.values_list("payment_id", flat=True))), False


@admin.register(Refund)
class RefundAdmin(Linked, ShardedAdmin):
    """Money on its way back, and why it isn't there yet."""

    list_display = (
        "id",
        "order",
        "payment",
        "amount",
        "purpose",
        "state",
        "attempts",
        "last_error",
        "created_at",
    )
    list_filter: ClassVar[Any] = [DatabaseFilter, "status", "purpose"]
    search_fields = ("=id", "=order_id", "=payment_id")
    search_help_text = _("退款号、订单号或支付号")
    readonly_fields = ("order", "payment")
    exclude = ("bucket", "order_id", "payment_id")
    ordering = ("-id",)
    actions = ("send_now",)

    @admin.display(description=_("状态"))
    @coloured(REFUND_COLOURS)
    def state(self, row: Refund) -> tuple[str, str]:
        """Where it stands."""
        return row.status, str(RefundStatus(row.status).label)

    @admin.action(description=_("立即重试退款"), permissions=["operate"])
    def send_now(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        """Try the chosen refunds at once; those that are done are passed over."""
        using = queryset.db
        count = press(
            request,
            queryset,
            _("立即重试退款"),
            lambda refund: services.send_refunds_now(refund_ids=[refund.id], using=using) == 1,
        )
        messages.info(request, ngettext("%d 笔退款将立即重试", "%d 笔退款将立即重试", count) % count)


@admin.register(PaymentAlert)
class PaymentAlertAdmin(Linked, ShardedAdmin):
    """What a person has to look at."""

    list_display = ("created_at", "kind", "provider", "payment", "detail")
    list_filter: ClassVar[Any] = [DatabaseFilter, "kind", ProviderFilter]
    search_fields = ("=payment_id",)
    ordering = ("-id",)


@admin.register(LedgerEntry)
class LedgerAdmin(Linked, ShardedAdmin):
    """Every movement of money, and what people adjusted; `manage.py payments adjust` adds to it."""

    list_display = (
        "created_at",
        "kind",
        "amount",
        "order",
        "payment",
        "provider",
        "reference",
        "actor",
        "reason",
    )
    list_filter: ClassVar[Any] = [DatabaseFilter, "kind", ProviderFilter, "created_at"]
    search_fields = ("=id", "=order_id")
    search_help_text = _("流水号或订单号")
    ordering = ("-created_at", "-id")
