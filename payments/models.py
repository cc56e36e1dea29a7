"""Tables of payments, all on the order shards. They know an order only by its number.

`Payment` is shaped so that MySQL can partition it by month on its id: no foreign keys and no unique key but the id.
What must be unique across months (a provider's transaction, a notification) has a small side table of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar, Never

from django.db import models
from django.db.models import CompositePrimaryKey, Q
from django.utils.translation import gettext_lazy as _

from payments.states import PaymentStatus, RefundStatus
from waimai.infra.fields import ExactCharField
from waimai.infra.sharding import ShardedManager, ShardedModel, ShardedQuerySet

MONEY: dict[str, Any] = {"max_digits": 10, "decimal_places": 2}


class Payment(ShardedModel):
    """One attempt to pay one order with one provider. Its id is the number the provider knows it by."""

    partitioned_by = "id"

    id = models.BigIntegerField(_("支付号"), primary_key=True)
    order_id = models.BigIntegerField(_("订单号"))
    user_id = models.BigIntegerField(_("用户"))
    provider = models.CharField(_("支付渠道"), max_length=16)
    amount = models.DecimalField(_("金额"), **MONEY)
    description = models.CharField(_("说明"), max_length=120, blank=True)
    status = models.CharField(_("状态"), max_length=16, choices=PaymentStatus.choices, default=PaymentStatus.INIT)
    client_parameters = models.JSONField(_("客户端参数"), default=dict, blank=True)
    transaction_id = models.CharField(_("渠道流水号"), max_length=64, blank=True)
    failure = models.CharField(_("失败原因"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("创建时间"))
    expires_at = models.DateTimeField(_("截止时间"))
    captured_at = models.DateTimeField(_("支付时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("支付")
        verbose_name_plural = _("支付")
        indexes: ClassVar = [models.Index(fields=["order_id"], name="payment_order")]
        constraints: ClassVar = [models.CheckConstraint(condition=Q(amount__gt=0), name="payment_amount_positive")]

    def __str__(self) -> str:
        return f"{self.pk} ¥{self.amount}"


class ProviderTransaction(ShardedModel):
    """Which payment a provider's transaction paid: one transaction pays one payment."""

    pk = CompositePrimaryKey("provider", "transaction_id")
    provider = models.CharField(max_length=16)
    transaction_id = ExactCharField(max_length=64)
    payment_id = models.BigIntegerField()


class WebhookReceipt(ShardedModel):
    """A notification that was taken in; the same one again changes nothing."""

    pk = CompositePrimaryKey("provider", "notify_id")
    provider = models.CharField(max_length=16)
    notify_id = ExactCharField(max_length=64)
    payment_id = models.BigIntegerField()
    received_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["received_at"], name="webhook_received")]


class PaymentAlert(ShardedModel):
    """Something about money that a person has to look at. Rows are only ever added."""

    class Kind(models.TextChoices):
        WRONG_AMOUNT = "wrong_amount", _("金额不符")
        OTHER_MERCHANT = "other_merchant", _("商户不符")
        OTHER_PROVIDER = "other_provider", _("支付渠道不符")
        UNKNOWN_PAYMENT = "unknown_payment", _("支付不存在")
        TRANSACTION_REUSED = "transaction_reused", _("流水号重复使用")
        SECOND_TRANSACTION = "second_transaction", _("重复扣款")
        REFUND_STUCK = "refund_stuck", _("退款多次失败")
        UNKNOWN_REFUND = "unknown_refund", _("退款不存在")
        PAYMENT_UNSETTLED = "payment_unsettled", _("支付结果长时间未知")
        # What the provider's statement says otherwise.
        PROVIDER_ONLY = "provider_only", _("仅渠道有记录")
        OURS_ONLY = "ours_only", _("仅我方有记录")
        AMOUNT_DIFFERS = "amount_differs", _("对账金额不一致")
        STATE_DIFFERS = "state_differs", _("对账状态不一致")

    id = models.BigIntegerField(primary_key=True)
    kind = models.CharField(_("类型"), max_length=24, choices=Kind.choices)
    provider = models.CharField(_("支付渠道"), max_length=16)
    payment_id = models.BigIntegerField(_("支付号"))
    detail = models.CharField(_("详情"), max_length=200)
    # What may be told once only has a name here.
    once = ExactCharField(max_length=64, null=True, unique=True, editable=False)
    created_at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("支付告警")
        verbose_name_plural = _("支付告警")


class Refund(ShardedModel):
    """Money on its way back. Its id is the number the provider knows it by, the same at every try."""

    archived_by = "order_id"

    id = models.BigIntegerField(_("退款号"), primary_key=True)
    payment_id = models.BigIntegerField(_("支付号"))
    order_id = models.BigIntegerField(_("订单号"))
    amount = models.DecimalField(_("金额"), **MONEY)
    # Why, for programs, and which one of that kind: together they name a refund of a payment.
    purpose = models.CharField(_("用途"), max_length=16)
    ref = models.CharField(_("依据"), max_length=40)
    reason = models.CharField(_("原因"), max_length=200, blank=True)
    # It takes all that was left of its payment; there can be one such refund only.
    closing = models.BooleanField(_("全额退清"))
    status = models.CharField(_("状态"), max_length=16, choices=RefundStatus.choices, default=RefundStatus.PENDING)
    attempts = models.IntegerField(_("尝试次数"), default=0)
    last_error = models.CharField(_("最近错误"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("创建时间"))
    succeeded_at = models.DateTimeField(_("退款时间"), null=True, blank=True)

    class Meta:
        verbose_name = _("退款")
        verbose_name_plural = _("退款")
        indexes: ClassVar = [models.Index(fields=["order_id"], name="refund_order")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["payment_id", "purpose", "ref"], name="refund_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="refund_amount_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} ¥{self.amount}"


class AppendOnlyError(TypeError):
    """Somebody tried to change or delete what is only ever added."""


class AppendOnlyQuerySet(ShardedQuerySet[Any]):
    """Rows to read and to add to."""

    def update(self, **kwargs: Any) -> Never:
        """Refused."""
        raise AppendOnlyError("rows of the ledger are never changed")

    def delete(self) -> Never:
        """Refused."""
        raise AppendOnlyError("rows of the ledger are never deleted")


class AppendOnlyManager(ShardedManager[Any]):
    """The manager of a sharded table that only grows. `_base_manager` moves its rows to another shard."""

    def get_queryset(self) -> AppendOnlyQuerySet:
        """A query that isn't routed yet."""
        return AppendOnlyQuerySet(self.model, using=self._db)


class LedgerEntry(ShardedModel):
    """Money that moved, or that a person says has moved: one row each, never changed and never deleted.

    Its id is the number of the payment, refund or adjustment that it books: one number, one entry, and on MySQL the
    column by which months stand apart. `amount` in yuan, what we gave back is negative.
    """

    partitioned_by = "id"

    class Kind(models.TextChoices):
        CHARGE = "charge", _("收款")
        REFUND = "refund", _("退款")
        ADJUSTMENT = "adjustment", _("调整")

    id = models.BigIntegerField(_("流水号"), primary_key=True)
    kind = models.CharField(_("类型"), max_length=16, choices=Kind.choices)
    amount = models.DecimalField(_("金额"), **MONEY)
    order_id = models.BigIntegerField(_("订单号"))
    payment_id = models.BigIntegerField(_("支付号"))
    provider = models.CharField(_("支付渠道"), max_length=16)
    # What the provider calls it: a charge's transaction; of a refund our own number.
    reference = models.CharField(_("渠道流水号"), max_length=64, blank=True)
    actor = models.CharField(_("经办人"), max_length=64, blank=True)
    reason = models.CharField(_("原因"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("时间"))

    objects: Any = AppendOnlyManager()

    class Meta:
        verbose_name = _("账目")
        verbose_name_plural = _("账目")
        indexes: ClassVar = [
            models.Index(fields=["order_id"], name="ledger_order"),
            models.Index(fields=["created_at"], name="ledger_created"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind="charge", amount__gt=0)
                | Q(kind="refund", amount__lt=0)
                | (Q(kind="adjustment") & ~Q(amount=0)),
                name="ledger_sign",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk} ¥{self.amount}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; one that is there is never saved again."""
        if not self._state.adding or not kwargs.get("force_insert"):
            raise AppendOnlyError("rows of the ledger are never changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        """Refused."""
        raise AppendOnlyError("rows of the ledger are never deleted")


# --- the sandbox gateway's own books: our side never reads them, only its provider does ---


class SandboxCharge(ShardedModel):
    """What the sandbox knows of a payment."""

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        FAILED = "failed"
        CLOSED = "closed"

    payment_id = models.BigIntegerField(primary_key=True)
    amount = models.DecimalField(**MONEY)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    transaction_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    captured_at = models.DateTimeField(null=True)


class SandboxRefund(ShardedModel):
    """What the sandbox gave back, by our refund number."""

    refund_id = models.BigIntegerField(primary_key=True)
    payment_id = models.BigIntegerField()
    amount = models.DecimalField(**MONEY)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["payment_id"], name="sandbox_refund_payment")]


class SandboxNotice(ShardedModel):
    """What the sandbox was told to do with a charge at `due_at`, and how often it then calls our webhook.

    With a `refund_id` it tells of that refund, which is done. `claims` are members of its body that aren't true.
    """

    id = models.BigIntegerField(primary_key=True)
    payment_id = models.BigIntegerField()
    refund_id = models.BigIntegerField(null=True)
    outcome = models.CharField(max_length=16)
    claims = models.JSONField(default=dict, db_default={})
    due_at = models.DateTimeField()
    booked = models.BooleanField(default=False)
    times = models.IntegerField()
    sent = models.IntegerField(default=0)
    attempts = models.IntegerField(default=0)
    last_error = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["payment_id"], name="sandbox_notice_payment")]


class SandboxFault(models.Model):
    """What goes wrong with the next `remaining` calls of an operation on one database: for rehearsals."""

    operation = models.CharField(max_length=16, primary_key=True)
    mode = models.CharField(max_length=16)
    remaining = models.IntegerField()
    seconds = models.FloatField(default=0)

    objects: Any = ShardedManager()

    def __str__(self) -> str:
        return f"{self.operation}: {self.mode} x {self.remaining}"
