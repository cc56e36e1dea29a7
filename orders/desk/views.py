"""The staff's screens: the board, the kitchen, deliveries, what is sold out. Live, and usable without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

import accounts.services
import menu.services
from orders.desk import amending, screens, services
from orders.desk.forms import CANCEL_REASONS, REJECT_REASONS, ActionForm, AmendForm, DishForm
from orders.errors import InvalidTransition
from waimai.infra.errors import DomainError, NotFound

View = Callable[..., HttpResponse]
SERVER_ERROR = 500
LONGEST_SEARCH = 20


class HtmxRequest(HttpRequest):
    """A request as the htmx middleware leaves it."""

    htmx: HtmxDetails


def staff_only(view: View) -> View:
    """For staff: a login first; never kept by a browser. Whether they may, the services say."""

    @wraps(view)
    def checked(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.htmx:
            return HttpResponseClientRefresh()
        back = request.get_full_path() if request.method == "GET" else reverse("board")
        return redirect_to_login(back, login_url=reverse("login") + "?way=staff")

    return never_cache(checked)


def _id(request: HttpRequest) -> int:
    return cast("int", request.user.pk)


def _looked_at(request: HttpRequest, permission: str = "view_board") -> dict[str, Any]:
    shops = screens.my_shops(staff_id=_id(request), permission=permission)
    wanted = request.GET.get("shop", "")
    query = f"?shop={wanted}" if wanted else ""
    return {"shops": shops, "looked_at": screens.chosen(shops, wanted), "wanted": wanted, "query": query}


def _screen(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """A whole screen, or only the part of it that changes."""
    if request.headers.get("HX-Request") == "true":
        return render(request, f"board/_{name}.html", context)
    frame = {"screen": name, "live": f"board/_{name}.html", "big": bool(request.GET.get("big"))}
    return render(request, "board/screen.html", {**context, **frame, "may": screens.doors_of(_id(request))})


@require_safe
@staff_only
def board(request: HttpRequest) -> HttpResponse:
    """The orders that the shop has to see to, in three columns."""
    look = _looked_at(request)
    found = screens.read_board(staff_id=_id(request), shops=look["shops"], looked_at=look["looked_at"])
    reasons = {"reject_reasons": REJECT_REASONS, "cancel_reasons": CANCEL_REASONS}
    return _screen(request, "orders", {**look, "board": found, **reasons})


@require_safe
@staff_only
def kitchen(request: HttpRequest) -> HttpResponse:
    """What to cook now, by dish."""
    look = _looked_at(request)
    return _screen(
        request, "kitchen", {**look, "dishes": screens.read_kitchen(shops=look["shops"], looked_at=look["looked_at"])}
    )


@require_safe
@staff_only
def courier(request: HttpRequest) -> HttpResponse:
    """What the courier who asks brings now, and what waits to be taken."""
    look = _looked_at(request, "complete_order")
    found = screens.read_deliveries(staff_id=_id(request), shops=look["shops"], looked_at=look["looked_at"])
    return _screen(request, "courier", {**look, **found, "me": _id(request)})


@require_safe
@staff_only
def today(request: HttpRequest) -> HttpResponse:
    """All orders of the day, also those that are over: for who calls, or for a wrong tap."""
    look, wanted = _looked_at(request), request.GET.get("q", "").strip()[:LONGEST_SEARCH]
    found = screens.read_today(shops=look["shops"], looked_at=look["looked_at"], wanted=wanted)
    return _screen(request, "today", {**look, "orders": found, "q": wanted})


@require_safe
@staff_only
def dishes(request: HttpRequest) -> HttpResponse:
    """What is on sale, each to be sold out, or to come back, at a touch; and whether the shop is open."""
    look = _looked_at(request)
    menus = [menu.services.get_menu(shop_id) for shop_id in sorted(look["looked_at"])]
    now = timezone.now()
    shown = [
        {
            "menu": each,
            "is_open": menu.services.is_open_at(each.shop, now),
            "may": accounts.services.permissions_of(user_id=_id(request), shop_id=each.shop.id),
        }
        for each in menus
    ]
    return _screen(request, "dishes", {**look, "menus": shown})


@require_POST
@staff_only
def act(request: HttpRequest, order_id: int, action: str) -> HttpResponse:
    """Do to an order what the button said; whoever comes second hears who was first."""
    form = ActionForm(request.POST)
    try:
        if action not in ACTIONS or not form.is_valid():
            raise NotFound
        ACTIONS[action](order_id, _id(request), form.cleaned_data)
    except InvalidTransition:
        messages.warning(request, _came_second(order_id))
    except DomainError as error:
        if isinstance(error, NotFound) or error.status >= SERVER_ERROR:
            raise
        messages.error(request, _said(error))
    return _back(request)


ACTIONS: dict[str, Callable[[int, int, dict[str, Any]], object]] = {
    "accept": lambda order, staff, data: services.accept(order_id=order, staff_id=staff, minutes=data["minutes"]),
    "reject": lambda order, staff, data: services.reject(order_id=order, staff_id=staff, reason=data["reason"]),
    "cancel": lambda order, staff, data: services.cancel(order_id=order, staff_id=staff, reason=data["reason"]),
    "deliver": lambda order, staff, data: services.deliver(order_id=order, staff_id=staff, courier_id=data["courier"]),
    "complete": lambda order, staff, data: services.complete(order_id=order, staff_id=staff),
}


def _came_second(order_id: int) -> str:
    """Who did what, and when, instead of the caller."""
    name, last, at = services.last_change(order_id)
    by = {"name": name, "status": last.get_target_display(), "time": f"{at:%H:%M:%S}"}
    return _("没有执行：订单已由 %(name)s 于 %(time)s 改为“%(status)s”。") % by


def _said(error: DomainError) -> str:
    reasons = [str(text) for texts in (error.errors or {}).values() for text in texts]
    return "；".join(reasons) or str(error.detail)


def _back(request: HttpRequest) -> HttpResponse:
    """To the screen that the button was on."""
    goal = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(goal, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return redirect(goal if safe and goal.startswith("/board/") else reverse("board"))


@require_POST
@staff_only
def amend(request: HttpRequest, order_id: int) -> HttpResponse:
    """Propose to the customer to leave something out, or to bring another dish instead."""
    form = AmendForm(request.POST)
    if form.is_valid():
        proposed = {"order_id": order_id, "staff_id": _id(request), **form.cleaned_data}
        _with_messages(request, lambda: amending.propose(**proposed))
    else:
        messages.error(request, _("请选择商品和份数"))
    return _back(request)


@require_POST
@staff_only
def dish(request: HttpRequest, item_id: int) -> HttpResponse:
    """Sell a dish out until another day or for some hours, or let it come back now."""
    form = DishForm(request.POST)
    if form.is_valid():
        sold_out = {"item_id": item_id, "staff_id": _id(request), **form.cleaned_data}
        _with_messages(request, lambda: services.sell_out(**sold_out))
    elif "hours" in form.errors:
        raise NotFound
    else:
        messages.error(request, _("请检查份数"))
    return _back(request)


@require_POST
@staff_only
def shop(request: HttpRequest, shop_id: int) -> HttpResponse:
    """Open or close the shop by hand."""
    is_open = request.POST.get("open") == "1"
    _with_messages(request, lambda: services.set_open(shop_id=shop_id, staff_id=_id(request), is_open=is_open))
    return _back(request)


def _with_messages(request: HttpRequest, do: Callable[[], object]) -> None:
    """Do it; a refusal becomes a message, but for "no such thing" and for what is down."""
    try:
        do()
    except DomainError as error:
        if isinstance(error, NotFound) or error.status >= SERVER_ERROR:
            raise
        messages.error(request, _said(error))
