"""The mini-program's door to the cart: a line is a dish and the names of what was chosen, joined by commas."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

import menu.services
from menu.services import ItemUnavailable, LineRequest, Menu, OptionInvalid
from orders import services
from orders.models import CartLine
from orders.sky_serializers import CartLineInput
from waimai.infra import ids
from waimai.infra.api import caller_id
from waimai.infra.sky import SkyView, clock, ok, picture, read, yuan

SET_MEAL, DISH = "set_meal", "dish"


class CartAddView(SkyView):
    """One more."""

    def post(self, request: Request) -> Response:
        """Put one more of a dish into the cart."""
        shown, line = _read_line(request)
        services.add_to_cart(user_id=caller_id(request), shop_id=shown.shop.id, line=line)
        return ok()


class CartSubView(SkyView):
    """One less."""

    def post(self, request: Request) -> Response:
        """Take one of a line out; a line that isn't there is no mistake."""
        shown, sent = menu.services.only_shop(), read(CartLineInput, request.data)
        cart = services.view_cart(user_id=caller_id(request), shop_id=shown.shop.id)
        wanted = _names(sent["dishFlavor"])
        for line in cart.lines:
            if line.item_id == sent["item"] and sorted(_chosen(shown, line)) == sorted(wanted):
                services.take_one_from_cart(user_id=caller_id(request), shop_id=shown.shop.id, line_id=line.id)
                break
        return ok()


class CartListView(SkyView):
    """The cart."""

    def get(self, request: Request) -> Response:
        """Its lines at today's prices, the ones that can't be had now too."""
        shown, user_id = menu.services.only_shop(), caller_id(request)
        cart = services.view_cart(user_id=user_id, shop_id=shown.shop.id)
        prices = {line.index: yuan(line.unit_price) for line in cart.quote.lines}
        return ok([_line(request, shown, line, prices.get(index)) for index, line in enumerate(cart.lines)])


class CartCleanView(SkyView):
    """An empty cart."""

    def delete(self, request: Request) -> Response:
        """Take everything out."""
        services.clear_cart(user_id=caller_id(request), shop_id=menu.services.only_shop().shop.id)
        return ok()


def _read_line(request: Request) -> tuple[Menu, LineRequest]:
    """The menu, and one of what was sent. Raises ItemUnavailable, OptionInvalid."""
    shown, sent = menu.services.only_shop(), read(CartLineInput, request.data)
    item = shown.items.get(sent["item"])
    if item is None or item.kind != sent["kind"]:
        raise ItemUnavailable
    options: list[int] = []
    for name in _names(sent["dishFlavor"]):
        known = [one.id for group in item.option_groups for one in group.options if one.name == name]
        # Two groups may have a choice of the same name.
        found = next((number for number in known if number not in options), None)
        if found is None:
            raise OptionInvalid(_("“%(name)s”没有所选的规格。") % {"name": item.name})
        options.append(found)
    return shown, LineRequest(item_id=item.id, quantity=1, option_ids=tuple(options))


def _names(flavor: str) -> list[str]:
    return [name for part in flavor.split(",") if (name := part.strip())]


def _chosen(shown: Menu, line: CartLine) -> list[str]:
    """The names of a line's options, in the menu's order."""
    item, numbers = shown.items.get(line.item_id), set(line.options.split(","))
    groups = item.option_groups if item else ()
    return [one.name for group in groups for one in group.options if str(one.id) in numbers]


def _line(request: Request, shown: Menu, line: CartLine, price: float | None) -> dict[str, Any]:
    item = shown.items.get(line.item_id)
    kind = item.kind if item else DISH
    return {
        "id": line.id,
        "name": item.name if item else "",
        "userId": line.user_id,
        "dishId": line.item_id if kind == DISH else None,
        "setmealId": line.item_id if kind == SET_MEAL else None,
        "dishFlavor": ",".join(_chosen(shown, line)) or None,
        "number": line.quantity,
        "amount": price if price is not None else yuan(item.price) if item else 0.0,
        "image": picture(request, item.image if item else ""),
        "createTime": clock(ids.made_at(line.id), shown.shop.time_zone),
    }
