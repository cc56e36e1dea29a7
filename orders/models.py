"""Orders and carts, on the shard of their user.

Shaped so that MySQL can partition the growing tables (orders, lines, history) by id: no foreign keys, no unique key
besides the primary one; what must be unique otherwise (idempotency keys) stands in small tables of its own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import CompositePrimaryKey
from django.utils.translation import gettext_lazy as _

from orders.states import Actor, OrderStates, PaymentStatus, Reason, Status
from waimai.infra.sharding import ShardedModel

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


# As long as a unique key of MySQL may be; about twenty options.
LONGEST_OPTIONS = 191
OUR_REASONS = frozenset(Reason.values)
# The index of a customer's orders.
BY_USER = "order_of_user"
NOTHING = Decimal("0.00")


def _money(label: str | StrPromise) -> models.DecimalField[Decimal, Decimal]:
    return models.DecimalField(label, max_digits=10, decimal_places=2)


class Order(OrderStates, ShardedModel):
    """One order. `version` counts its changes: history rows are numbered by it and hearers go by it."""

    partitioned_by = "id"

    id = models.BigIntegerField(_("订单号"), primary_key=True)
    user_id = models.BigIntegerField(_("顾客"))
    shop_id = models.BigIntegerField(_("店铺"))
    shop_name = models.CharField(_("店名"), max_length=64)
    payment_status = models.CharField(
        _("支付状态"), max_length=10, choices=PaymentStatus.choices, default=PaymentStatus.UNPAID
    )
    version = models.IntegerField(_("版本"), default=1)
    goods_total = _money(_("商品金额"))
    packing_fee = _money(_("打包费"))
    delivery_fee = _money(_("配送费"))
    total = _money(_("总额"))
    contact_name = models.CharField(_("联系人"), max_length=32)
    phone = models.CharField(_("电话"), max_length=20)
    address_text = models.CharField(_("地址"), max_length=320)
    latitude = models.DecimalField(_("纬度"), max_digits=9, decimal_places=6, null=True)
    longitude = models.DecimalField(_("经度"), max_digits=9, decimal_places=6, null=True)
    note = models.CharField(_("备注"), max_length=200, default="")
    tableware = models.SmallIntegerField(_("餐具"), default=1)
    deliver_at = models.DateTimeField(_("预约送达"), null=True)
    business_date = models.DateField(_("营业日"))
    placed_at = models.DateTimeField(_("下单时间"))
    expires_at = models.DateTimeField(_("支付截止"))
    paid_at = models.DateTimeField(_("支付时间"), null=True)
    promised_at = models.DateTimeField(_("预计送达"), null=True)
    reminded_at = models.DateTimeField(_("催单时间"), null=True)
    # What accepted amendments gave back of the total: the total itself stays what was charged.
    refunded_part = models.DecimalField(
        _("已退差价"), max_digits=10, decimal_places=2, default=NOTHING, db_default=NOTHING
    )
    # Who brings it, once that is known.
    courier_id = models.BigIntegerField(_("骑手"), null=True)
    # True while portions of limited items are held or sold for it; decides whether the saga has stock to see to.
    limited = models.BooleanField(default=False)
    # The items that were missing, kept for the replay of the refusal.
    sold_out = models.JSONField(null=True)
    # The cart it was made from is emptied with the confirmation, if it is still the one that was seen.
    cart_version = models.IntegerField(null=True)

    class Meta:
        verbose_name = _("订单")
        verbose_name_plural = _("订单")
        indexes: ClassVar = [models.Index(fields=["user_id", "id"], name=BY_USER)]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def net_total(self) -> Decimal:
        """What the order costs after its amendments, in yuan."""
        return self.total - self.refunded_part


class OrderLine(ShardedModel):
    """What was ordered, with the names and prices of that moment."""

    partitioned_by = "order_id"

    pk = CompositePrimaryKey("order_id", "n")
    order_id = models.BigIntegerField()
    n = models.SmallIntegerField()
    item_id = models.BigIntegerField()
    kind = models.CharField(max_length=8)
    name = models.CharField(max_length=64)
    unit_price = _money(_("单价"))
    quantity = models.SmallIntegerField()
    amount = _money(_("金额"))
    options = models.JSONField(default=list)
    components = models.JSONField(default=list)
    image = models.CharField(max_length=255, default="")


class OrderChange(ShardedModel):
    """One change of an order's state; rows are only ever added."""

    partitioned_by = "order_id"

    pk = CompositePrimaryKey("order_id", "n")
    order_id = models.BigIntegerField()
    n = models.IntegerField()
    transition = models.CharField(max_length=16)
    source = models.CharField(max_length=16)
    target = models.CharField(max_length=16)
    actor = models.CharField(max_length=10, choices=Actor.choices)
    actor_id = models.BigIntegerField(null=True)
    reason = models.CharField(max_length=200, default="")
    at = models.DateTimeField()

    def get_target_display(self) -> str:
        """The state it led to, in the reader's language."""
        return str(Status(self.target).label)

    def reason_text(self) -> str:
        """The reason in the reader's language, where it is one of ours."""
        return str(Reason(self.reason).label) if self.reason in OUR_REASONS else self.reason


class Amendment(ShardedModel):
    """What the shop proposed to take from an order that it had accepted, or to bring instead; answered at most once.

    Lines are never edited: what is cooked are the lines with the accepted amendments applied (`orders.amendments`).
    """

    class State(models.TextChoices):
        PROPOSED = "proposed", _("待答复")
        ACCEPTED = "accepted", _("已同意")
        DECLINED = "declined", _("已拒绝")
        EXPIRED = "expired", _("已失效")

    archived_by = "order_id"

    pk = CompositePrimaryKey("order_id", "n")
    order_id = models.BigIntegerField()
    n = models.SmallIntegerField()
    # The line, and how many portions of it are taken away.
    line_n = models.SmallIntegerField()
    quantity = models.SmallIntegerField()
    # What comes instead, by the columns of a line; `unit_price` is what is charged for a portion. NULL: nothing comes.
    replacement = models.JSONField(null=True)
    refund = _money(_("退还差价"))
    state = models.CharField(max_length=10, choices=State.choices, default=State.PROPOSED)
    reason = models.CharField(max_length=200, default="")
    proposed_by = models.BigIntegerField()
    proposed_at = models.DateTimeField()
    answer_by = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)


class Saga(ShardedModel):
    """How far placing, paying or undoing an order has come, so that any process can go on after a crash.

    `next_at` is when recovery looks at it, and the lease of whoever works on it; NULL waits for news. `version` fences:
    who has lost the lease finds it changed.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("进行中")
        DONE = "done", _("已完成")
        COMPENSATING = "compensating", _("补偿中")
        COMPENSATED = "compensated", _("已补偿")
        STUCK = "stuck", _("卡住")

    class Step(models.TextChoices):
        RESERVE = "reserve", _("预留库存")
        CHARGE = "charge", _("收款")
        CONFIRM = "confirm", _("确认库存")

    archived_by = "order_id"

    order_id = models.BigIntegerField(_("订单号"), primary_key=True)
    state = models.CharField(_("状态"), max_length=12, choices=State.choices)
    step = models.CharField(_("步骤"), max_length=8, choices=Step.choices)
    release_stock = models.BooleanField(_("退回库存"), default=False)
    attempts = models.SmallIntegerField(_("尝试次数"), default=0)
    next_at = models.DateTimeField(_("下次处理"), null=True)
    version = models.IntegerField(_("版本"), default=1)
    error = models.CharField(_("错误"), max_length=500, default="")

    class Meta:
        verbose_name = _("流程")
        verbose_name_plural = _("流程")
        indexes: ClassVar = [models.Index(fields=["next_at"], name="saga_due")]

    def __str__(self) -> str:
        return str(self.order_id)


class Cart(ShardedModel):
    """A user's cart in a shop; `version` grows with every change and is what a checkout without a key goes by."""

    pk = CompositePrimaryKey("user_id", "shop_id")
    user_id = models.BigIntegerField()
    shop_id = models.BigIntegerField()
    version = models.IntegerField(default=0)


class CartLine(ShardedModel):
    """So many of an item with the same options."""

    id = models.BigIntegerField(primary_key=True)
    user_id = models.BigIntegerField()
    shop_id = models.BigIntegerField()
    item_id = models.BigIntegerField()
    # The option ids, sorted and joined by commas: part of what makes a line the same line.
    options = models.CharField(max_length=LONGEST_OPTIONS, default="")
    quantity = models.SmallIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user_id", "shop_id", "item_id", "options"], name="cart_line_once")
        ]


__all__ = ["Amendment", "Cart", "CartLine", "Order", "OrderChange", "OrderLine", "PaymentStatus", "Saga", "Status"]
