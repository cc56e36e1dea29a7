"""Pages of payments: the sandbox gateway's till."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from payments import services
from payments.forms import SandboxForm
from payments.services import PaymentInfo
from payments.states import PaymentStatus


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def sandbox_pay(request: HttpRequest, payment_id: int) -> HttpResponse:
    """The sandbox's pay page: it shows the amount and lets the payer pay, or fail to.

    The order's page is told what was pressed and when: the provider's own news takes a moment to arrive.
    """
    user_id = cast("int", request.user.pk)
    payment = services.get_payment(payment_id=payment_id, user_id=user_id)
    form = SandboxForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _till(request, payment, status=400 if request.method == "POST" else 200)
    outcome = form.cleaned_data["outcome"]
    services.tell_sandbox(payment_id=payment_id, user_id=user_id, outcome=outcome)
    pressed = "paid" if outcome == "success" else "failed"
    order_page = reverse("order_detail", args=[payment.order_id])
    return redirect(f"{order_page}?{pressed}={int(timezone.now().timestamp())}")


def _till(request: HttpRequest, payment: PaymentInfo, *, status: int) -> HttpResponse:
    # An order that is cancelled or past its time ends the time of its payments as well.
    too_late = payment.status == PaymentStatus.CLOSED or payment.expires_at <= timezone.now()
    return render(request, "payments/sandbox_pay.html", {"payment": payment, "too_late": too_late}, status=status)
