"""A stand-in for WeChat's server, for development and tests: the same three calls, the same JSON, errors included.

Whoever asks is whoever they say, so it answers only where `WAIMAI_WECHAT_SIMULATOR` is on, and production refuses that.
The code `mei` is the person `o-mei`, once; `again-mei` is the same person any number of times. Codes that begin with
`invalid`, `busy` or `limited` hear that error. A code of a real `wx.login` (long, and another one each time) is always
the person `o-devtools`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.csrf import csrf_exempt

AGAIN = "again-"
CODE = re.compile(r"[A-Za-z0-9_-]{1,24}")
ERRORS = {"busy": -1, "invalid": 40029, "limited": 45011}
TEXTS = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40013: "invalid appid",
    40029: "invalid code",
    40125: "invalid appsecret",
    40163: "code been used",
    45011: "api minute-quota reach limit",
}
USED_FOR_SECONDS = 300
TOKEN_SECONDS = 7200
View = Callable[[HttpRequest], dict[str, Any]]


class _Says(Exception):
    def __init__(self, errcode: int) -> None:
        self.errcode = errcode


def _simulated(view: View) -> Callable[[HttpRequest], JsonResponse]:
    @wraps(view)
    def answer(request: HttpRequest) -> JsonResponse:
        if not settings.WAIMAI_WECHAT_SIMULATOR:
            raise Http404
        try:
            return JsonResponse(view(request))
        except _Says as error:
            return JsonResponse({"errcode": error.errcode, "errmsg": TEXTS[error.errcode]})

    return csrf_exempt(answer)


@_simulated
def code_to_session(request: HttpRequest) -> dict[str, Any]:
    """`sns/jscode2session`: the person behind a login code."""
    _check_app(request)
    name = _spent("login", request.GET.get("js_code", ""))
    return {"openid": f"o-{name}", "session_key": _secret("session", name)[:24], "unionid": f"u-{name}"}


@_simulated
def token(request: HttpRequest) -> dict[str, Any]:
    """`cgi-bin/token`: the app's own token."""
    _check_app(request)
    return {"access_token": _token(), "expires_in": TOKEN_SECONDS}


@_simulated
def phone_number(request: HttpRequest) -> dict[str, Any]:
    """`wxa/business/getuserphonenumber`: the phone behind a code; `phone-13911110001` is that one."""
    if not constant_time_compare(request.GET.get("access_token", ""), _token()):
        raise _Says(40001)
    try:
        code = json.loads(request.body)["code"]
    except (ValueError, TypeError, KeyError):
        raise _Says(40029) from None
    name = _spent("phone", str(code))
    phone = found[1] if (found := re.fullmatch(r"phone-(1[0-9]{10})", name)) else _phone(name)
    info = {"phoneNumber": phone, "purePhoneNumber": phone, "countryCode": "86"}
    return {"errcode": 0, "errmsg": "ok", "phone_info": info}


def _check_app(request: HttpRequest) -> None:
    if request.GET.get("appid", "") != settings.WAIMAI_WECHAT_APP_ID:
        raise _Says(40013)
    if not constant_time_compare(request.GET.get("secret", ""), settings.WAIMAI_WECHAT_APP_SECRET):
        raise _Says(40125)


def _spent(kind: str, code: str) -> str:
    """Use a code up and say whose it is."""
    for beginning, errcode in ERRORS.items():
        if code.startswith(beginning):
            raise _Says(errcode)
    if not code:
        raise _Says(40029)
    if not CODE.fullmatch(code):
        return "devtools"
    if code.startswith(AGAIN):
        return code.removeprefix(AGAIN)
    if not cache.add(f"wechat-simulator:{kind}:{code}", 1, USED_FOR_SECONDS):
        raise _Says(40163)
    return code


def _phone(name: str) -> str:
    return f"139{int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10**8:08d}"


def _token() -> str:
    return _secret("token", settings.WAIMAI_WECHAT_APP_ID)


def _secret(kind: str, of: str) -> str:
    return salted_hmac("accounts.wechat_simulator", f"{kind}:{of}", algorithm="sha256").hexdigest()
