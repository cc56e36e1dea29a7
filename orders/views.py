"""The customer's pages of orders: the list, one order that follows its state, and what may be done to it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

import menu.services
import payments.services
from menu.services import ShopInfo
from orders import services
from orders.forms import CancelForm, PayForm
from orders.services import Document
from orders.states import PaymentStatus, Status
from waimai.infra.errors import DomainError, NotFound

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

ORDERS_PER_PAGE = 20
ID = re.compile(r"[0-9]{1,16}")
View = Callable[[HttpRequest, int], HttpResponse]
ENDED = (Status.COMPLETED, Status.CANCELLED)
NEWS_MAY_COME = (Status.PENDING_PAYMENT, Status.CANCELLED)
TILL_SECONDS = 60
# The tabs of the list: what they are called in the address, what they say, and what they show.
TABS: dict[str, tuple[StrOrPromise, tuple[str, ...]]] = {
    "": (gettext_lazy("全部"), ()),
    "unpaid": (gettext_lazy("待付款"), (Status.PENDING_PAYMENT,)),
    "open": (gettext_lazy("进行中"), (Status.PAID, Status.ACCEPTED, Status.DELIVERING)),
    "completed": (gettext_lazy("已完成"), (Status.COMPLETED,)),
    "cancelled": (gettext_lazy("已取消"), (Status.CANCELLED,)),
}
SECONDS = re.compile(r"[0-9]{1,12}")
SERVER_ERROR = 500


def _user_id(request: HttpRequest) -> int:
    return cast("int", request.user.pk)


def _login_first(view: View) -> View:
    """For what is only ever posted: after the login the order's page follows, as nothing can be posted by then."""

    @wraps(view)
    def checked(request: HttpRequest, order_id: int) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, order_id)
        return redirect_to_login(reverse("order_detail", args=[order_id]))

    return checked


@contextmanager
def refusals_shown(request: HttpRequest) -> Iterator[None]:
    """A refusal becomes a message on the next page; "no such order" and "try again later" stay pages of their own."""
    try:
        yield
    except DomainError as error:
        if isinstance(error, NotFound) or error.status >= SERVER_ERROR:
            raise
        messages.error(request, error.told)


@never_cache
@login_required
@require_safe
def order_list(request: HttpRequest) -> HttpResponse:
    """The caller's orders, newest first, of a tab; each page starts below the last id of the one before."""
    before, tab = request.GET.get("before", ""), request.GET.get("show", "")
    tab = tab if tab in TABS else ""
    found = services.newest_orders(
        user_id=_user_id(request),
        before=int(before) if ID.fullmatch(before) else None,
        limit=ORDERS_PER_PAGE + 1,
        statuses=TABS[tab][1],
    )
    shown = found[:ORDERS_PER_PAGE]
    context = {
        "orders": services.documents_of(shown, user_id=_user_id(request)),
        "tabs": [(name, label) for name, (label, _statuses) in TABS.items()],
        "tab": tab,
        "first_page": not before,
        "next_before": shown[-1].pk if len(found) > ORDERS_PER_PAGE else None,
    }
    return render(request, "orders/order_list.html", context)


@never_cache
@login_required
@require_safe
def order_detail(request: HttpRequest, order_id: int) -> HttpResponse:
    """One order: where it stands, how it came there, and what may be done next."""
    document = services.get_order(order_id=order_id, user_id=_user_id(request))
    return render(request, "orders/order_detail.html", _shown(request, document))


@never_cache
@require_safe
def order_status(request: HttpRequest, order_id: int) -> HttpResponse:
    """The changing part of the order page, for its polling; 204 while the page has seen everything."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    context = _shown(request, services.get_order(order_id=order_id, user_id=_user_id(request)))
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "orders/_order.html", context)


@never_cache
@require_safe
def order_number(request: HttpRequest, order_id: int) -> HttpResponse:
    """The pick-up number, for a page that was there before the desk had heard of the order."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    order = services.own_order(order_id=order_id, user_id=_user_id(request))
    return render(request, "orders/_number.html", {"order": order})


@never_cache
@require_safe
def shared_order(request: HttpRequest, token: str) -> HttpResponse:
    """How far an order is, for whoever was sent the link."""
    document = services.shared_order(token)
    shop = _shop_of(document["shop"])
    context = {"order": document, "zone": shop and shop.time_zone}
    response = render(request, "orders/shared.html", context)
    # The address is the key: neither a search engine nor the next page shall have it.
    response["X-Robots-Tag"], response["Referrer-Policy"] = "noindex, nofollow", "no-referrer"
    return response


@require_POST
@_login_first
def order_pay(request: HttpRequest, order_id: int) -> HttpResponse:
    """Open a payment and go where it is paid."""
    services.own_order(order_id=order_id, user_id=_user_id(request))
    form = PayForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("请选择支付方式"))
        return redirect("order_detail", order_id)
    goal = reverse("order_detail", args=[order_id])
    with refusals_shown(request):
        started = services.pay(
            order_id=order_id,
            user_id=_user_id(request),
            provider=form.cleaned_data["provider"],
            key=f"page:{form.cleaned_data['token']}",
        )
        goal = started.client_parameters["pay_url"]
    return redirect(goal)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def order_cancel(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask why, then cancel."""
    form = CancelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_shown(request):
            services.cancel(order_id=order_id, user_id=_user_id(request), reason=form.cleaned_data["reason"])
        return redirect("order_detail", order_id)
    document = services.get_order(order_id=order_id, user_id=_user_id(request))
    return render(request, "orders/order_cancel.html", {"order": document, "form": form})


@require_POST
@_login_first
def order_remind(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask the shop where the order is."""
    with refusals_shown(request):
        services.remind(order_id=order_id, user_id=_user_id(request))
        messages.success(request, _("已提醒商家"))
    return redirect("order_detail", order_id)


@require_POST
@_login_first
def order_reorder(request: HttpRequest, order_id: int) -> HttpResponse:
    """Put the same into the cart, and say what is gone or costs something else now."""
    goal = reverse("order_detail", args=[order_id])
    with refusals_shown(request):
        again = services.reorder(order_id=order_id, user_id=_user_id(request))
        for gone in again.gone:
            messages.warning(request, _("“%(name)s”没有加入：%(reason)s") % {"name": gone.name, "reason": gone.reason})
        for line in again.repriced:
            prices = {"name": line.name, "was": line.was, "now": line.now}
            messages.info(request, _("“%(name)s”现价 ¥%(now)s，上次 ¥%(was)s") % prices)
        goal = reverse("cart", args=[again.cart.shop_id])
    return redirect(goal)


def _at_the_till(request: HttpRequest, pressed: str) -> str:
    """When the customer pressed this at the till (seconds since 1970); empty unless it was just now."""
    at = request.GET.get(pressed, "")
    if not SECONDS.fullmatch(at) or abs(timezone.now().timestamp() - int(at)) > TILL_SECONDS:
        return ""
    return at


def _paid_at_the_till(request: HttpRequest, document: Document) -> str:
    """When it was paid at the till, while the order doesn't know yet.

    Also of an order that was cancelled meanwhile: the money may still come, and goes back then.
    """
    if document["status"] not in NEWS_MAY_COME or document["payment_status"] != PaymentStatus.UNPAID:
        return ""
    return _at_the_till(request, "paid")


def _shown(request: HttpRequest, document: Document) -> dict[str, Any]:
    """What the templates need of an order. `seen` changes whenever the customer would see something else."""
    till, shop = _paid_at_the_till(request, document), _shop_of(document["shop"])
    left = datetime.fromisoformat(document["expires_at"]) - timezone.now()
    seconds_left = max(0, int(left.total_seconds()))
    seen = f"{document['status']}-{document['payment_status']}-{len(document['timeline'])}"
    seen += "".join(f"-{asked['state']}" for asked in document["amendments"])
    under_way = document["status"] in services.WITH_THE_SHOP
    live = document["status"] not in ENDED or document["payment_status"] == PaymentStatus.REFUNDING or bool(till)
    return {
        "order": document,
        "live": live,
        "paid_at_till": till,
        "failed_at_till": _at_the_till(request, "failed"),
        "seen": seen + "-till" if till else seen,
        "seconds_left": seconds_left,
        "clock_left": f"{seconds_left // 60}:{seconds_left % 60:02d}",
        "providers": payments.services.provider_labels(),
        "token": secrets.token_urlsafe(24),
        "shop": shop,
        # The clock the customer lives by; without the shop the project's own.
        "zone": shop and shop.time_zone,
        "share": reverse("shared_order", args=[services.share_token(document["id"])]) if under_way else "",
    }


def _shop_of(shop_id: int) -> ShopInfo | None:
    """The order's shop; None when it is gone."""
    try:
        return menu.services.get_shop(shop_id)
    except NotFound:
        return None
