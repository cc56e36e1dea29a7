"""One row per paid order, in the default database: what staff look at. A copy; the order itself is on its shard."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from orders.states import PaymentStatus, Status

# The indexes of one shop's orders, and of all shops', in a state.
OF_A_SHOP, OF_ALL = "desk_board", "desk_waiting"
# The index of the rows of a day.
OF_A_DAY = "desk_day"
# As many digits as a pick-up number has at most; more are of a telephone.
LONGEST_NUMBER = 5


class DeskOrder(models.Model):
    """A paid order as staff see it, as of `version` of the order."""

    order_id = models.BigIntegerField(_("订单号"), primary_key=True)
    shop_id = models.BigIntegerField(_("店铺"))
    shop_name = models.CharField(_("店名"), max_length=64)
    user_id = models.BigIntegerField(_("顾客"))
    version = models.IntegerField(_("版本"))
    status = models.CharField(_("状态"), max_length=16, choices=Status.choices)
    payment_status = models.CharField(_("支付状态"), max_length=10, choices=PaymentStatus.choices)
    total = models.DecimalField(_("总额"), max_digits=10, decimal_places=2)
    contact_name = models.CharField(_("联系人"), max_length=32)
    phone = models.CharField(_("电话"), max_length=20)
    address_text = models.CharField(_("地址"), max_length=320)
    note = models.CharField(_("备注"), max_length=200)
    tableware = models.SmallIntegerField(_("餐具"))
    lines = models.JSONField(_("商品"))
    business_date = models.DateField(_("营业日"))
    deliver_at = models.DateTimeField(_("预约送达"), null=True)
    placed_at = models.DateTimeField(_("下单时间"))
    paid_at = models.DateTimeField(_("支付时间"))
    promised_at = models.DateTimeField(_("预计送达"), null=True)
    reminded_at = models.DateTimeField(_("催单时间"), null=True)
    latitude = models.DecimalField(_("纬度"), max_digits=9, decimal_places=6, null=True)
    longitude = models.DecimalField(_("经度"), max_digits=9, decimal_places=6, null=True)
    courier_id = models.BigIntegerField(_("骑手"), null=True)
    # What the shop last proposed to change, unless the customer agreed; what is left of the total by now.
    proposal = models.JSONField(_("换菜提议"), null=True)
    net_total = models.DecimalField(_("实收"), max_digits=10, decimal_places=2, null=True)
    # What people call out: counted per shop and business day as orders are paid. No copy of anything.
    number = models.IntegerField(_("取餐号"), null=True)
    applied_at = models.DateTimeField(_("更新时间"))

    class Meta:
        verbose_name = _("店铺订单")
        verbose_name_plural = _("店铺订单")
        indexes: ClassVar = [
            models.Index(fields=["shop_id", "status", "paid_at"], name=OF_A_SHOP),
            models.Index(fields=["business_date", "shop_id"], name=OF_A_DAY),
            models.Index(fields=["status", "paid_at"], name=OF_ALL),
        ]

    def __str__(self) -> str:
        return str(self.order_id)

    @property
    def net(self) -> Decimal:
        """What it costs now: the total less what accepted amendments gave back."""
        return self.total if self.net_total is None else self.net_total

    @property
    def is_asked(self) -> bool:
        """Whether a proposal waits for the customer's answer."""
        return self.proposal is not None and self.proposal["state"] == "proposed"

    @property
    def call_number(self) -> str:
        """What people call out: `#007`; of an order from before there were numbers the end of its own, `…4321`."""
        return f"…{self.order_id % 10_000:04d}" if self.number is None else f"#{self.number:03d}"


class PickupCounter(models.Model):
    """How many pick-up numbers a shop has given out on a business day. Locked while one is."""

    pk = models.CompositePrimaryKey("shop_id", "business_date")
    shop_id = models.BigIntegerField()
    business_date = models.DateField()
    n = models.IntegerField(default=0)


class LostSales(models.Model):
    """Orders of a shop and business day that came to nothing because something was sold out, and what they were for."""

    pk = models.CompositePrimaryKey("shop_id", "business_date")
    shop_id = models.BigIntegerField()
    business_date = models.DateField()
    orders = models.IntegerField(default=0)
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)


class Ticket(models.Model):
    """Something to be printed, once; who prints it again says so. `n` is the order's version it was made for."""

    class Kind(models.TextChoices):
        ORDER = "order", _("小票")
        CORRECTION = "correction", _("更正")

    order_id = models.BigIntegerField(_("订单号"))
    n = models.IntegerField(_("版本"))
    shop_id = models.BigIntegerField(_("店铺"))
    kind = models.CharField(_("类型"), max_length=10, choices=Kind.choices, default=Kind.ORDER)
    made_at = models.DateTimeField(_("生成时间"))
    # NULL until a printer has taken it.
    printed_at = models.DateTimeField(_("打印时间"), null=True)
    printed_by = models.BigIntegerField(_("打印人"), null=True)
    reprints = models.SmallIntegerField(_("补打次数"), default=0)

    class Meta:
        verbose_name = _("小票")
        verbose_name_plural = _("小票")
        constraints: ClassVar = [models.UniqueConstraint(fields=["order_id", "n"], name="ticket_once")]
        indexes: ClassVar = [models.Index(fields=["shop_id", "printed_at", "id"], name="ticket_waiting")]

    def __str__(self) -> str:
        return f"{self.order_id}: {self.n}"


class BoardCounter(models.Model):
    """How many events a shop's board has had. Locked while one is added, so that no number is skipped or late."""

    shop_id = models.BigIntegerField(primary_key=True)
    n = models.BigIntegerField(default=0)


class BoardEvent(models.Model):
    """Something that the people at a shop's board have to see, numbered per shop without gaps."""

    class Kind(models.TextChoices):
        NEW_ORDER = "new_order", _("新订单")
        REMINDER = "reminder", _("催单")
        CANCELLATION = "cancellation", _("订单取消")
        CHANGE = "change", _("订单变化")
        SOLD_OUT = "sold_out", _("售罄")

    pk = models.CompositePrimaryKey("shop_id", "n")
    shop_id = models.BigIntegerField()
    n = models.BigIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    # The order, or the item that is sold out.
    subject_id = models.BigIntegerField()
    data = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["at"], name="board_event_at")]
