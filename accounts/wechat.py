"""What WeChat tells us of somebody: the openid behind a login code, the phone behind a phone code.

Its session keys are dropped where they arrive. While WeChat keeps failing it is left alone (`waimai.infra.breaker`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from django.conf import settings
from django.core.cache import cache

from accounts import validators
from accounts.errors import AccountDisabled, WeChatUnavailable, WrongWeChatCode
from accounts.limits import CACHE_FAILURES
from accounts.wechat_http import NoAnswer, ask
from waimai.infra.breaker import Breaker, CircuitOpen
from waimai.infra.errors import RateLimited

logger = logging.getLogger(__name__)
T = TypeVar("T")
WECHAT = Breaker("wechat")
# What WeChat calls them.
BUSY, LIMITED, TOO_RISKY = -1, 45011, 40226
CODE_REFUSED = (40029, 40163, 41008)
TOKEN_REFUSED = (40001, 40014, 42001)
LONGEST_OPENID = 64
# A token is given up before WeChat does; who fetches one has this long before another process may.
TOKEN_MARGIN_SECONDS, LEASE_SECONDS, LOOKED_AGAIN_SECONDS = 300, 5, 0.05
_one_fetches = threading.Lock()


class _Busy(Exception):
    """WeChat asks us to come again."""


def openid_of(code: str) -> str:
    """Who is behind a code of `wx.login`; a code works once. Raises WrongWeChatCode, WeChatUnavailable, RateLimited."""
    query = _app() | {"js_code": code, "grant_type": "authorization_code"}
    answer = _asked("GET", "sns/jscode2session", query)
    if _errcode(answer):
        _refuse(answer)
    openid = answer.get("openid")
    if not isinstance(openid, str) or not 0 < len(openid) <= LONGEST_OPENID:
        logger.error("wechat: a session without an openid")
        raise WeChatUnavailable
    return openid


def phone_of(code: str) -> str:
    """The mobile number behind a code of `getPhoneNumber`. Raises like `openid_of`; numbers from abroad are refused."""
    answer = _with_token(lambda token: _asked("POST", "wxa/business/getuserphonenumber", token, {"code": code}))
    if _errcode(answer):
        _refuse(answer)
    info = answer.get("phone_info")
    phone = str(info.get("purePhoneNumber", "")) if isinstance(info, dict) else ""
    if not validators.MOBILE.match(phone):
        raise WrongWeChatCode
    return phone


def access_token() -> str:
    """The token of our own app, kept for all processes; of those who find none, one fetches it.

    Raises WeChatUnavailable, RateLimited.
    """
    if (found := _kept()) is not None:
        return found
    with _one_fetches:
        return _kept() or _fetched_by_one()


def _with_token(call: Callable[[dict[str, str]], dict[str, Any]]) -> dict[str, Any]:
    """A call with the token; once more with a new one when WeChat doesn't take it any more."""
    answer = call({"access_token": access_token()})
    if _errcode(answer) not in TOKEN_REFUSED:
        return answer
    _cached(lambda: cache.delete(_key()), default=None)
    return call({"access_token": access_token()})


def _fetched_by_one() -> str:
    lease, until = f"{_key()}:lease", time.monotonic() + LEASE_SECONDS
    # Without a cache everybody leads: a token too many is harmless.
    while not _cached(lambda: cache.add(lease, 1, LEASE_SECONDS), default=True):
        if (found := _kept()) is not None:
            return found
        if time.monotonic() > until:
            break
        time.sleep(LOOKED_AGAIN_SECONDS)
    try:
        return _kept() or _fetch()
    finally:
        _cached(lambda: cache.delete(lease), default=None)


def _fetch() -> str:
    answer = _asked("GET", "cgi-bin/token", _app() | {"grant_type": "client_credential"})
    if _errcode(answer):
        _refuse(answer)
    token, lives = str(answer.get("access_token", "")), int(answer.get("expires_in") or 0)
    if not token:
        raise WeChatUnavailable
    _cached(lambda: cache.set(_key(), token, max(1, lives - TOKEN_MARGIN_SECONDS)), default=None)
    return token


def _kept() -> str | None:
    return cast("str | None", _cached(lambda: cache.get(_key()), default=None))


def _key() -> str:
    return f"wechat-token:{settings.WAIMAI_WECHAT_APP_ID}"


def _cached(question: Callable[[], T], *, default: T) -> T:
    try:
        return question()
    except CACHE_FAILURES:
        return default


def _app() -> dict[str, str]:
    return {"appid": settings.WAIMAI_WECHAT_APP_ID, "secret": settings.WAIMAI_WECHAT_APP_SECRET}


def _asked(method: str, path: str, query: dict[str, str], body: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer; a busy WeChat is asked a second time. Raises WeChatUnavailable."""
    try:
        try:
            return _guarded(method, path, query, body)
        except _Busy:
            return _guarded(method, path, query, body)
    except CircuitOpen as error:
        raise WeChatUnavailable(retry_after=math.ceil(error.retry_after)) from error
    except (NoAnswer, _Busy) as error:
        logger.warning("wechat: %s: %s", path, str(error) or "busy")
        raise WeChatUnavailable from error


def _guarded(method: str, path: str, query: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
    with WECHAT.guard(failures=(NoAnswer, _Busy)):
        answer = ask(method, path, query, body)
        if _errcode(answer) == BUSY:
            raise _Busy
    return answer


def _errcode(answer: dict[str, Any]) -> int:
    found = answer.get("errcode", 0)
    return found if isinstance(found, int) else BUSY


def _refuse(answer: dict[str, Any]) -> NoReturn:
    """The refusal that an errcode stands for."""
    code = _errcode(answer)
    if code in CODE_REFUSED:
        raise WrongWeChatCode
    if code == LIMITED:
        raise RateLimited(retry_after=60)
    if code == TOO_RISKY:
        raise AccountDisabled
    # A wrong app id or secret, or something that they invent tomorrow: ours to look into.
    logger.error("wechat: errcode %s", code)
    raise WeChatUnavailable
