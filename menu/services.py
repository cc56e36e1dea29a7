"""The menu's front door: shops, menus, prices, stock, and every change of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from menu import geo, pricing
from menu.catalogue import (
    found,
    get_menu,
    get_shop,
    image_url,
    list_shops,
    menu_document,
    on_sale,
    shop_info,
    shop_of_item,
    shops,
)
from menu.counting import sold_out_now
from menu.editing import (
    delete_category,
    delete_item,
    put_on_sale,
    set_open,
    stop_selling,
    why_category_stays,
    why_not_deletable,
    why_not_startable,
)
from menu.errors import (
    BelowMinimum,
    ItemUnavailable,
    MenuRuleBroken,
    NoSuchItem,
    NoSuchShop,
    OptionInvalid,
    OutOfDeliveryArea,
    PictureRefused,
    QuantityInvalid,
    ShopClosed,
    SoldOut,
)
from menu.hours import business_date, clock_ahead, hours_on, is_open_at, next_opening, open_until
from menu.only_shop import only_shop
from menu.pricing import LineProblem, LineRequest, Quote, QuotedComponent, QuotedLine, QuotedOption, price
from menu.selling_out import bring_back, sell_out
from menu.snapshot import Menu, ShopInfo
from menu.stock import (
    HoldInfo,
    StockInfo,
    confirm_stock,
    hold_stock,
    holds_of,
    release_stock,
    set_stock,
    stock_of,
    stock_problems,
)
from menu.stock_batches import hold_many
from menu.uploads import redraw as redraw_picture
from menu.uploads import store as keep_picture
from menu.uploads import store_picture
from menu.versions import MenuDocument, menu_changed, prepared_menus

__all__ = [
    "BelowMinimum",
    "HoldInfo",
    "ItemUnavailable",
    "LineProblem",
    "LineRequest",
    "Menu",
    "MenuDocument",
    "MenuRuleBroken",
    "NoSuchItem",
    "NoSuchShop",
    "OptionInvalid",
    "OutOfDeliveryArea",
    "PictureRefused",
    "QuantityInvalid",
    "Quote",
    "QuotedComponent",
    "QuotedLine",
    "QuotedOption",
    "ShopClosed",
    "ShopInfo",
    "SoldOut",
    "StockInfo",
    "bring_back",
    "business_date",
    "check_orderable",
    "clock_ahead",
    "confirm_stock",
    "delete_category",
    "delete_item",
    "delivers_to",
    "found",
    "get_menu",
    "get_shop",
    "hold_many",
    "hold_stock",
    "holds_of",
    "hours_on",
    "image_url",
    "is_open_at",
    "keep_picture",
    "list_shops",
    "menu_changed",
    "menu_document",
    "next_opening",
    "on_sale",
    "only_shop",
    "open_until",
    "prepared_menus",
    "price",
    "put_on_sale",
    "quote",
    "redraw_picture",
    "release_stock",
    "sell_out",
    "set_open",
    "set_stock",
    "shop_info",
    "shop_of_item",
    "shops",
    "sold_out_now",
    "stock_of",
    "stock_problems",
    "stop_selling",
    "store_picture",
    "why_category_stays",
    "why_not_deletable",
    "why_not_startable",
]


def quote(*, shop_id: int, lines: Sequence[LineRequest]) -> Quote:
    """Price lines by the shop's present menu; a line that can't be ordered becomes a problem. Raises NoSuchShop."""
    return pricing.price(get_menu(shop_id), lines)


def delivers_to(shop: ShopInfo, *, latitude: float | None, longitude: float | None) -> bool:
    """Whether the shop delivers to a place (degrees, WGS 84); to an unknown one only if it delivers everywhere."""
    if shop.delivery_area is None:
        return True
    if latitude is None or longitude is None:
        return False
    return geo.contains(shop.delivery_area, latitude=latitude, longitude=longitude)


def check_orderable(
    quote: Quote,
    *,
    at: datetime,
    latitude: float | None = None,
    longitude: float | None = None,
    unplaced: bool = False,
) -> None:
    """Whether the shop takes this order for the moment `at` and that place.

    Raises ShopClosed, OutOfDeliveryArea (also when the area is limited and the place unknown, unless `unplaced` lets
    that pass for people to look at) or BelowMinimum (also when there is nothing to pay at all).
    """
    shop = quote.shop
    if not is_open_at(shop, at):
        opens_at = next_opening(shop, at)
        raise ShopClosed(opens_at=opens_at.isoformat() if opens_at else None)
    unknown_passes = unplaced and latitude is None and longitude is None
    if not unknown_passes and not delivers_to(shop, latitude=latitude, longitude=longitude):
        raise OutOfDeliveryArea
    if quote.goods_total < shop.minimum_order:
        raise BelowMinimum(missing=f"{shop.minimum_order - quote.goods_total:.2f}")
    if not quote.total:
        # No provider takes a payment of nothing: the order would wait for it until it expires.
        raise BelowMinimum(missing="0.01")
