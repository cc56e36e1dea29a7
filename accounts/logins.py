"""Proofs of who somebody is. Each login answers with the user, or raises one refusal that tells an attacker nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.hashers import make_password
from django.utils.translation import gettext as _

from accounts import limits, second_factor, wechat
from accounts.codes import spend_code
from accounts.errors import (
    AccountDisabled,
    OtpRequired,
    WeChatUnavailable,
    WrongCode,
    WrongCredentials,
    WrongWeChatCode,
)
from accounts.models import User
from waimai.infra.errors import Unauthenticated
from waimai.infra.ratelimit import spend

# Argon2 reads all of it: a megabyte of "password" would be work for us and none for the sender.
LONGEST_PASSWORD = 128
DEMO_PASSWORD = "waimai-demo"  # noqa: S105 - printed on the start page


def login_with_code(*, phone: str, code: str, address: str) -> User:
    """The user of a phone whose code was right; an unknown phone is registered.

    Raises WrongCode, AccountDisabled, OtpRequired (staff with a second factor), RateLimited (failures per network
    address).
    """
    account = f"phone:{phone}"
    if not limits.is_known(account, address):
        spend("phone", account)
    budget = (limits.FAILURES_BY_ADDRESS, address)
    limits.take(*budget)
    spend_code(phone=phone, code=code)
    limits.give_back(*budget)
    limits.remember(account, address)
    defaults = {"nickname": f"食客{phone[-4:]}", "password": make_password(None)}
    user, _registered = User.objects.get_or_create(phone=phone, defaults=defaults)
    return admitted(user)


def login_with_password(*, phone: str, password: str, address: str) -> User:
    """The user of a phone and password.

    Raises WrongCredentials, AccountDisabled, OtpRequired (staff with a second factor), RateLimited, ServiceUnavailable
    (nobody can count).
    """
    find = User.objects.filter(phone=phone).first
    with _counted(f"phone:{phone}", address):
        user = _by_password(find(), password)
    return admitted(user)


def login_staff(*, username: str, password: str, address: str, otp: str = "") -> User:
    """A member of staff by username, password and, if there is one, the token of a second factor.

    Customers are refused like unknown names. Raises WrongCredentials, WrongOtp, OtpRequired, AccountDisabled,
    RateLimited, ServiceUnavailable (nobody can count).
    """
    find = User.objects.filter(username=username, is_staff=True).first
    # Lower case: on MySQL the names compare without case, and one account must not have many budgets.
    with _counted(f"staff:{username.lower()}", address):
        user = _by_password(find(), password)
        if user.is_active:
            second_factor.check(user, otp)
    return _if_active(user)


def _by_password(user: User | None, password: str) -> User:
    if not _is_right(user, password) or user is None:
        raise WrongCredentials
    return user


@contextmanager
def _counted(account: str, address: str) -> Iterator[None]:
    """A try to prove who one is: it counts against the budgets of failures unless it succeeds."""
    budgets = limits.login_budgets(account, address)
    for limit, value in budgets:
        limits.take(limit, value)
    try:
        yield
    except (OtpRequired, WeChatUnavailable):
        # The password was right and the token comes with the next try; or nobody could say whether it's right.
        _give_back(budgets)
        raise
    _give_back(budgets)
    limits.remember(account, address)


def _give_back(budgets: list[limits.Budget]) -> None:
    for limit, value in budgets:
        limits.give_back(limit, value)


def _is_right(user: User | None, password: str) -> bool:
    if len(password) > LONGEST_PASSWORD:
        return False
    if password == DEMO_PASSWORD and not settings.WAIMAI_DEMO:
        # Accounts that were left over from a demo: everybody knows this one.
        user = None
    if user is None:
        # As much work as for a known account, or the time would tell which phones have one.
        make_password(password)
        return False
    return user.check_password(password)


def _if_active(user: User) -> User:
    if not user.is_active:
        raise AccountDisabled
    return user


def admitted(user: User) -> User:
    """Somebody who comes by a door of customers, proved. Raises AccountDisabled; OtpRequired for staff who need one."""
    second_factor.refuse_if_needed(_if_active(user))
    return user


def prove_again(
    user: User,
    *,
    address: str,
    current_password: str | None = None,
    code: str | None = None,
    wechat_code: str | None = None,
) -> None:
    """Before something serious: the password once more, a fresh code to the user's phone, or one of `wx.login`.

    Raises WrongCredentials, WrongCode, WrongWeChatCode, WeChatUnavailable, RateLimited.
    """
    with _counted(f"user:{user.pk}", address):
        if wechat_code:
            if wechat.openid_of(wechat_code) != user.openid:
                raise WrongWeChatCode
        elif code and user.phone:
            spend_code(phone=user.phone, code=code)
        elif not _is_right(user, current_password or ""):
            raise _refusal(user, current_password, code)


def _refusal(user: User, current_password: str | None, code: str | None) -> Unauthenticated:
    """Who it is, is known here: the text says what to enter, not that the account might be wrong."""
    if code:
        return WrongCode()
    if current_password:
        return WrongCredentials(_("密码或验证码不正确"))
    return WrongCredentials(_("请填写当前密码或验证码") if user.has_usable_password() else _("请填写验证码"))


def user_of_session(key: str) -> int:
    """Whom a session of the pages belongs to. Raises Unauthenticated when it is nobody's, or the password changed."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key or None)
    # All that Django looks at of a request here.
    user = get_user(cast(Any, SimpleNamespace(session=session)))
    if user.pk is None:
        raise Unauthenticated
    return int(user.pk)
