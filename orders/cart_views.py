"""The pages of the cart. Every form works without JavaScript; guests may fill a cart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.middleware import HtmxDetails

import menu.services
from menu.services import LineRequest
from orders.basket import basket
from orders.cart import as_request
from orders.forms import AddForm, QuantityForm, RestoreForm, written
from orders.guest_cart import GuestCart, UserCart, take_over
from orders.models import CartLine
from orders.services import CartFull
from waimai.infra.errors import DomainError, NotFound

LAST_SHOP = "last_shop"
# What was just taken out of which cart.
UNDO = "undo"
SERVER_ERROR = 500


class HtmxRequest(HttpRequest):
    """A request as the htmx middleware leaves it."""

    htmx: HtmxDetails


def cart_of(request: HttpRequest, shop_id: int) -> GuestCart | UserCart:
    """The visitor's cart in a shop; what was chosen before login is in it."""
    user_id = request.user.pk
    if user_id is None:
        return GuestCart(request.session, shop_id)
    try:
        take_over(request.session, user_id=user_id, shop_id=shop_id)
    except CartFull:
        messages.warning(request, _("登录前选的商品暂时放不进购物车，清出位置后会自动加入。"))
    return UserCart(user_id, shop_id)


@require_safe
def my_cart(request: HttpRequest) -> HttpResponse:
    """The cart that was last put something into, or that of the only shop; else a shop has to be chosen first."""
    shops = [shop.id for shop in menu.services.list_shops()]
    last = request.session.get(LAST_SHOP)
    if last in shops or len(shops) == 1:
        return redirect("cart", last if last in shops else shops[0])
    return redirect("home")


@never_cache
@require_safe
def cart(request: HtmxRequest, shop_id: int) -> HttpResponse:
    """What is in the cart, at today's prices: a page, or a sheet over the menu."""
    if request.htmx:
        return _changed(request, shop_id)
    view = cart_of(request, shop_id).view()
    context = {"shop": view.quote.shop, "basket": basket(view), "undo": _undo(request, shop_id)}
    return render(request, "orders/cart.html", context)


@require_POST
def cart_add(request: HtmxRequest, shop_id: int) -> HttpResponse:
    """Put something into the cart and go back to where it stood on the menu."""
    form = AddForm(request.POST)
    refusal = "" if form.is_valid() else _("请检查数量和规格")
    if not refusal:
        refusal = _put_in(request, shop_id, [form.line()])
    item = form.cleaned_data.get("item", "")
    if request.htmx:
        return _changed(request, shop_id, item, refusal=refusal)
    if refusal:
        messages.error(request, refusal)
    return redirect(f"{reverse('shop_menu', args=[shop_id])}#item-{item}")


@require_POST
def cart_restore(request: HtmxRequest, shop_id: int) -> HttpResponse:
    """Put in again what was taken out."""
    form = RestoreForm(request.POST)
    refusal = "" if form.is_valid() else _("请检查数量和规格")
    lines = form.lines() if form.is_valid() else []
    refusal = refusal or _put_in(request, shop_id, lines)
    if request.htmx:
        return _changed(request, shop_id, *(line.item_id for line in lines), refusal=refusal)
    if refusal:
        messages.error(request, refusal)
    return redirect("cart", shop_id)


def _put_in(request: HttpRequest, shop_id: int, lines: Sequence[LineRequest]) -> str:
    """Why it isn't in the cart; empty when it is."""
    try:
        for line in lines:
            cart_of(request, shop_id).add(line)
    except DomainError as error:
        if isinstance(error, NotFound) or error.status >= SERVER_ERROR:
            raise
        return error.told
    request.session[LAST_SHOP] = shop_id
    return ""


@require_POST
def cart_line(request: HtmxRequest, shop_id: int, line_id: int) -> HttpResponse:
    """Make it so many of a line; none takes it out."""
    form, mine = QuantityForm(request.POST), cart_of(request, shop_id)
    refusal, touched = "", [line for line in mine.view().lines if line.id == line_id]
    if not form.is_valid():
        refusal = _("请检查数量")
    else:
        try:
            _set(request, mine, touched, line_id, form.cleaned_data["quantity"])
        except NotFound:
            refusal = _("这一项已不在购物车里")
    if request.htmx:
        return _changed(request, shop_id, *(line.item_id for line in touched), refusal=refusal)
    if refusal:
        messages.info(request, refusal)
    if back := form.cleaned_data.get("back"):
        return redirect(f"{reverse('shop_menu', args=[shop_id])}#item-{back}")
    return redirect("cart", shop_id)


def _set(
    request: HttpRequest, mine: GuestCart | UserCart, touched: Sequence[CartLine], line_id: int, quantity: int
) -> None:
    if quantity:
        mine.set_quantity(line_id, quantity)
    else:
        mine.remove(line_id)
        _can_be_undone(request, mine.shop_id, touched)


@require_POST
def cart_clear(request: HtmxRequest, shop_id: int) -> HttpResponse:
    """Empty the cart."""
    mine = cart_of(request, shop_id)
    lines = mine.view().lines
    mine.clear()
    _can_be_undone(request, shop_id, lines)
    if request.htmx:
        return _changed(request, shop_id, *(line.item_id for line in lines))
    return redirect("cart", shop_id)


def _can_be_undone(request: HttpRequest, shop_id: int, lines: Sequence[CartLine]) -> None:
    """Offer, the next time the cart is shown, to put these in again."""
    request.session[UNDO] = {str(shop_id): [written(as_request(line)) for line in lines]}


def _undo(request: HttpRequest, shop_id: int) -> list[str]:
    if UNDO not in request.session:
        return []
    return cast("list[str]", request.session.pop(UNDO).get(str(shop_id), []))


def _changed(request: HtmxRequest, shop_id: int, *items: int, refusal: str = "") -> HttpResponse:
    """The cart where it is shown, as bar or sheet, and the buttons of these items on the menu."""
    view, known = cart_of(request, shop_id).view(), menu.services.get_menu(shop_id).items
    shop = view.quote.shop
    context = {
        "shop": shop,
        "basket": basket(view),
        "refusal": refusal,
        "in_sheet": request.htmx.target == "sheet-body",
        "is_open": menu.services.is_open_at(shop, timezone.now()),
        "changed": [known[item] for item in dict.fromkeys(items) if item in known],
        "undo": _undo(request, shop_id),
    }
    return render(request, "orders/_cart_changed.html", context, status=422 if refusal else 200)
