"""What customers may ask of all that is kept about them: to have it, and to have it forgotten."""

from __future__ import annotations

from itertools import chain
from typing import cast

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

import accounts.services
from orders import services
from orders.forms import CloseAccountForm
from waimai.infra.errors import DomainError, RateLimited
from waimai.infra.http import client_address, shown_again


@never_cache
@login_required
@require_POST
def my_data(request: HttpRequest) -> StreamingHttpResponse | HttpResponse:
    """All that is kept about the caller, as a file."""
    pieces = services.my_data(user_id=cast("int", request.user.pk))
    try:
        first = next(pieces)
    except RateLimited as error:
        messages.error(request, error.told)
        return redirect("me")
    headers = {"Content-Disposition": 'attachment; filename="waimai.json"', "X-Content-Type-Options": "nosniff"}
    return StreamingHttpResponse(chain([first], pieces), content_type="application/json", headers=headers)


@never_cache
@sensitive_post_parameters("current_password", "code")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def close_account(request: HttpRequest) -> HttpResponse:
    """Say what will be gone, ask who it is once more, then close the account."""
    user_id = cast("int", request.user.pk)
    profile = accounts.services.own_profile(user_id=user_id)
    form = CloseAccountForm(request.POST or None, has_password=profile.has_password)
    error: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            services.close_account(user_id=user_id, address=client_address(request), **form.cleaned_data)
        except DomainError as refusal:
            error = refusal
            form.refuse(refusal)
        else:
            logout(request)
            messages.success(request, _("账号已注销，感谢您的使用"))
            return redirect("/")
    context = {"form": form, "profile": profile}
    return shown_again(render(request, "orders/close_account.html", context), error)
