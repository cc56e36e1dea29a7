"""JSON web tokens: an access token for half an hour, a refresh token for 14 days that works once.

SimpleJWT makes and reads them. Spending a refresh token is our own: its `rotate` reads the blacklist before it writes,
so that two requests at once would both win. Here the blacklist's unique row decides, in the transaction that makes
the next pair.

All tokens of one login carry the number of its session. Logging out ends the session, and so does a spent refresh
token that comes back: somebody has a copy (RFC 9700, section 4.14.2). A client that asks twice at once is no thief, so
for ten seconds after it was spent a token is only refused.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from django.db import IntegrityError
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.errors import InvalidToken
from accounts.models import LoginSession, User
from waimai.infra.db import run_atomic
from waimai.infra.errors import Unauthenticated
from waimai.infra.sharding import DEFAULT

logger = logging.getLogger(__name__)
# The claim that names the session.
SESSION = "sid"
TWICE_AT_ONCE = timedelta(seconds=10)
LONE_TOKEN_LIVES = timedelta(hours=2)
NUMBER = re.compile(r"[0-9]{1,18}")
TOKENS_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    """What a client keeps: `access` goes with every request, `refresh` buys the next pair, once."""

    access: str
    refresh: str


class _RefreshClaims(Token):
    """A refresh token that is read without asking the blacklist: spending it asks, by writing."""

    token_type = "refresh"  # noqa: S105 - a kind, not a secret
    lifetime: timedelta = api_settings.REFRESH_TOKEN_LIFETIME


def issue_tokens(user: User) -> TokenPair:
    """The first pair of a login, for somebody whose proof was checked."""

    def body() -> TokenPair:
        User.objects.filter(pk=user.pk).update(last_login=timezone.now())
        return _new_pair(user, LoginSession.objects.create(user=user).pk)

    return run_atomic(DEFAULT, body)


def issue_lone_token(user: User) -> str:
    """An access token for a client that can't refresh: it lives for two hours, and ends with its session."""

    def body() -> str:
        User.objects.filter(pk=user.pk).update(last_login=timezone.now())
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=LONE_TOKEN_LIVES)
        token[SESSION] = LoginSession.objects.create(user=user).pk
        return str(token)

    return run_atomic(DEFAULT, body)


def rotate(refresh: str) -> TokenPair:
    """Spend a refresh token on a new pair. Of any number of calls with one token exactly one succeeds.

    Raises InvalidToken: forged, expired, spent, made before the last change of password, its session has ended, or its
    user is switched off. One that was spent more than ten seconds ago ends its session.
    """
    claims = _read(refresh)
    user = user_of(claims)
    try:
        return run_atomic(DEFAULT, lambda: _spend(claims, user))
    except IntegrityError as error:
        _note_reuse(claims)
        raise InvalidToken from error


def revoke(refresh: str) -> None:
    """Log out: the session and all its tokens end. Twice is harmless. Raises InvalidToken: forged or expired."""
    claims = _read(refresh)
    outstanding = _outstanding(claims)

    def body() -> None:
        BlacklistedToken.objects.bulk_create([BlacklistedToken(token=outstanding)], ignore_conflicts=True)
        _end_session(claims, LoginSession.End.LOGOUT)

    run_atomic(DEFAULT, body)


def user_of_header(authorization: str) -> int:
    """The number of the user for whom an `Authorization: Bearer …` header speaks, for doors without DRF.

    Raises Unauthenticated when it is no such header, InvalidToken like `rotate` for a bad one.
    """
    scheme, _, raw = authorization.partition(" ")
    if scheme != "Bearer" or not raw:
        raise Unauthenticated
    try:
        claims = AccessToken(raw.strip())  # type: ignore[arg-type]  # As above.
    except TokenError as error:
        raise InvalidToken from error
    return int(user_of(claims).pk)


@dataclass(frozen=True)
class AccessClaims:
    """What a genuine access token says: whose it is, of which session, made with which password (a digest)."""

    user_id: int
    session: str
    made_with: str
    expires_at: float


def read_access(authorization: str) -> AccessClaims | None:
    """The claims of an `Authorization: Bearer …` header by its signature and time alone; None when it isn't plain.

    Whether user, password and session still are, `valid_claims` says: of many in one question.
    """
    scheme, _, raw = authorization.partition(" ")
    claims = _read_access(raw) if scheme == "Bearer" and raw else None
    return claims if claims is not None and claims.expires_at > time.time() else None


@lru_cache(TOKENS_REMEMBERED)
def _read_access(raw: str) -> AccessClaims | None:
    """A signature that was good stays good: only time passes."""
    try:
        token = AccessToken(raw)  # type: ignore[arg-type]  # As above.
    except TokenError:
        return None
    number, session = str(token.get(api_settings.USER_ID_CLAIM, "")), token.get(SESSION)
    if not NUMBER.fullmatch(number) or not isinstance(session, str):
        return None
    return AccessClaims(int(number), session, str(token.get(api_settings.REVOKE_TOKEN_CLAIM, "")), float(token["exp"]))


def valid_claims(claims: Iterable[AccessClaims]) -> set[AccessClaims]:
    """Those whose user may still act, whose password is still the same and whose session goes on; in one query."""
    asked = set(claims)
    sessions = LoginSession.objects.filter(pk__in={each.session for each in asked}, ended_at=None, user__is_active=True)
    found = sessions.values_list("pk", "user_id", "user__password")
    made_with = {(session, user_id): get_md5_hash_password(password) for session, user_id, password in found}
    return {
        each
        for each in asked
        if (key := (each.session, each.user_id)) in made_with and constant_time_compare(made_with[key], each.made_with)
    }


def _new_pair(user: User, session: str) -> TokenPair:
    refresh = RefreshToken.for_user(user)
    refresh[SESSION] = session
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh))


def _read(refresh: str) -> Token:
    try:
        return _RefreshClaims(refresh)  # type: ignore[arg-type]  # SimpleJWT's annotation is wrong: it takes the text.
    except TokenError as error:
        raise InvalidToken from error


def user_of(claims: Token) -> User:
    """Whose token it is, in one query. Raises InvalidToken when that user, password or session is no longer."""
    number = str(claims.get(api_settings.USER_ID_CLAIM, ""))
    if not NUMBER.fullmatch(number):
        raise InvalidToken
    users = User.objects.filter(pk=int(number), is_active=True)
    # One from before there were sessions has none; it ends by itself.
    if session := claims.get(SESSION):
        users = users.filter(Exists(LoginSession.objects.filter(pk=session, user=OuterRef("pk"), ended_at=None)))
    user = users.first()
    if user is None:
        raise InvalidToken
    # The claim is a digest of the stored hash: a changed password ends every token made before.
    made_with = str(claims.get(api_settings.REVOKE_TOKEN_CLAIM, ""))
    if not constant_time_compare(made_with, get_md5_hash_password(user.password)):
        raise InvalidToken
    return user


def _spend(claims: Token, user: User) -> TokenPair:
    BlacklistedToken.objects.create(token=_outstanding(claims))
    session = claims.get(SESSION) or LoginSession.objects.create(user=user).pk
    # A logout that came first has ended it: then nothing is spent either.
    if LoginSession.objects.filter(pk=session, ended_at=None).update(renewed_at=timezone.now()) != 1:
        raise InvalidToken
    return _new_pair(user, session)


def _note_reuse(claims: Token) -> None:
    """A spent token came back: end the session unless it was spent just now."""
    spent = BlacklistedToken.objects.filter(token__jti=claims[api_settings.JTI_CLAIM]).first()
    if spent is not None and timezone.now() - spent.blacklisted_at > TWICE_AT_ONCE and claims.get(SESSION):
        _end_session(claims, LoginSession.End.REUSE)
        logger.warning("session %s ended: a spent refresh token came back", claims[SESSION])


def _end_session(claims: Token, why: LoginSession.End) -> None:
    going_on = LoginSession.objects.filter(pk=claims.get(SESSION), ended_at=None)
    going_on.update(ended_at=timezone.now(), end=why)


def _outstanding(claims: Token) -> OutstandingToken:
    found = OutstandingToken.objects.filter(jti=claims[api_settings.JTI_CLAIM]).first()
    if found is None:
        raise InvalidToken
    return found
