"""Why the menu refuses: each with a stable code."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from waimai.infra.errors import DomainError, NotFound, ValidationFailed


class NoSuchShop(NotFound):
    """There is no shop of that number."""

    title = _("没有这家店")


class NoSuchItem(NotFound):
    """There is no dish or set meal of that number."""

    title = _("没有这个商品")


class ItemUnavailable(DomainError):
    """Something on the list is gone or off sale; `items` says which."""

    code, status, title = "item_unavailable", 409, _("有商品已下架")


class OptionInvalid(DomainError):
    """The options of a line don't fit the item: unknown, too many, or one is missing."""

    code, status, title = "option_invalid", 400, _("所选规格无效")


class QuantityInvalid(DomainError):
    """A quantity is not a whole number from 1 to 99."""

    code, status, title = "quantity_invalid", 400, _("数量无效")


class ShopClosed(DomainError):
    """The shop takes no orders then; `opens_at` is when it does again, if that is known."""

    code, status, title = "shop_closed", 409, _("店铺已打烊")


class BelowMinimum(DomainError):
    """The goods cost less than the shop delivers for; `missing` yuan are missing."""

    code, status, title = "below_minimum", 409, _("未达到起送价")


class OutOfDeliveryArea(DomainError):
    """The shop doesn't deliver to that place."""

    code, status, title = "out_of_delivery_area", 409, _("超出配送范围")


class SoldOut(DomainError):
    """There are fewer portions left than wanted; `items` says of what, and how many there are."""

    code, status, title = "sold_out", 409, _("有商品已售罄")


class MenuRuleBroken(DomainError):
    """A change of the menu that its rules forbid; the detail says which."""

    code, status, title = "menu_rule", 409, _("菜单规则不允许这样修改")


class PictureRefused(ValidationFailed):
    """The uploaded file is not a picture that we take."""

    code, status, title = "picture_refused", 400, _("图片不符合要求")
