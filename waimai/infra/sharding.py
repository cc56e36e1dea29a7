"""Users, buckets and shards: who lives where, and transactions that say so.

`bucket = crc32(user_id) % 1024` never changes; the bucket map (rows in `default`) says which database holds a bucket.
Every id of an order, payment or refund carries its bucket, so that any of them routes without a look-up.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, models, transaction
from django.db.models import Max

from waimai.infra import ids
from waimai.infra.errors import ServiceUnavailable, ShardNotChosen

__all__ = ["DEFAULT", "EverywhereManager", "ShardNotChosen", "ShardedManager", "ShardedModel", "atomic", "atomic_of_id"]

logger = logging.getLogger(__name__)

DEFAULT = "default"
BUCKETS = ids.BUCKETS
MAP_CHECKED_EVERY_SECONDS = 5.0
# Who can't wait for the answer has it asked for in time.
MAP_ASKED_AHEAD_SECONDS = 2.0


def shards() -> list[str]:
    """The aliases of the order shards."""
    return list(settings.WAIMAI_ORDER_SHARDS)


def databases() -> list[str]:
    """Every alias: default, then the shards."""
    return [DEFAULT, *shards()]


def bucket_of_user(user_id: int) -> int:
    """The user's bucket, 0 to 1023, stable for ever (CRC-32 of the decimal digits)."""
    return zlib.crc32(str(user_id).encode()) % BUCKETS


def shard_of_user(user_id: int) -> str:
    """The alias of the shard where everything of this user lives."""
    return shard_of_bucket(bucket_of_user(user_id))


def shard_at_hand(user_id: int) -> str | None:
    """`shard_of_user` for event loops, which must not ask a database; None when the map at hand is too old to say."""
    return _map.alias_at_hand(bucket_of_user(user_id))


def shard_of_id(any_id: int) -> str:
    """The alias of the shard where an order, payment or refund of this id would live."""
    return shard_of_bucket(ids.bucket_of(any_id))


def shard_of_bucket(bucket: int) -> str:
    """The alias of the shard that holds a bucket. Raises ServiceUnavailable before the map was made."""
    return _map.alias_of(bucket)


def buckets_of(alias: str) -> frozenset[int]:
    """The buckets that a shard holds."""
    from waimai.infra.models import Bucket

    return frozenset(Bucket.objects.filter(alias=alias).values_list("number", flat=True))


@contextmanager
def atomic(user_id: int) -> Iterator[str]:
    """A transaction on the shard of a user; yields its alias."""
    alias = shard_of_user(user_id)
    with transaction.atomic(using=alias):
        yield alias


@contextmanager
def atomic_of_id(any_id: int) -> Iterator[str]:
    """A transaction on the shard of an order, payment or refund; yields its alias."""
    alias = shard_of_id(any_id)
    with transaction.atomic(using=alias):
        yield alias


def unknown_shards() -> list[str]:
    """Shards that hold buckets but aren't in the settings: what lives there can't be reached."""
    from waimai.infra.models import Bucket

    held = Bucket.objects.exclude(alias__in=shards()).values_list("alias", flat=True)
    return sorted(set(held))


def ensure_bucket_map() -> None:
    """Give every bucket a shard, evenly. Buckets that have one keep it: moving them means moving rows.

    Raises ImproperlyConfigured when a shard that holds buckets is missing from the settings.
    """
    from waimai.infra.models import Bucket

    if unknown := unknown_shards():
        raise ImproperlyConfigured(
            f"{', '.join(unknown)} hold users' orders, but WAIMAI_ORDER_SHARDS doesn't name them"
        )
    known = set(Bucket.objects.values_list("number", flat=True))
    aliases = shards()
    missing = [Bucket(number=n, alias=aliases[n % len(aliases)]) for n in range(BUCKETS) if n not in known]
    Bucket.objects.bulk_create(missing, ignore_conflicts=True)
    forget_bucket_map()


def forget_bucket_map() -> None:
    """Read the map again at the next use."""
    _map.forget()


class _BucketMap:
    """The process's copy of the bucket map, checked for a newer version every few seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._aliases: dict[int, str] = {}
        self._version = -1
        self._checked_at = 0.0
        self._asking = False

    def forget(self) -> None:
        with self._lock:
            self._aliases, self._version, self._checked_at = {}, -1, 0.0

    def alias_of(self, bucket: int) -> str:
        if time.monotonic() - self._checked_at > MAP_CHECKED_EVERY_SECONDS or not self._aliases:
            self._refresh_once()
        alias = self._aliases.get(bucket)
        if alias is None or alias not in settings.WAIMAI_ORDER_SHARDS:
            logger.error("bucket %s is on %s: run manage.py migrate_all, see WAIMAI_ORDER_SHARDS", bucket, alias)
            raise ServiceUnavailable
        return alias

    def alias_at_hand(self, bucket: int) -> str | None:
        age = time.monotonic() - self._checked_at
        if age > MAP_CHECKED_EVERY_SECONDS - MAP_ASKED_AHEAD_SECONDS and not self._asking:
            self._asking = True
            threading.Thread(target=self._refresh_aside, name="bucket map", daemon=True).start()
        alias = self._aliases.get(bucket)
        return alias if age <= MAP_CHECKED_EVERY_SECONDS and alias in settings.WAIMAI_ORDER_SHARDS else None

    def _refresh_aside(self) -> None:
        try:
            self._refresh_once()
        finally:
            self._asking = False
            connections.close_all()

    def _refresh_once(self) -> None:
        """Threads that wanted it at the same time wait for one answer, and then have it."""
        before = self._checked_at
        with self._lock:
            if self._checked_at == before or not self._aliases:
                self._refresh()

    def _refresh(self) -> None:
        from waimai.infra.models import Bucket

        try:
            version = Bucket.objects.aggregate(newest=Max("version"))["newest"] or 0
            if version != self._version or not self._aliases:
                self._aliases = dict(Bucket.objects.values_list("number", "alias"))
                self._version = version
        except DatabaseError:
            # With default down the last map known still serves the shards.
            if not self._aliases:
                raise
        self._checked_at = time.monotonic()


_map = _BucketMap()
M = TypeVar("M", bound=models.Model)


class ShardedQuerySet(models.QuerySet[M]):
    """A query that must say whose rows it wants; unrouted ones are refused by the router."""

    def for_user(self, user_id: int) -> Self:
        """Rows of one user, on the user's shard."""
        return self.using(shard_of_user(user_id)).filter(user_id=user_id)

    def by_id(self, any_id: int) -> Self:
        """The row with this id (zero or one), on the shard that the id names."""
        return self.using(shard_of_id(any_id)).filter(pk=any_id)

    def of_order(self, order_id: int) -> Self:
        """Rows that belong to one order, on the shard that the order's id names."""
        return self.using(shard_of_id(order_id)).filter(order_id=order_id)

    def on(self, alias: str) -> Self:
        """Rows of one database, named."""
        return self.using(alias)


class ShardedManager(models.Manager[M], Generic[M]):
    """The manager of a sharded table."""

    def get_queryset(self) -> ShardedQuerySet[M]:
        """A query that isn't routed yet."""
        return ShardedQuerySet(self.model, using=self._db)

    def for_user(self, user_id: int) -> ShardedQuerySet[M]:
        """Rows of one user, on the user's shard."""
        return self.get_queryset().for_user(user_id)

    def by_id(self, any_id: int) -> ShardedQuerySet[M]:
        """The row with this id (zero or one), on the shard that the id names."""
        return self.get_queryset().by_id(any_id)

    def of_order(self, order_id: int) -> ShardedQuerySet[M]:
        """Rows that belong to one order, on the shard that the order's id names."""
        return self.get_queryset().of_order(order_id)

    def on(self, alias: str) -> ShardedQuerySet[M]:
        """Rows of one database, named."""
        return self.get_queryset().on(alias)


class EverywhereManager(models.Manager[M], Generic[M]):
    """The manager of a table that stands on every database."""

    def on(self, alias: str) -> models.QuerySet[M]:
        """Rows of one database, named."""
        return self.get_queryset().using(alias)


class ShardedModel(models.Model):
    """A table keyed by user: it lives on the order shards and moves with its bucket.

    What grows with every order names in `partitioned_by` the column of ids by which MySQL keeps its months apart: a
    part of the primary key, beside which no key is unique. Where there are such keys, `archived_by` names the column,
    of an index, by which rows leave with an archived month. See `waimai.infra.partitions`.
    """

    partitioned_by: ClassVar[str] = ""
    archived_by: ClassVar[str] = ""

    bucket = models.SmallIntegerField(editable=False)

    objects: Any = ShardedManager()

    class Meta:
        abstract = True
