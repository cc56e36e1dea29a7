"""Payments, refunds and alerts to look at, one database at a time."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from payments import services
from payments.models import LedgerEntry, Payment, PaymentAlert, Refund
from waimai.infra.admin import DatabaseFilter, ShardedAdmin, press


@admin.register(Payment)
class PaymentAdmin(ShardedAdmin):
    """Attempts to pay."""

    list_display = ("id", "order_id", "user_id", "provider", "amount", "status", "created_at", "captured_at")
    list_filter: ClassVar[Any] = [DatabaseFilter, "status", "provider"]
    search_fields = ("=id", "=order_id", "=transaction_id")
    ordering = ("-id",)


@admin.register(Refund)
class RefundAdmin(ShardedAdmin):
    """Money on its way back, and why it isn't there yet."""

    list_display = (
        "id",
        "order_id",
        "payment_id",
        "amount",
        "purpose",
        "status",
        "attempts",
        "last_error",
        "created_at",
    )
    list_filter: ClassVar[Any] = [DatabaseFilter, "status", "purpose"]
    search_fields = ("=id", "=order_id", "=payment_id")
    ordering = ("-id",)
    actions = ("send_now",)

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
class PaymentAlertAdmin(ShardedAdmin):
    """What a person has to look at."""

    list_display = ("created_at", "kind", "provider", "payment_id", "detail")
    list_filter: ClassVar[Any] = [DatabaseFilter, "kind", "provider"]
    search_fields = ("=payment_id",)
    ordering = ("-id",)


@admin.register(LedgerEntry)
class LedgerAdmin(ShardedAdmin):
    """Every movement of money, and what people adjusted; `manage.py payments adjust` adds to it."""

    list_display = (
        "created_at",
        "kind",
        "amount",
        "order_id",
        "payment_id",
        "provider",
        "reference",
        "actor",
        "reason",
    )
    list_filter: ClassVar[Any] = [DatabaseFilter, "kind", "provider", "created_at"]
    search_fields = ("=id", "=order_id", "=payment_id", "=reference")
    ordering = ("-created_at", "-id")
