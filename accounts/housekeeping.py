"""What may be forgotten: codes, refresh tokens and sessions that have run out."""

from __future__ import annotations

from datetime import timedelta

from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts.models import LoginSession, SmsCode
from waimai.infra.clock import db_now
from waimai.infra.sharding import DEFAULT

ROWS_AT_ONCE = 1000
# Application clocks, which sign tokens, may differ from the database's.
GRACE = timedelta(hours=1)


def purge_expired(*, batch: int = ROWS_AT_ONCE) -> int:
    """Delete at most `batch` expired refresh tokens, as many codes and sessions; returns how many rows went."""
    limit = db_now(DEFAULT) - GRACE
    tokens = list(
        OutstandingToken.objects.filter(expires_at__lt=limit).order_by("pk").values_list("pk", flat=True)[:batch]
    )
    BlacklistedToken.objects.filter(token_id__in=tokens).delete()
    gone, _by_table = OutstandingToken.objects.filter(pk__in=tokens).delete()
    phones = list(
        SmsCode.objects.filter(expires_at__lt=limit).order_by("expires_at").values_list("pk", flat=True)[:batch]
    )
    codes, _by_table = SmsCode.objects.filter(pk__in=phones, expires_at__lt=limit).delete()
    stale = limit - api_settings.REFRESH_TOKEN_LIFETIME
    sessions = list(
        LoginSession.objects.filter(renewed_at__lt=stale).order_by("renewed_at").values_list("pk", flat=True)[:batch]
    )
    ended, _by_table = LoginSession.objects.filter(pk__in=sessions, renewed_at__lt=stale).delete()
    return gone + codes + ended
