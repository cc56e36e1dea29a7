"""Idempotency keys: a caller's key, once bound, stands for one request and its one result.

After Stripe's keys and the IETF draft `idempotency-key-header`: the row goes in with the change it protects, so that
a request rolled back binds nothing. Stored is what the key stands for, not the answer: that is rendered again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from waimai.infra.clock import db_now
from waimai.infra.errors import IdempotencyKeyReused
from waimai.infra.models import IdempotencyKey
from waimai.infra.rows import insert_ignore
from waimai.infra.sharding import bucket_of_user

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode


def fingerprint(route: str, body: object) -> str:
    """SHA-256 (hex) of a route and the canonical JSON of a body."""
    return hashlib.sha256(f"{route}\n{_canonical(body)}".encode()).hexdigest()


@dataclass(frozen=True)
class Claim:
    """A user's key, and the request and the result it shall stand for."""

    user_id: int
    key: str
    route: str
    fingerprint: str
    ref_id: int


def find(*, user_id: int, key: str, route: str, fingerprint: str, using: str) -> int | None:
    """What the user's key stands for, or None. Raises IdempotencyKeyReused when it stands for another request."""
    row = find_many([(user_id, key)], using=using).get((user_id, key))
    if row is None:
        return None
    if (row.route, row.fingerprint) != (route, fingerprint):
        raise IdempotencyKeyReused
    return row.ref_id


def find_many(claims: Sequence[tuple[int, str]], *, using: str) -> dict[tuple[int, str], IdempotencyKey]:
    """The rows of those (user, key) that are bound, in one query."""
    if not claims:
        return {}
    users, keys = {user for user, _ in claims}, {key for _, key in claims}
    # A user of one with the key of another may be among them: passed over here, as MySQL finds pairs by scanning.
    rows = IdempotencyKey.objects.on(using).filter(user_id__in=users, key__in=keys)
    wanted = set(claims)
    return {(row.user_id, row.key): row for row in rows if (row.user_id, row.key) in wanted}


def claim(*, user_id: int, key: str, route: str, fingerprint: str, ref_id: int, using: str) -> int | None:
    """Bind a key to `ref_id` in the open transaction; None when it was free, else what it already stands for.

    Raises IdempotencyKeyReused when it stands for another request. A rival whose transaction is still open is waited
    for, at most as long as the database waits for a lock.
    """
    if _insert([Claim(user_id, key, route, fingerprint, ref_id)], using=using) == 1:
        return None
    return find(user_id=user_id, key=key, route=route, fingerprint=fingerprint, using=using)


def claim_many(claims: Sequence[Claim], *, using: str) -> dict[tuple[int, str], IdempotencyKey]:
    """`claim` for many different keys; returns the rows of those that were taken, whatever they stand for.

    Each `ref_id` must be new: by it we know our own rows again.
    """
    if _insert(claims, using=using) == len(claims):
        return {}
    bound = {(each.user_id, each.key): each.ref_id for each in claims}
    return {pair: row for pair, row in find_many(list(bound), using=using).items() if row.ref_id != bound[pair]}


def _insert(claims: Sequence[Claim], *, using: str) -> int:
    """How many of the keys were free, and are bound now."""
    now = db_now(using)
    rows = [
        {
            "user_id": each.user_id,
            "key": each.key,
            "route": each.route,
            "fingerprint": each.fingerprint,
            "ref_id": each.ref_id,
            "bucket": bucket_of_user(each.user_id),
            "created_at": now,
        }
        # In one order, so that two writers with some keys in common don't wait for each other in a circle.
        for each in sorted(claims, key=lambda each: (each.user_id, each.key))
    ]
    return insert_ignore(IdempotencyKey, rows, using=using)
