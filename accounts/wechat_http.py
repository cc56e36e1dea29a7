"""One call to WeChat's server, or to the simulator that stands for it: JSON in, JSON out, within three seconds."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import urllib3
from django.conf import settings
from urllib3.exceptions import HTTPError

REAL = "https://api.weixin.qq.com"
# Where the simulator stands on our own web process.
SIMULATOR = "/wechat-simulator"
CALL_SECONDS = 3.0
LONGEST_ANSWER_BYTES = 64 * 1024

# Each call has a connection of its own: one that went stale would cost a code, which works once.
_http = urllib3.PoolManager(headers={"Connection": "close"}, retries=False)


class NoAnswer(Exception):
    """No answer within the time, or none that can be read. Its text names no secret: addresses carry them."""


def ask(method: str, path: str, query: dict[str, str], body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What WeChat says to a call. Raises NoAnswer."""
    timeout = urllib3.Timeout(total=CALL_SECONDS)
    try:
        answer = _http.request(
            method,
            f"{_base()}/{path}?{urlencode(query)}",
            body=None if body is None else json.dumps(body).encode(),
            timeout=timeout,
            redirect=False,
            preload_content=False,
        )
        try:
            status, text = answer.status, answer.read(LONGEST_ANSWER_BYTES)
        finally:
            answer.close()
    except (HTTPError, OSError) as error:
        raise NoAnswer(type(error).__name__) from None
    return _read(status, text)


def _base() -> str:
    own = settings.WAIMAI_PUBLIC_URL.rstrip("/") + SIMULATOR if settings.WAIMAI_WECHAT_SIMULATOR else REAL
    return str(settings.WAIMAI_WECHAT_API_URL or own).rstrip("/")


def _read(status: int, text: bytes) -> dict[str, Any]:
    if status != 200:
        raise NoAnswer(f"status {status}")
    try:
        found = json.loads(text)
    except ValueError:
        raise NoAnswer("no JSON") from None
    if not isinstance(found, dict):
        raise NoAnswer("no JSON object")
    return found
