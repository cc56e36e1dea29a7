"""How often somebody may try: django-ratelimit's fixed windows in the shared cache, without its decorators.

Services count, so that the page, the API and the admin share one budget. They fail closed: while the cache is away
logins and codes are refused, as nobody could be stopped from guessing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from django.conf import settings
from django.core.cache import cache
from django_ratelimit.core import get_usage
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from waimai.infra.errors import RateLimited, ServiceUnavailable
from waimai.infra.ratelimit import spend

logger = logging.getLogger(__name__)
CACHE_FAILURES = (RedisError, ConnectionInterrupted, OSError)
# A cache that doesn't answer is left alone for a moment, or a login that asks it six times would wait six times.
LEFT_ALONE_SECONDS = 1.0
_asked_again_at = 0.0
KNOWN_FOR_SECONDS = 30 * 24 * 3600


class Usage(TypedDict):
    """What django-ratelimit tells of one counter in its current window."""

    count: int
    limit: int
    should_limit: bool
    time_left: int


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A named budget; `setting` may give another rate (such as "20/h" or "10/5m") than `default`."""

    name: str
    setting: str
    default: str

    @property
    def rate(self) -> str:
        """The rate in force."""
        return str(getattr(settings, self.setting, self.default))


SMS_BY_PHONE = Limit(name="sms-phone", setting="WAIMAI_SMS_PER_PHONE", default="10/d")
SMS_BY_ADDRESS = Limit(name="sms-address", setting="WAIMAI_SMS_PER_ADDRESS", default="20/h")
# Failed logins: to one account from one address; from one address; and to one account from all addresses that it
# hasn't been logged in from before. So many guessers don't add up, and none of them locks the owner out.
FAILURES_BY_PAIR = Limit(name="login-pair", setting="WAIMAI_LOGIN_FAILURES_PER_PAIR", default="10/5m")
FAILURES_BY_ADDRESS = Limit(name="login-address", setting="WAIMAI_LOGIN_FAILURES_PER_ADDRESS", default="100/h")
FAILURES_BY_STRANGERS = Limit(name="login-strangers", setting="WAIMAI_LOGIN_FAILURES_PER_ACCOUNT", default="50/h")
Budget = tuple[Limit, str]


def login_budgets(account: str, address: str) -> list[Budget]:
    """The budgets that a login to an account from an address counts against.

    A stranger also takes of the account's token bucket. Raises RateLimited when that is empty, ServiceUnavailable.
    """
    budgets = [(FAILURES_BY_ADDRESS, address), (FAILURES_BY_PAIR, f"{account} {address}")]
    if is_known(account, address):
        return budgets
    spend("phone", account)
    return [*budgets, (FAILURES_BY_STRANGERS, account)]


def is_known(account: str, address: str) -> bool:
    """Whether an account was logged in to from an address in the last thirty days. Raises ServiceUnavailable."""
    return bool(_ask(lambda: cache.get(_known(account, address)))) if settings.RATELIMIT_ENABLE else True


def remember(account: str, address: str) -> None:
    """An account was logged in to from an address. Raises ServiceUnavailable."""
    if settings.RATELIMIT_ENABLE:
        _ask(lambda: cache.set(_known(account, address), 1, KNOWN_FOR_SECONDS))


def take(limit: Limit, value: str) -> None:
    """Count one try of `value` (a phone, an account, a network address).

    Raises RateLimited, with the seconds until the window ends, when the budget is used up, and ServiceUnavailable when
    nobody can count.
    """
    tries, returned = _usage(limit.name, limit, value, add=True), _usage(f"{limit.name}-ok", limit, value, add=False)
    if tries is not None and returned is not None and tries["count"] - returned["count"] > tries["limit"]:
        raise RateLimited(retry_after=max(tries["time_left"], 1), limit=tries["limit"])


def give_back(limit: Limit, value: str) -> None:
    """Undo one `take`: a login that succeeded doesn't count. The counters only rise, so no two threads can disagree."""
    _usage(f"{limit.name}-ok", limit, value, add=True)


def _usage(group: str, limit: Limit, value: str, *, add: bool) -> Usage | None:
    """One counter, after adding to it if told; None when limits are switched off."""
    found = _ask(
        lambda: get_usage(None, group=group, key=lambda _group, _request: value, rate=limit.rate, increment=add)
    )
    if found is not None and found["time_left"] < 0:  # -1 is the library's word for "the cache lost it"
        raise ServiceUnavailable
    return cast("Usage | None", found)


def _ask(question: Callable[[], Any]) -> Any:
    """What the cache says. Raises ServiceUnavailable, at once while the cache is left alone."""
    global _asked_again_at
    if time.monotonic() < _asked_again_at:
        raise ServiceUnavailable
    try:
        return question()
    except CACHE_FAILURES as error:
        _asked_again_at = time.monotonic() + LEFT_ALONE_SECONDS
        logger.warning("logins and codes are refused for %s s: the cache does not answer", LEFT_ALONE_SECONDS)
        raise ServiceUnavailable from error


def _known(account: str, address: str) -> str:
    return "login-known:" + hashlib.sha256(f"{account} {address}".encode()).hexdigest()
