"""The entry: how many requests may come in at all, before anything else is done about them.

Customers share one bucket over all processes, of which nobody on the internet may take more than a share. Staff have
buckets of their own by address, so that no crowd of customers shuts them out. What tells us of money, what keeps us
alive and what is served from a file is let in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from waimai.infra import ratelimit
from waimai.infra.errors import DomainError, NotFound
from waimai.infra.http import by_subscriber, error_response, exact_client_address, is_within, networks

FREE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
WEBHOOKS = ("/api/v1/payments/webhooks/", "/notify/")
FREE_FOLDERS = (*WEBHOOKS, "/static/", "/media/")
HANDS_IN_A_BURST, HAND_SECONDS = 20, 1.0
STAFF_FOLDERS = ("/admin/", "/board/", "/api/v1/staff/", "/api/v1/auth/staff/")


def admit(path: str, exact_address: str) -> None:
    """Let a request in. `path` is the one that routes go by, the address the caller's.

    Raises RateLimited, and NotFound for the staff's side outside `WAIMAI_ADMIN_NETWORKS`.
    """
    if path in FREE_PATHS or (path.startswith(FREE_FOLDERS) and _is_plain(path)):
        return
    address = by_subscriber(exact_address)
    if path.startswith(STAFF_FOLDERS):
        ratelimit.spend("staff", address)
        allowed = settings.WAIMAI_ADMIN_NETWORKS
        if allowed and not is_within(exact_address, networks(allowed)):
            raise NotFound
        return
    # A proxy on this machine that isn't declared (WAIMAI_TRUSTED_PROXIES) makes all the world come from here.
    if not _is_loopback(address):
        ratelimit.spend("address", address)
    ratelimit.spend("entry")


def admit_many(exact_addresses: Sequence[str]) -> list[DomainError | None]:
    """`admit` for several customers, with one question for each bucket; the refusal of each, or None."""
    refusals: list[DomainError | None] = [None] * len(exact_addresses)
    addresses = [by_subscriber(address) for address in exact_addresses]
    outside = [n for n, address in enumerate(addresses) if not _is_loopback(address)]
    for n, refusal in zip(outside, ratelimit.spend_many("address", [addresses[n] for n in outside]), strict=True):
        refusals[n] = refusal
    inside = [n for n, refusal in enumerate(refusals) if refusal is None]
    for n, refusal in zip(inside, ratelimit.spend_many("entry", [""] * len(inside)), strict=True):
        refusals[n] = refusal
    return refusals


class Ahead:
    """Lets customers in on an event loop: tokens are taken a few at a time, so that hardly anybody waits for Redis.

    What of a handful isn't used within a second is lost. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._hands: dict[tuple[str, str], tuple[int, float]] = {}

    async def admitted(self, exact_address: str) -> bool:
        """Whether there is a token; who has none may still be told so, or let in, by `admit`."""
        address = by_subscriber(exact_address)
        if not _is_loopback(address) and not await self._one("address", address):
            return False
        return await self._one("entry", "")

    async def _one(self, bucket: str, who: str) -> bool:
        rate = ratelimit.rate_of(bucket)
        if rate is None:
            return True
        left, until = self._hands.get((bucket, who), (0, 0.0))
        if left == 0 or time.monotonic() > until:
            wanted = max(1, rate.burst // HANDS_IN_A_BURST)
            decision = await asyncio.to_thread(ratelimit.take, bucket, who, tokens=wanted)
            if decision is None or not decision.given:
                return False
            if len(self._hands) >= ratelimit.MOST_REMEMBERED:
                self._hands.clear()
            left, until = wanted, time.monotonic() + HAND_SECONDS
        self._hands[bucket, who] = (left - 1, until)
        return True


def _is_plain(path: str) -> bool:
    """Whether a path leads where it says; others may go round a proxy's idea of it."""
    return "//" not in path and "/." not in path


@lru_cache(ratelimit.MOST_REMEMBERED)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_network(address).is_loopback
    except ValueError:
        return False


class EntryMiddleware:
    """Refuses what comes too fast before sessions, users and databases are asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        try:
            admit(request.path_info, exact_client_address(request))
        except DomainError as refusal:
            return error_response(request, refusal)
        return self.get_response(request)
