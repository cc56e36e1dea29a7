"""The customer's answer to what the shop proposes, as buttons on the order's page."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from orders import services
from orders.views import refusals_shown

ANSWERS = {"yes": True, "no": False}


@require_POST
def order_amendment(request: HttpRequest, order_id: int, n: int) -> HttpResponse:
    """Agree to a proposal, or don't."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("order_detail", args=[order_id]))
    user_id = request.user.pk
    services.own_order(order_id=order_id, user_id=user_id)
    accept = ANSWERS.get(request.POST.get("accept", ""))
    if accept is None:
        messages.error(request, _("请选择同意或不同意"))
        return redirect("order_detail", order_id)
    with refusals_shown(request):
        services.answer_amendment(order_id=order_id, user_id=user_id, n=n, accept=accept)
        messages.success(request, _("已同意，商家会按新的内容制作") if accept else _("已拒绝，商家会按原订单制作"))
    return redirect("order_detail", order_id)
