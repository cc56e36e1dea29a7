"""Refusals of the payments app, each with its stable code."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from waimai.infra.errors import DomainError


class AlreadyPaid(DomainError):
    """The order has a captured payment; there is nothing to pay."""

    code, status, title = "already_paid", 409, _("该订单已支付")


class PaymentRefused(DomainError):
    """The provider says no to this payment, and would say no again."""

    code, status, title = "payment_refused", 409, _("支付渠道拒绝了这笔支付")


class RefundNotPossible(DomainError):
    """The payment was never captured, so there is nothing to give back."""

    code, status, title = "refund_not_possible", 409, _("该支付没有可退的款项")


class RefundTooLarge(DomainError):
    """The refunds of a payment would exceed what was captured; `remaining` (yuan) is still possible."""

    code, status, title = "refund_too_large", 409, _("退款金额超过可退金额")


class WebhookRefused(DomainError):
    """The notification has no valid signature, or is older than five minutes."""

    code, status, title = "webhook_refused", 401, _("通知签名无效")


class WebhookMalformed(DomainError):
    """The signature is right but the content can't be read."""

    code, status, title = "webhook_malformed", 400, _("通知内容无法识别")


class WebhookTooLarge(DomainError):
    """The notification is longer than 64 KB."""

    code, status, title = "payload_too_large", 413, _("通知内容过大")
