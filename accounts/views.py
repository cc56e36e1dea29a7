"""The pages of accounts: login, profile, addresses. Every form works without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login as start_session
from django.contrib.auth import logout as end_session
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import forms, services
from accounts.models import User
from waimai.infra.errors import DomainError
from waimai.infra.http import client_address, shown_again
from waimai.infra.ratelimit import spend


def _user(request: HttpRequest) -> User:
    return cast(User, request.user)


def _next(request: HttpRequest, default: str) -> str:
    """Where the caller wants to go next, if that is a page of ours; anything else would help a phisher."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    hosts = {request.get_host()}
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=hosts, require_https=request.is_secure()):
        return wanted
    return default


def _login_page(
    request: HttpRequest, way: str, form: forms.LoginForm, error: DomainError | None, *, notices: Sequence[str] = ()
) -> HttpResponse:
    context = {
        "notices": notices,
        "form": form,
        "way": way,
        "ways": forms.LOGIN_WAYS,
        "sends_code": forms.LOGIN_WAYS[way].sends_code,
        "next": _next(request, ""),
    }
    return shown_again(render(request, "accounts/login.html", context), error)


@never_cache
@sensitive_post_parameters("password", "code")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Log in by code, by password or as staff; `way` says which."""
    chosen = request.POST.get("way") or request.GET.get("way") or "code"
    way = chosen if chosen in forms.LOGIN_WAYS else "code"
    form = forms.LOGIN_WAYS[way](request.POST or None)
    error: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            spend("login", client_address(request))
            user = form.log_in(client_address(request))
        except DomainError as refusal:
            error = refusal
            form.refuse(refusal)
        else:
            start_session(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
            return redirect(_next(request, settings.LOGIN_REDIRECT_URL))
    return _login_page(request, way, form, error)


@never_cache
@require_POST
def login_code(request: HttpRequest) -> HttpResponse:
    """Send a login code and show the login page again, with the phone kept."""
    asked = forms.SendCodeForm(request.POST)
    error: DomainError | None = None
    if asked.is_valid():
        try:
            spend("login", client_address(request))
            services.send_code(phone=asked.cleaned_data["phone"], address=client_address(request))
        except DomainError as refusal:
            error = refusal
            asked.refuse(refusal)
        else:
            messages.success(request, _("验证码已发送，5 分钟内有效"), extra_tags="code-sent")
    # The whole form again: whoever asks too early still wants to enter the code that came before.
    form = forms.CodeLoginForm(initial={"phone": request.POST.get("phone", "")})
    notices = [str(notice) for of_field in asked.errors.values() for notice in of_field]
    return _login_page(request, "code", form, error, notices=notices)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session."""
    end_session(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def me(request: HttpRequest) -> HttpResponse:
    """The profile; the nickname can be changed."""
    profile = services.profile_of(_user(request))
    form = forms.ProfileForm(request.POST or None, initial={"nickname": profile.nickname})
    if request.method == "POST" and form.is_valid():
        try:
            services.update_profile(user_id=profile.id, **form.cleaned_data)
        except DomainError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, _("已保存"))
            return redirect("me")
    return render(request, "accounts/me.html", {"form": form, "profile": profile})


@never_cache
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def me_password(request: HttpRequest) -> HttpResponse:
    """Set or change the password; other sessions and every token end, this session goes on."""
    profile = services.profile_of(_user(request))
    form = forms.PasswordForm(request.POST or None, has_password=profile.has_password)
    error: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            user = services.set_password(
                user_id=_user(request).pk, address=client_address(request), **form.cleaned_data
            )
        except DomainError as refusal:
            error = refusal
            form.refuse(refusal)
        else:
            update_session_auth_hash(request, user)
            messages.success(request, _("密码已保存"))
            return redirect("me")
    context = {"form": form, "profile": profile}
    return shown_again(render(request, "accounts/password.html", context), error)


@never_cache
@login_required
@require_POST
def me_password_code(request: HttpRequest) -> HttpResponse:
    """Send a code to one's own phone, to prove who one is before something serious."""
    services.send_code(phone=_user(request).phone or "", address=client_address(request))
    messages.success(request, _("验证码已发送，5 分钟内有效"), extra_tags="code-sent")
    return redirect(_next(request, reverse("me_password")))


@never_cache
@login_required
@require_safe
def addresses(request: HttpRequest) -> HttpResponse:
    """The caller's addresses."""
    rows = services.list_addresses(user_id=_user(request).pk)
    return render(request, "accounts/addresses.html", {"addresses": rows, "next": _next(request, "")})


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def address_new(request: HttpRequest) -> HttpResponse:
    """Enter a new address."""
    form = forms.AddressForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            draft = services.AddressDraft(**form.cleaned_data)
            services.add_address(user_id=_user(request).pk, draft=draft)
        except DomainError as refusal:
            form.refuse(refusal)
        else:
            return redirect(_next(request, reverse("addresses")))
    return render(request, "accounts/address_form.html", {"form": form, "next": _next(request, "")})


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def address_edit(request: HttpRequest, address_id: int) -> HttpResponse:
    """Change one of the caller's addresses."""
    user_id = _user(request).pk
    address = services.get_address(user_id=user_id, address_id=address_id)
    form = forms.AddressForm(request.POST or None, initial=asdict(address))
    if request.method == "POST" and form.is_valid():
        try:
            services.change_address(user_id=user_id, address_id=address_id, changes=form.cleaned_data)
        except DomainError as refusal:
            form.refuse(refusal)
        else:
            return redirect(_next(request, reverse("addresses")))
    context = {"form": form, "address": address, "next": _next(request, "")}
    return render(request, "accounts/address_form.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def address_delete(request: HttpRequest, address_id: int) -> HttpResponse:
    """Ask, then forget an address."""
    user_id = _user(request).pk
    if request.method == "POST":
        services.delete_address(user_id=user_id, address_id=address_id)
        return redirect(_next(request, reverse("addresses")))
    address = services.get_address(user_id=user_id, address_id=address_id)
    return render(request, "accounts/address_delete.html", {"address": address, "next": _next(request, "")})


@login_required
@require_POST
def address_default(request: HttpRequest, address_id: int) -> HttpResponse:
    """Make an address the default."""
    services.set_default_address(user_id=_user(request).pk, address_id=address_id)
    return redirect(_next(request, reverse("addresses")))
