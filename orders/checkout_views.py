"""The checkout: one page for where to, when and what it costs; sent, it becomes an order."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRefresh

import accounts.services
import menu.services
from accounts.services import AddressDraft, AddressInfo
from menu.services import ShopInfo
from orders import services
from orders.basket import basket, differences
from orders.cart_views import cart_of
from orders.delivery_times import delivery_times
from orders.forms import CheckoutForm, NewAddressForm, PlaceForm
from orders.services import Checkout, Placed
from waimai.infra.errors import DomainError, RequestInProgress
from waimai.infra.http import refusal_headers

# Refusals after which the page says what is different now.
ASKED_AGAIN = ("total_changed", "cart_changed")
MOST_SEEN = 100
ASK_AGAIN_SECONDS = 0.2
ASK_AGAIN_TIMES = 10
SERVER_ERROR = 500
UNPROCESSABLE = 422
LONGEST_ID = 16
NEW = "new"
KEPT = ("address", "deliver_at", "note", "tableware")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request: HttpRequest, shop_id: int) -> HttpResponse:
    """Where to and when, and what it costs; sent, it becomes an order. Sent twice, it is still one."""
    shop = menu.services.get_shop(shop_id)
    new = NewAddressForm(request.POST or None, prefix=NEW, initial={"token": secrets.token_urlsafe(24)})
    # Typed but not saved: the order would go to another address than the one its customer has in mind.
    adding = request.method == "POST" and ("add_address" in request.POST or new.is_begun())
    added = _added(request, new) if adding else None
    if not adding or added:
        new = NewAddressForm(prefix=NEW, initial={"token": secrets.token_urlsafe(24)})
    form = _checkout_form(request, shop, adding=adding, added=added)
    refusal: DomainError | None = None
    if request.method == "POST" and not adding and form.is_valid():
        try:
            placed = _place(_checkout(request, shop_id, form.cleaned_data))
        except DomainError as error:
            refusal = error
        else:
            return redirect("order_detail", placed.order_id)
    return _checkout_page(request, shop, form, new, refusal, added)


@never_cache
@require_safe
def checkout_area(request: HttpRequest, shop_id: int) -> HttpResponse:
    """Whether the shop delivers to the address that is chosen, or to the coordinates that are being typed."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    shop = menu.services.get_shop(shop_id)
    if f"{NEW}-latitude" in request.GET:
        place = PlaceForm(request.GET, prefix=NEW)
        known = place.is_valid() and None not in place.cleaned_data.values()
        area = _area(shop, **place.cleaned_data) if known else ""
    else:
        area = _area_of(request, shop, request.GET.get("address"))
    return render(request, "orders/_area.html", {"area": area})


def _area(shop: ShopInfo, *, latitude: float | None, longitude: float | None) -> str:
    """`inside`, `outside`, or `unknown` when nobody can tell where it is and the shop doesn't deliver everywhere."""
    if menu.services.delivers_to(shop, latitude=latitude, longitude=longitude):
        return "inside"
    return "unknown" if latitude is None else "outside"


def _area_of(request: HttpRequest, shop: ShopInfo, address_id: object) -> str:
    """The same of one of the customer's addresses; empty for what is none."""
    if not str(address_id).isdecimal():
        return ""
    owners = {int(str(address_id)): _user_id(request)}
    found = accounts.services.get_addresses(owners=owners) if len(str(address_id)) <= LONGEST_ID else {}
    one = next(iter(found.values()), None)
    return "" if one is None else _area(shop, latitude=one.latitude, longitude=one.longitude)


def _user_id(request: HttpRequest) -> int:
    return cast("int", request.user.pk)


def _added(request: HttpRequest, new: NewAddressForm) -> int | None:
    """The address that was entered, kept; None when it can't be, and the form says why."""
    if not new.is_valid():
        return None
    data = dict(new.cleaned_data)
    token = data.pop("token")
    try:
        draft = AddressDraft(**data)
        return accounts.services.add_address(user_id=_user_id(request), draft=draft, key=f"page:{token}").address.id
    except DomainError as error:
        if error.status >= SERVER_ERROR:
            raise
        new.refuse(error)
        return None


def _checkout_form(request: HttpRequest, shop: ShopInfo, *, adding: bool, added: int | None) -> CheckoutForm:
    # The default first, then the newest.
    known = sorted(accounts.services.address_book(user_id=_user_id(request)), key=lambda each: not each.is_default)
    addresses = [(each.id, f"{each.contact_name} {each.phone}\n{each.region}{each.detail}") for each in known]
    initial: dict[str, Any] = {"address": _preselected(known, shop)}
    if adding:
        # Not what is ordered by: what was filled in so far stays there.
        initial |= {name: request.POST[name] for name in KEPT if name in request.POST}
    if added:
        initial["address"] = added
    times: list[datetime] = delivery_times(shop, now=timezone.now())
    data = None if adding else request.POST or None
    return CheckoutForm(data, initial=initial, addresses=addresses, times=times)


def _preselected(known: Sequence[AddressInfo], shop: ShopInfo) -> int | None:
    """The first to which the shop delivers; if it delivers to none, the first: then the page says what is wrong."""
    near = (each for each in known if _area(shop, latitude=each.latitude, longitude=each.longitude) == "inside")
    chosen = next(near, known[0] if known else None)
    return chosen.id if chosen else None


def _checkout(request: HttpRequest, shop_id: int, data: dict[str, Any]) -> Checkout:
    return Checkout(
        user_id=_user_id(request),
        shop_id=shop_id,
        address_id=data["address"],
        note=data["note"],
        tableware=data["tableware"],
        deliver_at=data["deliver_at"],
        shown_total=data["shown_total"],
        cart_version=data["cart_version"],
    )


def _place(checkout: Checkout) -> Placed:
    """Place it; of a double click the second asks again until the first is through, as only its answer is shown."""
    for _again in range(ASK_AGAIN_TIMES):
        try:
            return services.place(checkout)
        except RequestInProgress:
            time.sleep(ASK_AGAIN_SECONDS)
    return services.place(checkout)


def _checkout_page(
    request: HttpRequest,
    shop: ShopInfo,
    form: CheckoutForm,
    new: NewAddressForm,
    refusal: DomainError | None,
    added: int | None,
) -> HttpResponse:
    """The page with the cart as it is now, whatever was sent: what is confirmed next is what is shown now."""
    shown = basket(cart_of(request, shop.id).view())
    if not shown.rows:
        messages.info(request, refusal.told if refusal else _("购物车是空的"))
        return redirect("cart", shop.id)
    context = {"shop": shown.view.quote.shop, "basket": shown, "form": form, "refusal": refusal, "here": request.path}
    context |= {"new": new, "added": added, "area": _area_of(request, shop, form["address"].value())}
    if refusal is not None and refusal.code in ASKED_AGAIN:
        context["differences"] = differences(request.POST.getlist("seen")[:MOST_SEEN], shown)
    status = refusal.status if refusal else UNPROCESSABLE if new.is_bound else 200
    response = render(request, "orders/checkout.html", context, status=status)
    for name, value in (refusal_headers(refusal) if refusal else {}).items():
        response[name] = value
    return response
