"""Login codes by text message: six digits, five minutes, five tries, used once.

One row per phone, changed by compare-and-set only, so that these limits hold exactly, whatever runs at once and
whether or not the cache is up.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import limits, sms, validators
from accounts.errors import SmsNotSent, WrongCode
from accounts.models import ATTEMPTS_PER_CODE, SmsCode
from waimai.infra.breaker import Breaker, CircuitOpen
from waimai.infra.clock import db_now
from waimai.infra.errors import RateLimited, ValidationFailed
from waimai.infra.rows import insert_ignore
from waimai.infra.sharding import DEFAULT

logger = logging.getLogger(__name__)
CODE_LIVES = timedelta(minutes=5)
RESEND_AFTER = timedelta(minutes=1)
SPENT = ""
CARRIER = Breaker("sms")


@dataclass(frozen=True, kw_only=True)
class CodeSent:
    """A code is on its way; both figures in seconds."""

    expires_in: int
    resend_after: int


def send_code(*, phone: str, address: str) -> CodeSent:
    """Send a login code to a phone; `address` is the caller's network address.

    Raises ValidationFailed, RateLimited (one a minute and ten a day per phone, twenty an hour per address), SmsNotSent.
    """
    if not validators.MOBILE.match(phone):
        raise ValidationFailed(errors={"phone": [validators.mobile.message]})
    limits.take(limits.SMS_BY_ADDRESS, address)
    code = f"{secrets.randbelow(10**6):06d}"
    _put(phone, _hash(phone, code))
    try:
        limits.take(limits.SMS_BY_PHONE, phone)
        _hand_over(phone, code)
    except (RateLimited, SmsNotSent):
        # Nobody got this code: don't make them wait a minute for the next one.
        SmsCode.objects.filter(phone=phone, code_hash=_hash(phone, code)).delete()
        raise
    return CodeSent(expires_in=int(CODE_LIVES.total_seconds()), resend_after=int(RESEND_AFTER.total_seconds()))


def spend_code(*, phone: str, code: str) -> None:
    """Use up a phone's code. Of any number of calls with the right code exactly one succeeds. Raises WrongCode."""
    row = SmsCode.objects.filter(phone=phone).exclude(code_hash=SPENT).first()
    if row is None:
        raise WrongCode
    # The hash names the code that was read: a newer one in its place must not lose a try, or be spent.
    same = SmsCode.objects.filter(phone=phone, code_hash=row.code_hash)
    alive = same.filter(attempts_left__gt=0, expires_at__gt=db_now(DEFAULT))
    if alive.update(attempts_left=F("attempts_left") - 1) != 1:
        raise WrongCode
    if not constant_time_compare(row.code_hash, _hash(phone, code)):
        raise WrongCode
    if same.update(code_hash=SPENT) != 1:
        raise WrongCode


def _put(phone: str, code_hash: str) -> None:
    now = db_now(DEFAULT)
    code = {
        "code_hash": code_hash,
        "sent_at": now,
        "expires_at": now + CODE_LIVES,
        "attempts_left": ATTEMPTS_PER_CODE,
    }
    if SmsCode.objects.filter(phone=phone, sent_at__lte=now - RESEND_AFTER).update(**code) == 1:
        return
    if insert_ignore(SmsCode, [{"phone": phone, **code}], using=DEFAULT) != 1:
        raise RateLimited(retry_after=_seconds_to_wait(phone, now))


def _seconds_to_wait(phone: str, now: datetime) -> int:
    sent_at = SmsCode.objects.filter(phone=phone).values_list("sent_at", flat=True).first() or now
    return max(1, round((sent_at + RESEND_AFTER - now).total_seconds()))


def _hand_over(phone: str, code: str) -> None:
    try:
        with CARRIER.guard(failures=(Exception,)):
            sms.configured_sender().send(phone=phone, code=code)
    except CircuitOpen as error:
        raise SmsNotSent(retry_after=math.ceil(error.retry_after)) from error
    except Exception as error:
        # A carrier's library may raise anything; the log has it, the caller may ask again.
        logger.exception("the SMS sender failed")
        raise SmsNotSent from error


def _hash(phone: str, code: str) -> str:
    return salted_hmac("accounts.codes", f"{phone}:{code}", algorithm="sha256").hexdigest()
