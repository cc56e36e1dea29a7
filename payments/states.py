"""The states of a payment and of a refund, and which of them may follow which.

A payment: `init → pending → captured`, with `failed` and `closed` beside. Money is the truth: what the provider
captured after we gave the payment up (`failed`, `closed`) is captured all the same, and refunded when nobody wants it.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class PaymentStatus(models.TextChoices):
    """Where a payment stands."""

    INIT = "init", _("已创建")  # Written down here; the provider may not know of it yet.
    PENDING = "pending", _("待支付")  # The provider knows it, the payer may pay.
    CAPTURED = "captured", _("已支付")
    FAILED = "failed", _("支付失败")
    CLOSED = "closed", _("已关闭")  # It expired and the provider takes no money for it any more.


class RefundStatus(models.TextChoices):
    """Where a refund stands. There is no failure: it is tried until it is done."""

    PENDING = "pending", _("退款中")
    SUCCEEDED = "succeeded", _("已退款")


# From where a payment may come into each state.
SOURCES: dict[PaymentStatus, tuple[PaymentStatus, ...]] = {
    PaymentStatus.INIT: (),
    PaymentStatus.PENDING: (PaymentStatus.INIT,),
    PaymentStatus.CAPTURED: (
        PaymentStatus.INIT,
        PaymentStatus.PENDING,
        PaymentStatus.FAILED,
        PaymentStatus.CLOSED,
    ),
    PaymentStatus.FAILED: (PaymentStatus.INIT, PaymentStatus.PENDING),
    PaymentStatus.CLOSED: (PaymentStatus.INIT, PaymentStatus.PENDING),
}

OPEN = (PaymentStatus.INIT, PaymentStatus.PENDING)
