"""Idempotency keys: a caller's key, once bound, stands for one request and its one result.

After Stripe's keys and the IETF draft `idempotency-key-header`: the row goes in with the change it protects, so that
a request rolled back binds nothing. Stored is what the key stands for, not the answer: that is rendered again.
"""

from __future__ import annotations

import hashlib
import json

from waimai.infra.clock import db_now
from waimai.infra.db import insert_ignore
from waimai.infra.errors import IdempotencyKeyReused
from waimai.infra.models import IdempotencyKey
from waimai.infra.sharding import bucket_of_user


def fingerprint(route: str, body: object) -> str:
    """SHA-256 (hex) of a route and the canonical JSON of a body."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(f"{route}\n{canonical}".encode()).hexdigest()


def find(*, user_id: int, key: str, route: str, fingerprint: str, using: str) -> int | None:
    """What the user's key stands for, or None. Raises IdempotencyKeyReused when it stands for another request."""
    row = IdempotencyKey.objects.on(using).filter(user_id=user_id, key=key).first()
    if row is None:
        return None
    if (row.route, row.fingerprint) != (route, fingerprint):
        raise IdempotencyKeyReused
    return row.ref_id


def claim(*, user_id: int, key: str, route: str, fingerprint: str, ref_id: int, using: str) -> int | None:
    """Bind a key to `ref_id` in the open transaction; None when it was free, else what it already stands for.

    Raises IdempotencyKeyReused when it stands for another request. A rival whose transaction is still open is waited
    for, at most as long as the database waits for a lock.
    """
    row = {
        "user_id": user_id,
        "key": key,
        "route": route,
        "fingerprint": fingerprint,
        "ref_id": ref_id,
        "bucket": bucket_of_user(user_id),
        "created_at": db_now(using),
    }
    if insert_ignore(IdempotencyKey, [row], using=using) == 1:
        return None
    return find(user_id=user_id, key=key, route=route, fingerprint=fingerprint, using=using)
