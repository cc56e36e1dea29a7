"""Tickets for live streams: a browser's `EventSource` can't send a header, and a token in an address stays in logs.

A ticket is the claims of the access token, signed, and good for a minute, to open streams with. The stream then goes on
as long as the login: the claims are looked at again and again, like a token's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from django.core import signing

from accounts.errors import InvalidToken
from accounts.tokens import AccessClaims, read_access, valid_claims
from waimai.infra.errors import Unauthenticated

SALT = "accounts.live"
GOOD_FOR_SECONDS = 60


def live_ticket(authorization: str) -> str:
    """A ticket for whom an `Authorization: Bearer …` header speaks. Raises Unauthenticated."""
    claims = read_access(authorization)
    if claims is None or not valid_claims([claims]):
        raise Unauthenticated
    return signing.dumps(dataclasses.astuple(claims), salt=SALT, compress=True)


def caller_of_ticket(ticket: str) -> Callable[[], int]:
    """What tells again and again whose ticket it is. Raises InvalidToken: forged, or older than a minute.

    What is returned raises InvalidToken once that login has ended.
    """
    try:
        claims = AccessClaims(*signing.loads(ticket, salt=SALT, max_age=GOOD_FOR_SECONDS))
    except (signing.BadSignature, TypeError) as error:
        raise InvalidToken from error

    def caller() -> int:
        if not valid_claims([claims]):
            raise InvalidToken
        return claims.user_id

    return caller
