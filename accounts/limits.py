"""How often somebody may try: django-ratelimit's counters in the shared cache, without its decorators.

Services count, so that the page, the API and the admin share one budget. When the cache is down nothing is counted
and logins go on: what protects a code (attempts, expiry, one a minute) stands in the database.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TypedDict, cast

from django.conf import settings
from django_ratelimit.core import get_usage
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from waimai.infra.errors import RateLimited

logger = logging.getLogger(__name__)
CACHE_FAILURES = (RedisError, ConnectionInterrupted, OSError)
# A cache that doesn't answer is left alone for a moment, or a login that asks it six times would wait six times.
LEFT_ALONE_SECONDS = 1.0
_asked_again_at = 0.0


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
FAILURES_BY_ACCOUNT = Limit(name="login-account", setting="WAIMAI_LOGIN_FAILURES_PER_ACCOUNT", default="10/5m")
FAILURES_BY_ADDRESS = Limit(name="login-address", setting="WAIMAI_LOGIN_FAILURES_PER_ADDRESS", default="100/h")


def take(limit: Limit, value: str) -> None:
    """Count one try of `value` (a phone, an account, a network address).

    Raises RateLimited, with the seconds until the window ends, when the budget is used up.
    """
    tries, returned = _usage(limit.name, limit, value, add=True), _usage(f"{limit.name}-ok", limit, value, add=False)
    if tries is not None and returned is not None and tries["count"] - returned["count"] > tries["limit"]:
        raise RateLimited(retry_after=max(tries["time_left"], 1))


def give_back(limit: Limit, value: str) -> None:
    """Undo one `take`: a login that succeeded doesn't count. The counters only rise, so no two threads can disagree."""
    _usage(f"{limit.name}-ok", limit, value, add=True)


def _usage(group: str, limit: Limit, value: str, *, add: bool) -> Usage | None:
    """One counter, after adding to it if told; None when limits are switched off or the cache doesn't answer."""
    global _asked_again_at
    if time.monotonic() < _asked_again_at:
        return None
    try:
        found = get_usage(None, group=group, key=lambda _group, _request: value, rate=limit.rate, increment=add)
    except CACHE_FAILURES:
        _asked_again_at = time.monotonic() + LEFT_ALONE_SECONDS
        logger.warning("rate limits are not counted for %s s: the cache does not answer", LEFT_ALONE_SECONDS)
        return None
    if found is None or found["time_left"] < 0:  # -1 is the library's word for "the cache lost it"
        return None
    return cast(Usage, found)
