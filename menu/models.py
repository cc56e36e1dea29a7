"""What a shop sells: the shop, its menu and its stock. All of it on the default database."""

from __future__ import annotations

import datetime as dt
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CompositePrimaryKey, F, Q
from django.db.models.fields import NOT_PROVIDED
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menu import geo

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    MoneyField = models.DecimalField[Decimal | int | str, Decimal]

# Far above any dish, and low enough that a full cart's total fits its column.
HIGHEST_PRICE = Decimal("9999.99")
HIGHEST_DELTA = Decimal("999.99")


def first_version() -> int:
    """A menu version for a new shop: later than any that an older row of the same id could have had."""
    return time.time_ns() // 1000


def money_field(
    label: StrOrPromise, *, highest: Decimal = HIGHEST_PRICE, lowest: Decimal = Decimal(0), default: Any = NOT_PROVIDED
) -> MoneyField:
    """Yuan with two places, from `lowest` to `highest`."""
    return models.DecimalField(
        label,
        max_digits=10,
        decimal_places=2,
        validators=[MinValueValidator(lowest), MaxValueValidator(highest)],
        default=default,
    )


class Kind(models.TextChoices):
    """What a category holds and an item is."""

    DISH = "dish", _("菜品")
    SET_MEAL = "set_meal", _("套餐")


class Shop(models.Model):
    """A shop and the terms on which it delivers."""

    name = models.CharField(_("店名"), max_length=64, unique=True)
    time_zone = models.CharField(_("时区"), max_length=64, default="Asia/Shanghai")
    day_starts_at = models.TimeField(_("营业日开始"), default=dt.time(4), help_text=_("此前的订单算前一天的。"))
    is_open = models.BooleanField(_("营业中"), default=True, help_text=_("手动开关；关闭后不论营业时间都不接单。"))
    notice = models.CharField(_("公告"), max_length=200, blank=True)
    phone = models.CharField(_("电话"), max_length=32, blank=True)
    address = models.CharField(_("地址"), max_length=200, blank=True)
    latitude = models.DecimalField(_("纬度"), max_digits=9, decimal_places=6, null=True, blank=True)
    longitude = models.DecimalField(_("经度"), max_digits=9, decimal_places=6, null=True, blank=True)
    delivery_fee = money_field(_("配送费"), default=Decimal(0))
    packing_fee = money_field(_("打包费（每份）"), default=Decimal(0))
    minimum_order = money_field(_("起送价"), default=Decimal(0))
    prep_minutes = models.PositiveSmallIntegerField(_("备餐时间（分钟）"), default=30)
    delivery_area = models.JSONField(
        _("配送范围"),
        null=True,
        blank=True,
        validators=[geo.validate_polygon],
        help_text=_("GeoJSON 多边形，坐标为 [经度, 纬度]；留空表示不限。"),
    )
    # Grows with every change of the shop or its menu, in the same transaction: what copies are kept by.
    menu_version = models.BigIntegerField(default=first_version, editable=False)

    class Meta:
        verbose_name = _("店铺")
        verbose_name_plural = _("店铺")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As ever; a new shop is there at once, also for those who were just told that there is none."""
        from menu.versions import shop_opened

        new = self._state.adding
        super().save(*args, **kwargs)
        if new:
            shop_opened(self.pk)


class Weekday(models.IntegerChoices):
    """Days as Python counts them."""

    MONDAY = 0, _("周一")
    TUESDAY = 1, _("周二")
    WEDNESDAY = 2, _("周三")
    THURSDAY = 3, _("周四")
    FRIDAY = 4, _("周五")
    SATURDAY = 5, _("周六")
    SUNDAY = 6, _("周日")


class OpeningHours(models.Model):
    """A span in which the shop is open, in its own time; a shop without any is always open."""

    shop = models.ForeignKey(Shop, on_delete=models.CASCADE, related_name="opening_hours", verbose_name=_("店铺"))
    weekday = models.PositiveSmallIntegerField(_("星期"), choices=Weekday.choices)
    opens = models.TimeField(_("开始"))
    closes = models.TimeField(_("结束"), help_text=_("不晚于开始时，表示次日。"))

    class Meta:
        verbose_name = _("营业时间")
        verbose_name_plural = _("营业时间")
        ordering = ("weekday", "opens", "pk")

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.opens:%H:%M}–{self.closes:%H:%M}"


class Category(models.Model):
    """A heading of the menu; it holds dishes or set meals, never both."""

    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="categories", verbose_name=_("店铺"))
    name = models.CharField(_("名称"), max_length=32)
    kind = models.CharField(_("类型"), max_length=8, choices=Kind.choices, default=Kind.DISH)
    sort = models.IntegerField(_("排序"), default=0)
    is_active = models.BooleanField(_("启用"), default=True)

    class Meta:
        verbose_name = _("分类")
        verbose_name_plural = _("分类")
        ordering = ("sort", "pk")
        constraints = (models.UniqueConstraint(fields=["shop", "name"], name="category_name_once_per_shop"),)

    def __str__(self) -> str:
        return self.name


class Item(models.Model):
    """A dish or a set meal."""

    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="items", verbose_name=_("店铺"))
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="items", verbose_name=_("分类"))
    kind = models.CharField(_("类型"), max_length=8, choices=Kind.choices, default=Kind.DISH)
    name = models.CharField(_("名称"), max_length=64)
    price = money_field(_("价格"))
    # A name in the storage, or `static:` and a path among the static files (the demo's own pictures).
    image = models.CharField(_("图片"), max_length=191, blank=True)
    description = models.CharField(_("描述"), max_length=255, blank=True)
    on_sale = models.BooleanField(_("起售"), default=True)
    sort = models.IntegerField(_("排序"), default=0)
    components: models.ManyToManyField[Item, SetMealComponent] = models.ManyToManyField(
        "self",
        through="SetMealComponent",
        through_fields=("set_meal", "dish"),
        symmetrical=False,
        related_name="part_of",
    )

    class Meta:
        verbose_name = _("商品")
        verbose_name_plural = _("商品")
        ordering = ("sort", "pk")
        constraints = (models.UniqueConstraint(fields=["shop", "name"], name="item_name_once_per_shop"),)

    def __str__(self) -> str:
        return self.name


class OptionGroup(models.Model):
    """A choice that comes with an item: at least `min`, at most `max` of its options."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="option_groups", verbose_name=_("商品"))
    name = models.CharField(_("名称"), max_length=32)
    min = models.PositiveSmallIntegerField(_("最少选"), default=0)
    max = models.PositiveSmallIntegerField(_("最多选"), default=1, validators=[MinValueValidator(1)])
    sort = models.IntegerField(_("排序"), default=0)

    class Meta:
        verbose_name = _("选项组")
        verbose_name_plural = _("选项组")
        ordering = ("sort", "pk")
        constraints = (
            models.UniqueConstraint(fields=["item", "name"], name="option_group_name_once_per_item"),
            models.CheckConstraint(condition=Q(min__lte=F("max")), name="option_group_min_at_most_max"),
        )

    def __str__(self) -> str:
        return f"{self.item.name} · {self.name}"


class Option(models.Model):
    """One of the options of a group, and what it adds to the price."""

    group = models.ForeignKey(OptionGroup, on_delete=models.CASCADE, related_name="options", verbose_name=_("选项组"))
    name = models.CharField(_("名称"), max_length=32)
    price_delta = money_field(_("加价"), lowest=-HIGHEST_DELTA, highest=HIGHEST_DELTA, default=Decimal(0))
    sort = models.IntegerField(_("排序"), default=0)

    class Meta:
        verbose_name = _("选项")
        verbose_name_plural = _("选项")
        ordering = ("sort", "pk")
        constraints = (models.UniqueConstraint(fields=["group", "name"], name="option_name_once_per_group"),)

    def __str__(self) -> str:
        return self.name


class SetMealComponent(models.Model):
    """A dish in a set meal, and how many portions of it."""

    set_meal = models.ForeignKey(
        Item, on_delete=models.CASCADE, related_name="set_meal_components", verbose_name=_("套餐")
    )
    dish = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="set_meal_uses", verbose_name=_("菜品"))
    quantity = models.PositiveSmallIntegerField(_("份数"), default=1, validators=[MinValueValidator(1)])

    class Meta:
        verbose_name = _("套餐菜品")
        verbose_name_plural = _("套餐菜品")
        constraints = (models.UniqueConstraint(fields=["set_meal", "dish"], name="dish_once_per_set_meal"),)

    def __str__(self) -> str:
        return f"{self.dish.name} × {self.quantity}"


class Stock(models.Model):
    """Portions of an item; any number without a row, or not `limited`. The adjustments add up to all three (I1)."""

    item = models.OneToOneField(
        Item, on_delete=models.CASCADE, primary_key=True, related_name="stock", verbose_name=_("商品")
    )
    limited = models.BooleanField(_("限量"), default=False)
    available = models.IntegerField(_("可售"), default=0)
    held = models.IntegerField(_("待付款占用"), default=0)
    sold = models.IntegerField(_("已售"), default=0)
    # Sold out until then, and with how many it comes back (None: any number).
    back_at = models.DateTimeField(_("恢复时间"), null=True)
    back_with = models.IntegerField(_("恢复份数"), null=True)

    class Meta:
        verbose_name = _("库存")
        verbose_name_plural = _("库存")
        constraints = (models.CheckConstraint(condition=Q(available__gte=0), name="stock_never_negative"),)

    def __str__(self) -> str:
        more = f" → {timezone.localtime(self.back_at):%m-%d %H:%M}" if self.back_at else ""
        return f"{self.available if self.limited else '∞'}{more}"

    @property
    def orderable(self) -> int:
        """How many can be ordered: none until `back_at`, whatever orders give back."""
        return 0 if self.back_at else self.available


class StockAdjustment(models.Model):
    """Portions that were added or taken away by staff. Append-only."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="stock_adjustments", verbose_name=_("商品"))
    delta = models.IntegerField(_("变化"))
    reason = models.CharField(_("原因"), max_length=64, blank=True)
    made_at = models.DateTimeField(_("时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("库存调整")
        verbose_name_plural = _("库存调整")

    def __str__(self) -> str:
        return f"{self.item_id}: {self.delta:+d}"


class StockHold(models.Model):
    """Portions that an order has taken. No foreign keys: orders live elsewhere, and a hold outlasts its dish."""

    class State(models.TextChoices):
        LIVE = "live", _("占用")
        SOLD = "sold", _("已售")
        RELEASED = "released", _("已释放")

    pk = CompositePrimaryKey("order_id", "item_id")
    order_id = models.BigIntegerField()
    item_id = models.BigIntegerField()
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.LIVE)

    class Meta:
        verbose_name = _("库存占用")
        verbose_name_plural = _("库存占用")

    def __str__(self) -> str:
        return f"{self.order_id}: {self.item_id} × {self.quantity} ({self.state})"
