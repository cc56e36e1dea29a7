"""JSON web tokens: an access token for half an hour, a refresh token for 14 days that works once.

SimpleJWT makes and reads them. Spending a refresh token is our own: its `rotate` reads the blacklist before it writes,
so that two requests at once would both win. Here the blacklist's unique row decides, in the transaction that makes
the next pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.errors import InvalidToken
from accounts.models import User
from waimai.infra.db import run_atomic
from waimai.infra.errors import Unauthenticated
from waimai.infra.sharding import DEFAULT


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
        return _new_pair(user)

    return run_atomic(DEFAULT, body)


def rotate(refresh: str) -> TokenPair:
    """Spend a refresh token on a new pair. Of any number of calls with one token exactly one succeeds.

    Raises InvalidToken: forged, expired, spent, made before the last change of password, or its user is switched off.
    """
    claims = _read(refresh)
    user = _owner_of(claims)
    try:
        return run_atomic(DEFAULT, lambda: _spend(claims, user))
    except IntegrityError as error:
        raise InvalidToken from error


def revoke(refresh: str) -> None:
    """Log out: the refresh token is spent on nothing. Twice is harmless. Raises InvalidToken: forged or expired."""
    outstanding = _outstanding(_read(refresh))
    run_atomic(
        DEFAULT,
        lambda: BlacklistedToken.objects.bulk_create([BlacklistedToken(token=outstanding)], ignore_conflicts=True),
    )


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
    return int(_owner_of(claims).pk)


def _new_pair(user: User) -> TokenPair:
    refresh = RefreshToken.for_user(user)
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh))


def _read(refresh: str) -> Token:
    try:
        return _RefreshClaims(refresh)  # type: ignore[arg-type]  # SimpleJWT's annotation is wrong: it takes the text.
    except TokenError as error:
        raise InvalidToken from error


def _owner_of(claims: Token) -> User:
    user = User.objects.filter(pk=claims.get(api_settings.USER_ID_CLAIM), is_active=True).first()
    if user is None:
        raise InvalidToken
    # The claim is a digest of the stored hash: a changed password ends every token made before.
    made_with = str(claims.get(api_settings.REVOKE_TOKEN_CLAIM, ""))
    if not constant_time_compare(made_with, get_md5_hash_password(user.password)):
        raise InvalidToken
    return user


def _spend(claims: Token, user: User) -> TokenPair:
    BlacklistedToken.objects.create(token=_outstanding(claims))
    return _new_pair(user)


def _outstanding(claims: Token) -> OutstandingToken:
    found = OutstandingToken.objects.filter(jti=claims[api_settings.JTI_CLAIM]).first()
    if found is None:
        raise InvalidToken
    return found
