"""Accounts and WeChat: logging in by an openid, and bringing a phone and a WeChat together in one account.

Nothing is joined on somebody's word: a phone is proved by WeChat or by a code, a WeChat by a fresh login code.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError
from django.utils.translation import gettext as _

from accounts import limits, wechat
from accounts.closing import forget
from accounts.errors import AlreadyBound, PhoneTaken, WeChatTaken, WrongWeChatCode
from accounts.logins import admitted, prove_again
from accounts.models import User
from accounts.profiles import Profile, profile_of
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, PermissionRefused
from waimai.infra.sharding import DEFAULT


def login_with_wechat(*, code: str, address: str) -> User:
    """The user behind a code of `wx.login`; an unknown openid is registered.

    Raises WrongWeChatCode, WeChatUnavailable, AccountDisabled, OtpRequired (staff with a second factor), RateLimited
    (failures per network address, or WeChat's).
    """
    openid = _counted(wechat.openid_of, code, address)
    defaults = {"nickname": "微信用户", "password": make_password(None)}
    user, _registered = User.objects.get_or_create(openid=openid, defaults=defaults)
    return admitted(user)


def bind_phone(*, user_id: int, code: str, address: str) -> Profile:
    """Give an account without a phone the one behind a code of WeChat's `getPhoneNumber`.

    Raises PhoneTaken when another account has it, AlreadyBound when this one has another, and what the code raises.
    """
    user = _customer(user_id)
    phone = _counted(wechat.phone_of, code, address)
    if user.phone not in (None, phone):
        raise AlreadyBound
    try:
        run_atomic(DEFAULT, lambda: _set(user, phone=phone))
    except IntegrityError as error:
        raise PhoneTaken from error
    return profile_of(user)


def bind_wechat(
    *,
    user_id: int,
    code: str,
    address: str,
    current_password: str | None = None,
    sms_code: str | None = None,
    may_close: Callable[[int], bool] = lambda _user_id: False,
) -> Profile:
    """Let the WeChat behind a code of `wx.login` open this account, proved by its password or a code to its phone.

    When that WeChat has an account of its own, with neither phone nor password, and `may_close` allows it, that one is
    closed. Raises WeChatTaken otherwise, AlreadyBound when this account has another WeChat, and what the proofs raise.
    """
    user = _customer(user_id)
    openid = _counted(wechat.openid_of, code, address)
    if user.openid not in (None, openid):
        raise AlreadyBound
    prove_again(user, current_password=current_password, code=sms_code, address=address)
    holder = User.objects.filter(openid=openid).exclude(pk=user.pk).first()
    if holder is not None and (_has_another_way_in(holder) or not may_close(holder.pk)):
        raise WeChatTaken

    def body() -> None:
        if holder is not None:
            forget(holder)
        _set(user, openid=openid)

    try:
        run_atomic(DEFAULT, body)
    except IntegrityError as error:
        raise WeChatTaken from error
    return profile_of(user)


def _counted(ask: Callable[[str], str], code: str, address: str) -> str:
    """What WeChat says to a code. A wrong one counts against the caller's address; that WeChat is away is nobody's."""
    budget = (limits.FAILURES_BY_ADDRESS, address)
    limits.take(*budget)
    try:
        answer = ask(code)
    except WrongWeChatCode:
        raise
    except Exception:
        limits.give_back(*budget)
        raise
    limits.give_back(*budget)
    return answer


def _has_another_way_in(user: User) -> bool:
    return bool(user.phone or user.username or user.is_staff or not user.is_active or user.has_usable_password())


def _set(user: User, **fields: str) -> None:
    """Only where nothing else stands yet: of two requests at once one finds it taken."""
    (name, value), *_others = fields.items()
    rows = User.objects.filter(pk=user.pk, is_active=True)
    if not rows.filter(**{name: None}).update(**fields) and not rows.filter(**fields).exists():
        raise AlreadyBound
    setattr(user, name, value)


def _customer(user_id: int) -> User:
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise NotFound
    if user.is_staff:
        # Whoever holds the phone could then pass by the second factor.
        raise PermissionRefused(_("员工账号不能绑定微信"))
    return user
