"""Why orders refuse: each with a stable code."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from waimai.infra.errors import DomainError, RateLimited


class InvalidTransition(DomainError):
    """The order is not in a state from which this can be done; `order_status` is the state it is in."""

    code, status, title = "invalid_transition", 409, _("订单当前状态不允许此操作")


class TotalChanged(DomainError):
    """What the customer was shown is no longer what it costs; `total` is the right one."""

    code, status, title = "total_changed", 409, _("价格有变动，请确认新的总额")


class OrdersUnderWay(DomainError):
    """The account can't be closed yet: an order or a refund of it hasn't come to its end."""

    code, status, title = "orders_under_way", 409, _("还有未完成的订单或退款，完成后才能注销")


class PlacingFailed(DomainError):
    """The order could not be placed and was given up; a new request with a new key may."""

    code, status, title = "placing_failed", 409, _("下单未完成，请重新下单")


class CartEmpty(DomainError):
    """There is nothing to order."""

    code, status, title = "cart_empty", 400, _("购物车是空的")


class DeliveryTimeInvalid(DomainError):
    """The chosen delivery time has passed or is too far ahead."""

    code, status, title = "delivery_time_invalid", 400, _("预约时间无效")


class AmendmentOpen(DomainError):
    """The customer hasn't answered the last proposal yet."""

    code, status, title = "amendment_open", 409, _("上一个换菜建议还在等顾客答复")


class AmendmentClosed(DomainError):
    """The proposal was answered otherwise, its time is over, or the order is beyond it."""

    code, status, title = "amendment_closed", 409, _("这个换菜建议已经结束")


class AmendmentNotPossible(DomainError):
    """It would leave nothing of the order, or nothing to pay: then the order is cancelled instead."""

    code, status, title = "amendment_not_possible", 409, _("不能去掉全部商品，请改为取消订单")


class RemindedAlready(RateLimited):
    """The shop was reminded a moment ago."""

    title = _("刚刚催过单了，请稍后再试")
