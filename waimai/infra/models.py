"""Tables below the four apps. Those in `router.EVERYWHERE` stand on every database, the others on default."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import CompositePrimaryKey
from django.utils.translation import gettext_lazy as _

from waimai.infra.fields import ExactCharField
from waimai.infra.sharding import EverywhereManager


def message_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then chance; new rows go to the end of the index."""
    milliseconds = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & ((1 << 62) - 1))


class WorkerLease(models.Model):
    """Who may make ids with a worker number: up to the second `issued_until`, counted from the ids' epoch."""

    number = models.SmallIntegerField(primary_key=True)
    owner = models.CharField(max_length=64)
    issued_until = models.BigIntegerField()


class Bucket(models.Model):
    """Which database holds a bucket of users. `version` grows with every change of the map."""

    number = models.SmallIntegerField(primary_key=True)
    alias = models.CharField(max_length=32)
    version = models.IntegerField(default=1)


class ArchiveMark(models.Model):
    """Orders with a lower id than `below` may lie in the archive; the others are on the shards. At most one row."""

    id = models.SmallIntegerField(primary_key=True)
    below = models.BigIntegerField()


class Breaker(models.Model):
    """An outside service, and whether somebody has forbidden calling it."""

    name = models.CharField(_("服务"), max_length=48, primary_key=True)
    held_open = models.BooleanField(_("人工断开"), default=False)

    class Meta:
        verbose_name = _("熔断器")
        verbose_name_plural = _("熔断器")

    def __str__(self) -> str:
        return self.name


class OutboxMessage(models.Model):
    """News that was written with its change and waits for its hearers."""

    class State(models.IntegerChoices):
        PENDING = 0, _("待处理")
        DONE = 1, _("已完成")
        PARKED = 2, _("已搁置")

    id = models.UUIDField(_("消息号"), primary_key=True, default=message_id, editable=False)
    bucket = models.SmallIntegerField()
    topic = models.CharField(_("主题"), max_length=48)
    key = models.BigIntegerField(_("对象"))
    version = models.IntegerField(_("版本"))
    payload = models.JSONField(_("内容"))
    state = models.SmallIntegerField(_("状态"), choices=State.choices, default=State.PENDING)
    attempts = models.SmallIntegerField(_("尝试次数"), default=0)
    # Also the end of a claim's lease: a claimed row is one that isn't due yet.
    next_at = models.DateTimeField(_("下次处理"))
    owner = models.CharField(max_length=32, default="")
    error = models.TextField(_("错误"), default="")
    created_at = models.DateTimeField(_("创建时间"))
    done_at = models.DateTimeField(_("完成时间"), null=True)

    objects: ClassVar[EverywhereManager[Self]] = EverywhereManager()

    class Meta:
        verbose_name = _("消息")
        verbose_name_plural = _("消息")
        indexes: ClassVar = [models.Index(fields=["state", "next_at", "id"], name="outbox_due")]


class Timer(models.Model):
    """Something that is due at a time. The row is the timer; everything else only makes it punctual."""

    pk = CompositePrimaryKey("kind", "ref_id")
    kind = models.CharField(max_length=24)
    ref_id = models.BigIntegerField()
    bucket = models.SmallIntegerField()
    due_at = models.DateTimeField()
    attempts = models.SmallIntegerField(default=0)
    error = models.CharField(max_length=500, default="", db_default="")

    objects: ClassVar[EverywhereManager[Self]] = EverywhereManager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["due_at", "kind"], name="timer_due")]


class TimerCursor(models.Model):
    """Up to which due time timers of this database were handed out as ETA tasks."""

    name = models.CharField(max_length=24, primary_key=True)
    upto = models.DateTimeField()

    objects: ClassVar[EverywhereManager[Self]] = EverywhereManager()


class Barrier(models.Model):
    """A step of a saga, done or undone, in the database of its effect and in the same transaction."""

    pk = CompositePrimaryKey("saga_id", "step", "op")
    saga_id = models.BigIntegerField()
    step = models.CharField(max_length=24)
    op = models.CharField(max_length=4)
    reason = models.CharField(max_length=4)
    bucket = models.SmallIntegerField()
    created_at = models.DateTimeField()

    objects: ClassVar[EverywhereManager[Self]] = EverywhereManager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="barrier_created")]


class IdempotencyKey(models.Model):
    """What a caller's key stands for. Kept in a table of its own, as MySQL has no unique key across partitions."""

    pk = CompositePrimaryKey("user_id", "key")
    user_id = models.BigIntegerField()
    key = ExactCharField(max_length=80)
    route = models.CharField(max_length=40)
    fingerprint = models.CharField(max_length=64)
    ref_id = models.BigIntegerField()
    bucket = models.SmallIntegerField()
    created_at = models.DateTimeField()

    objects: ClassVar[EverywhereManager[Self]] = EverywhereManager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotency_created")]
