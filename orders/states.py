"""The states of an order and every way from one to another, declared once.

`docs/order-states.md` is the drawing of it (a test compares the two). The methods are never called: an order moves
only by `orders.changes.change_many`, a compare-and-set that reads its sources and target from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override
from django_fsm import FSMField, transition


class Status(models.TextChoices):
    """Where an order stands."""

    PLACING = "placing", _("提交中")
    PENDING_PAYMENT = "pending_payment", _("待付款")
    PAID = "paid", _("待接单")
    ACCEPTED = "accepted", _("已接单")
    DELIVERING = "delivering", _("派送中")
    COMPLETED = "completed", _("已完成")
    CANCELLED = "cancelled", _("已取消")


class PaymentStatus(models.TextChoices):
    """Where the money stands."""

    UNPAID = "unpaid", _("未支付")
    PAID = "paid", _("已支付")
    REFUNDING = "refunding", _("退款中")
    REFUNDED = "refunded", _("已退款")


class Actor(models.TextChoices):
    """Who made a change."""

    CUSTOMER = "customer", _("顾客")
    STAFF = "staff", _("商家")
    CLOCK = "clock", _("系统定时")
    PAYMENT = "payment", _("支付")
    SYSTEM = "system", _("系统")


class Reason(models.TextChoices):
    """Reasons that are ours; people's own words are kept as they wrote them."""

    PAYMENT_TIMEOUT = "payment_timeout", _("订单超时，自动取消")
    SOLD_OUT = "sold_out", _("商品已售罄")
    NOT_FINISHED = "not_finished", _("下单未完成，自动取消")
    FORGOTTEN_DELIVERY = "forgotten_delivery", _("派送超时，自动完成")
    # What a shop says most often, at a touch; the published product's words.
    SHOP_BUSY = "shop_busy", _("订单量较多，暂时无法接单")
    DISHES_GONE = "dishes_gone", _("菜品已销售完，暂时无法接单")
    SHOP_CLOSING = "shop_closing", _("餐厅已打烊，暂时无法接单")
    TOO_FAR = "too_far", _("超出配送范围")
    NO_COURIER = "no_courier", _("骑手不足无法配送")
    CUSTOMER_CALLED = "customer_called", _("顾客电话取消")


def in_words(reason: str) -> str:
    """A reason for those who know nothing of our codes and have no language of their own here."""
    with override(settings.LANGUAGE_CODE):
        return str(Reason(reason).label) if reason in Reason.values else reason


WITH_THE_SHOP = (Status.PAID, Status.ACCEPTED, Status.DELIVERING)


class OrderStates(models.Model):
    """The state field of an order and its transitions."""

    status = FSMField(_("状态"), max_length=16, choices=Status.choices, default=Status.PLACING)

    class Meta:
        abstract = True

    @transition(field=status, source=Status.PLACING, target=Status.PENDING_PAYMENT)
    def confirm(self) -> None:
        """The portions are held: the customer may pay."""

    @transition(field=status, source=Status.PLACING, target=Status.CANCELLED)
    def give_up(self) -> None:
        """Something was sold out, or placing failed again and again."""

    @transition(field=status, source=Status.PENDING_PAYMENT, target=Status.PAID)
    def pay(self) -> None:
        """The provider captured the money."""

    @transition(field=status, source=Status.PENDING_PAYMENT, target=Status.CANCELLED)
    def expire(self) -> None:
        """The clock: nobody paid in time."""

    @transition(field=status, source=[Status.PENDING_PAYMENT, Status.PAID], target=Status.CANCELLED)
    def cancel(self) -> None:
        """The customer, until the shop has accepted; refunded when paid."""

    @transition(field=status, source=Status.PAID, target=Status.ACCEPTED)
    def accept(self) -> None:
        """Staff will cook it."""

    @transition(field=status, source=Status.PAID, target=Status.CANCELLED)
    def reject(self) -> None:
        """Staff won't; refunded."""

    @transition(field=status, source=list(WITH_THE_SHOP), target=Status.CANCELLED)
    def withdraw(self) -> None:
        """Staff cancel with a reason; refunded."""

    @transition(field=status, source=Status.ACCEPTED, target=Status.DELIVERING)
    def deliver(self) -> None:
        """Handed to the courier."""

    @transition(field=status, source=Status.DELIVERING, target=Status.COMPLETED)
    def complete(self) -> None:
        """With the customer; by staff, or by the clock when it was forgotten."""


@dataclass(frozen=True)
class Move:
    """One declared transition: its name, the states it starts from and the one it leads to."""

    name: str
    sources: tuple[str, ...]
    target: str


def move_of(method: Callable[[Any], None]) -> Move:
    """What `@transition` declared of a method of `OrderStates`."""
    declared: dict[str, Any] = method._django_fsm.transitions  # type: ignore[attr-defined]
    target = next(iter(declared.values())).target
    return Move(method.__name__, tuple(str(source) for source in declared), str(target))


def moves() -> Sequence[Move]:
    """Every declared transition."""
    methods = [value for value in vars(OrderStates).values() if hasattr(value, "_django_fsm")]
    return [move_of(method) for method in methods]


def is_legal(source: str, target: str) -> bool:
    """Whether some transition leads from one state to the other; an order begins from nothing ("")."""
    if source == "":
        return target in (Status.PLACING, Status.PENDING_PAYMENT)
    return any(source in move.sources and target == move.target for move in moves())
