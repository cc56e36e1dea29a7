"""What every HTTP door shares: request ids, the caller's address, and errors as pages or problem documents."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.encoding import force_str
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override
from django.views.decorators.csrf import csrf_exempt

from waimai.infra.envelope import SKY_PATHS, refused
from waimai.infra.errors import (
    DomainError,
    NotFound,
    PermissionRefused,
    RateLimited,
    RequestTooSlow,
    ServiceUnavailable,
)
from waimai.infra.outages import is_outage

logger = logging.getLogger(__name__)
current_request_id: ContextVar[str] = ContextVar("request_id", default="-")
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
GetResponse = Callable[[HttpRequest], HttpResponse]
API_PREFIX = "/api/"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RequestIdFilter(logging.Filter):
    """Puts the request's id on every log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always lets the record through."""
        record.request_id = current_request_id.get()
        return True


@contextmanager
def logged_as(request_id: str) -> Iterator[None]:
    """What is logged inside carries this id, or several with spaces between them."""
    token = current_request_id.set(request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


def request_id_for(sent: str) -> str:
    """The id under which a request is answered and logged: the caller's, if it is sane, else a new one."""
    return sent if SANE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


class RequestIdMiddleware:
    """Every answer carries `X-Request-ID`: the caller's, if it sent a sane one, else a new one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        request_id = request_id_for(request.headers.get("X-Request-ID", ""))
        with logged_as(request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class DomainErrorMiddleware:
    """Shows a refusal that a view let through: a problem document on the API, a page elsewhere."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing to do on the way through."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The answer for a domain error or a database that is down; None leaves the rest to Django."""
        domain_error = as_domain_error(error)
        return None if domain_error is None else error_response(request, domain_error)


def as_domain_error(error: Exception) -> DomainError | None:
    """The refusal that an exception stands for, or None when it is a mistake in the program."""
    if isinstance(error, DomainError):
        return error
    if is_outage(error):
        logger.error("database unavailable: %r", error)
        return ServiceUnavailable()
    return None


def problem(error: DomainError) -> dict[str, Any]:
    """The problem document (RFC 9457) of a refusal."""
    document: dict[str, Any] = {
        "type": f"urn:waimai:problem:{error.code}",
        "title": force_str(error.title),
        "status": error.status,
        "detail": force_str(error.detail),
        "code": error.code,
    }
    if error.errors is not None:
        document["errors"] = error.errors
    # What a refusal adds never hides the members that every problem has.
    return error.extra | document


def error_response(request: HttpRequest, error: DomainError) -> HttpResponse:
    """A refusal in the form that the door speaks."""
    response: HttpResponse
    if request.path.startswith(API_PREFIX):
        response = JsonResponse(problem(error), status=error.status, content_type="application/problem+json")
    elif request.path.startswith(SKY_PATHS):
        response = JsonResponse(refused(error), status=error.status)
    else:
        response = render(request, "error.html", {"error": error}, status=error.status)
    for name, value in refusal_headers(error).items():
        response[name] = value
    return response


def shown_again(page: HttpResponse, error: DomainError | None) -> HttpResponse:
    """A form's page after a refusal; "come back later" is told to machines too."""
    if error is not None and error.retry_after is not None:
        page.status_code = error.status
        for name, value in refusal_headers(error).items():
            page[name] = value
    return page


def refusal_headers(error: DomainError) -> dict[str, str]:
    """What a refusal says in headers, at every door: when to come again, and of which limit it is about."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, RateLimited) and error.limit is not None:
        headers |= {"RateLimit-Limit": str(error.limit), "RateLimit-Remaining": "0"}
        headers["RateLimit-Reset"] = str(error.retry_after)
    return headers


async def refused_directly(scope: Any, send: Any, error: DomainError) -> None:
    """Answer an ASGI request with a refusal, before anything of Django is asked."""
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if isinstance(error, RequestTooSlow):
        # The rest of it may still trickle in.
        headers["Connection"] = "close"
    sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    headers |= refusal_headers(error) | {"X-Request-ID": request_id_for(sent)}
    with override(settings.LANGUAGE_CODE):
        told = refused(error) if scope["path"].startswith(SKY_PATHS) else problem(error)
        body = json.dumps(told, ensure_ascii=False).encode()
    headers["Content-Length"] = str(len(body))
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404 in our form."""
    return error_response(request, NotFound(_("没有这个地址")))


@csrf_exempt
def no_such_call(request: HttpRequest, path: str = "") -> HttpResponse:
    """What isn't there below /api/v1/, a forgotten slash included: a redirect would turn a POST into a GET."""
    return error_response(request, NotFound(_("没有这个地址")))


class InternalError(DomainError):
    """A mistake in the program; the log has it under the request's id."""

    code, status, title = "internal_error", 500, gettext_lazy("出错了")


def form_expired(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's refusal of a form that doesn't come from a fresh page of ours, in our form."""
    return error_response(request, PermissionRefused(_("页面已过期，请返回并刷新后再试")))


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500 in our form; 503 when the database failed where no view can be blamed, as in a middleware."""
    error = sys.exc_info()[1]
    refusal = as_domain_error(error) if isinstance(error, Exception) else None
    return error_response(request, refusal or InternalError(_("出错了，我们已记录下来")))


def client_address(request: HttpRequest) -> str:
    """The caller's address: the rightmost hop of `X-Forwarded-For` that is not one of our own proxies.

    The header is looked at only when the connection itself comes from a proxy in `WAIMAI_TRUSTED_PROXIES`.
    An IPv6 caller is known by its /64, as that is what one subscriber gets.
    """
    return by_subscriber(exact_client_address(request))


def exact_client_address(request: HttpRequest) -> str:
    """The caller's whole address, not only the network of an IPv6 subscriber."""
    return caller(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))


def caller(connected: str, forwarded: str) -> str:
    """The whole address for doors without Django's request: who is connected, and what `X-Forwarded-For` says."""
    ours = networks(settings.WAIMAI_TRUSTED_PROXIES)
    address = connected
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    while hops and is_within(address, ours):
        address = _without_port(hops.pop())
    return address


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address lies in one of some networks; what is no address lies in none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks of a setting. Raises ValueError naming what is neither."""
    return _networks(tuple(texts))


@cache
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _without_port(hop: str) -> str:
    """Some proxies write `203.0.113.7:50123` and `[2001:db8::1]:50123`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


@lru_cache(10_000)
def by_subscriber(address: str) -> str:
    """An address as limits know it: an IPv6 subscriber by the /64, nonsense cut short."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        # An IPv4 caller on a socket that takes both; their /64 would be all the world.
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False))
