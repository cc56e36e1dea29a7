"""Delivering the sandbox's notices: a real POST to our own webhook, tried again like a gateway does.

It is the one part of the sandbox that speaks HTTP, and only its timer calls it.
"""

from __future__ import annotations

import http.client
import logging
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec
from django.conf import settings
from django.db.models import F
from django.urls import reverse

from payments.models import SandboxCharge, SandboxNotice, SandboxRefund
from payments.providers import sandbox_wire
from payments.providers.base import ProviderUnavailable
from payments.providers.sandbox import NAME, NOTIFY, SandboxOutcome, book
from payments.providers.sandbox_faults import with_faults
from waimai.infra import timers
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5
# The pauses after tries that failed; then the gateway gives up, and our poller finds out by itself.
PAUSES_SECONDS = (1, 2, 5, 15, 30, 60, 180, 600, 1200, 1800)


def deliver(notice_id: int, *, using: str) -> None:
    """Book what a due notice says, then call the webhook as often as it asks; a call that fails is repeated later.

    Must not run inside a transaction.
    """
    notice = SandboxNotice.objects.on(using).filter(id=notice_id).first()
    if notice is None:
        run_atomic(using, lambda: timers.cancel(NOTIFY, [notice_id], using=using))
        return
    run_atomic(using, lambda: book(notice, using=using))
    for _number in range(notice.sent, notice.times):
        error = post(notice, using=using)
        if error:
            run_atomic(using, lambda error=error: _try_later(notice_id, error, using))  # type: ignore[misc]
            return
        SandboxNotice.objects.on(using).filter(id=notice_id).update(sent=F("sent") + 1)
    run_atomic(using, lambda: timers.cancel(NOTIFY, [notice_id], using=using))


def signed_notice(notice: SandboxNotice, *, using: str) -> tuple[dict[str, str], bytes]:
    """The headers and body of one call for a notice: the same body every time, freshly signed."""
    body = msgspec.json.encode(msgspec.to_builtins(_truth(notice, using)) | notice.claims)
    return sandbox_wire.sign(body), body


def _truth(notice: SandboxNotice, using: str) -> sandbox_wire.Notice:
    """What the books say of it."""
    names: dict[str, Any] = {
        "notify_id": f"N{notice.id}",
        "merchant": sandbox_wire.MERCHANT,
        "payment": notice.payment_id,
    }
    if notice.refund_id is not None:
        refund = SandboxRefund.objects.on(using).get(refund_id=notice.refund_id)
        return sandbox_wire.Notice(
            **names, event="refund.succeeded", refund=refund.refund_id, amount=f"{refund.amount:.2f}"
        )
    amount = f"{SandboxCharge.objects.on(using).get(payment_id=notice.payment_id).amount:.2f}"
    if notice.outcome == SandboxOutcome.SUCCESS:
        transaction_id = f"SB{notice.payment_id}"
        return sandbox_wire.Notice(**names, event="payment.captured", amount=amount, transaction_id=transaction_id)
    return sandbox_wire.Notice(**names, event="payment.failed", amount=amount, reason=sandbox_wire.FAILURE_REASON)


def post(notice: SandboxNotice, *, using: str) -> str:
    """Call the webhook once; returns why it did not work, empty when it did."""
    try:
        return with_faults("webhook", notice.payment_id, lambda: _call(notice, using))
    except ProviderUnavailable as error:
        return str(error)


def _call(notice: SandboxNotice, using: str) -> str:
    headers, body = signed_notice(notice, using=using)
    address = settings.WAIMAI_PUBLIC_URL.rstrip("/") + reverse("payment_webhook", args=[NAME])
    if urlsplit(address).scheme not in {"http", "https"}:
        return f"WAIMAI_PUBLIC_URL is no web address: {address}"
    headers["Content-Type"] = "application/json"
    request = Request(address, data=body, headers=headers, method="POST")  # noqa: S310 - the scheme was looked at
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS):
            return ""
    except HTTPError as error:
        error.close()
        return f"status {error.code}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"


class _NoRedirects(HTTPRedirectHandler):
    """A gateway doesn't follow redirects: to it they are failures."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """Never."""


_opener = build_opener(_NoRedirects)


def _try_later(notice_id: int, error: str, using: str) -> None:
    rows = SandboxNotice.objects.on(using).filter(id=notice_id)
    rows.update(attempts=F("attempts") + 1, last_error=error[:200])
    attempts = rows.get().attempts
    if attempts > len(PAUSES_SECONDS):
        logger.error("sandbox: notice %s given up: %s", notice_id, error)
        timers.cancel(NOTIFY, [notice_id], using=using)
        return
    logger.warning("sandbox: notice %s, try %s failed: %s", notice_id, attempts, error)
    due_at = db_now(using) + timedelta(seconds=PAUSES_SECONDS[attempts - 1])
    timers.schedule(NOTIFY, notice_id, due_at=due_at, using=using)
