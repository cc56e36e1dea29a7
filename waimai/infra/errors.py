"""Errors with a stable code: the code is for programs, the text for people; each door shows them in its own way."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

COUNTED_IN_SECONDS, COUNTED_IN_MINUTES = 90, 90


class ShardNotChosen(RuntimeError):
    """A query on a sharded table named no database. A mistake in the program, never the caller's."""


class DomainError(Exception):
    """Base of every refusal that a door shows. `extra` becomes members of the problem document (RFC 9457)."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 409
    title: ClassVar[str | Promise] = _("请求无法完成")
    retry_after: int | None = None
    # True when this refusal is the stored answer to a repeated idempotency key.
    replayed: bool = False

    def __init__(
        self,
        detail: str | Promise | None = None,
        *,
        errors: dict[str, Any] | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        self.detail = self.title if detail is None else detail
        self.errors = errors
        self.extra = extra
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.code)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def told(self) -> str:
        """What a page says; programs have the members of the document and the headers."""
        return str(self.detail)


class ValidationFailed(DomainError):
    """The request is malformed; `errors` says which field and why."""

    code, status, title = "validation_error", 400, _("请检查填写的内容")


class Unauthenticated(DomainError):
    """Nobody is logged in, or the proof is not valid."""

    code, status, title = "not_authenticated", 401, _("请先登录")


class PermissionRefused(DomainError):
    """The caller is known and may see the thing, but may not do this to it."""

    code, status, title = "permission_denied", 403, _("没有权限")


class NotFound(DomainError):
    """It doesn't exist, or it is someone else's."""

    code, status, title = "not_found", 404, _("没有找到")


class IdempotencyKeyReused(DomainError):
    """The key already stands for another request."""

    code, status, title = "idempotency_key_reused", 422, _("该幂等键已用于另一个请求")


class RequestInProgress(DomainError):
    """The first request with this key is still running."""

    code, status, title = "request_in_progress", 409, _("相同的请求正在处理中")
    retry_after = 1


class RateLimited(DomainError):
    """Too many requests: come again in `retry_after` seconds; `limit` is how many tries one window or burst has."""

    code, status, title = "rate_limited", 429, _("请求过于频繁，请稍后再试")
    retry_after = 60

    def __init__(self, *, retry_after: int | None = None, limit: int | None = None) -> None:
        super().__init__(retry_after=retry_after)
        self.limit = limit

    @property
    def told(self) -> str:
        """With the time to wait, in a unit that people count in; a kind of its own has its own words."""
        if type(self) is not RateLimited:
            return super().told
        seconds = self.retry_after or 0
        minutes = math.ceil(seconds / 60)
        if seconds <= COUNTED_IN_SECONDS:
            return gettext("请求过于频繁，请 %(number)d 秒后再试") % {"number": seconds}
        if minutes <= COUNTED_IN_MINUTES:
            return gettext("请求过于频繁，请 %(number)d 分钟后再试") % {"number": minutes}
        return gettext("请求过于频繁，请 %(number)d 小时后再试") % {"number": math.ceil(minutes / 60)}


class BodyTooLarge(DomainError):
    """More is sent than the door takes."""

    code, status, title = "payload_too_large", 413, _("请求内容太大")


class RequestTooSlow(DomainError):
    """The request didn't arrive whole in time."""

    code, status, title = "request_timeout", 408, _("请求发送太慢")


class ServiceUnavailable(DomainError):
    """A part is down or busy; nothing was changed, or the outcome is found again with the same key."""

    code, status, title = "service_unavailable", 503, _("服务暂时不可用，请稍后再试")
    retry_after = 2
