"""The sandbox's notifications on the wire: JSON, signed with HMAC-SHA256 over `timestamp\\nnonce\\nbody\\n`."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from django.conf import settings
from django.utils.crypto import salted_hmac

from payments.errors import WebhookMalformed, WebhookRefused
from payments.providers.base import MAX_AGE_SECONDS, Notification, Outcome, OutcomeState, RefundDone

MERCHANT = "waimai-sandbox"
FAILURE_REASON = "the payer's bank said no"
TIMESTAMP, NONCE, SIGNATURE = "X-Sandbox-Timestamp", "X-Sandbox-Nonce", "X-Sandbox-Signature"

# Visible ASCII: MySQL takes `N1` and `N1 ` for the same key.
Name = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,64}\Z")]
Id = Annotated[int, msgspec.Meta(gt=0, lt=2**53)]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a notification; `amount` in yuan as a string, like `"56.00"`: of the payment, or of the refund."""

    notify_id: Name
    event: Literal["payment.captured", "payment.failed", "refund.succeeded"]
    merchant: Name
    payment: Id
    amount: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,8}\.[0-9]{2}\Z")]
    refund: Id | None = None
    transaction_id: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{0,64}\Z")] = ""
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


def sign(body: bytes, *, timestamp: int | None = None, nonce: str = "", secret: bytes | None = None) -> dict[str, str]:
    """The headers that make `body` a notification of the sandbox; `timestamp` in Unix seconds, now unless given."""
    moment = str(int(time.time()) if timestamp is None else timestamp)
    nonce = nonce or secrets.token_hex(16)
    return {TIMESTAMP: moment, NONCE: nonce, SIGNATURE: _signature(moment, nonce, body, secret or _secret())}


def parse(headers: Mapping[str, str], body: bytes) -> Notification:
    """Verify and read a notification.

    Raises WebhookRefused (unsigned, forged, older or younger than five minutes), WebhookMalformed (signed nonsense).
    """
    moment, nonce, signature = (headers.get(name, "") for name in (TIMESTAMP, NONCE, SIGNATURE))
    if not _is_recent(moment) or not nonce:
        raise WebhookRefused
    expected = _signature(moment, nonce, body, _secret())
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise WebhookRefused
    try:
        notice = msgspec.json.decode(body, type=Notice)
        json.loads(body, object_pairs_hook=_no_twins)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WebhookMalformed from error
    outcome = _outcome(notice)
    return Notification(
        notify_id=notice.notify_id, merchant=notice.merchant, payment_id=notice.payment, outcome=outcome
    )


def _no_twins(members: list[tuple[str, Any]]) -> None:
    """Which of two members with one name counts is every reader's own guess."""
    if len({name for name, _value in members}) != len(members):
        raise ValueError("a name stands there twice")


def _outcome(notice: Notice) -> Outcome | RefundDone:
    if notice.event == "payment.failed":
        return Outcome(state=OutcomeState.FAILED, reason=notice.reason)
    if notice.event == "refund.succeeded":
        if notice.refund is None:
            raise WebhookMalformed
        return RefundDone(refund_id=notice.refund, amount=Decimal(notice.amount))
    if not notice.transaction_id:
        raise WebhookMalformed
    return Outcome(state=OutcomeState.CAPTURED, transaction_id=notice.transaction_id, amount=Decimal(notice.amount))


def _is_recent(moment: str) -> bool:
    # Plain ASCII digits only: int() would also read signs, underscores and other scripts' digits.
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 12):
        return False
    return abs(time.time() - int(moment)) <= MAX_AGE_SECONDS


def _signature(moment: str, nonce: str, body: bytes, secret: bytes) -> str:
    return hmac.new(secret, f"{moment}\n{nonce}\n".encode() + body + b"\n", hashlib.sha256).hexdigest()


def _secret() -> bytes:
    """The secret shared with the gateway; unless the settings name one, derived from the installation's own."""
    if settings.WAIMAI_SANDBOX_SECRET:
        return str(settings.WAIMAI_SANDBOX_SECRET).encode()
    return salted_hmac("waimai.payments.sandbox", "webhook", algorithm="sha256").digest()
