"""Moving buckets between shards while the system is stopped: what makes an added database useful.

A bucket's rows are copied, then the map is changed, then the old rows are deleted. A crash leaves either the old rows
in force and a copy that the next run replaces, or the new rows in force and strays that the next run deletes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.models import Max

from waimai.infra.models import Bucket
from waimai.infra.router import EVERYWHERE, SHARDED_APPS
from waimai.infra.sharding import BUCKETS, forget_bucket_map, shards

COPIED_AT_ONCE = 1000


def layout() -> dict[str, int]:
    """How many buckets each shard holds."""
    held = Counter(Bucket.objects.values_list("alias", flat=True))
    return {alias: held[alias] for alias in sorted({*shards(), *held})}


def plan() -> dict[tuple[str, str], list[int]]:
    """The fewest moves that make all shards equal, within one bucket: (from, to) → buckets.

    Raises ValueError when the map names a shard that the settings don't.
    """
    held: dict[str, list[int]] = {alias: [] for alias in shards()}
    for number, alias in Bucket.objects.order_by("number").values_list("number", "alias"):
        if alias not in held:
            raise ValueError(f"bucket {number} is on {alias!r}, which WAIMAI_ORDER_SHARDS doesn't name")
        held[alias].append(number)
    share, extra = divmod(BUCKETS, len(held))
    # Those with the most keep the odd ones, so that nothing moves for their sake.
    fullest = sorted(held, key=lambda alias: -len(held[alias]))
    wanted = {alias: share + (place < extra) for place, alias in enumerate(fullest)}
    return _pair_up(held, wanted)


def _pair_up(held: Mapping[str, list[int]], wanted: Mapping[str, int]) -> dict[tuple[str, str], list[int]]:
    spare = [(alias, number) for alias, numbers in held.items() for number in numbers[wanted[alias] :]]
    moves: dict[tuple[str, str], list[int]] = defaultdict(list)
    for target, numbers in held.items():
        for _ in range(wanted[target] - len(numbers)):
            source, number = spare.pop()
            moves[source, target].append(number)
    return dict(moves)


def rebalance() -> int:
    """Carry out the plan; returns how many buckets moved. Nothing else may be running. Harmless twice."""
    delete_strays()
    moves = plan()
    for (source, target), buckets in moves.items():
        _copy(buckets, source, target)
        _switch(buckets, target)
        _delete(buckets, source)
    return sum(map(len, moves.values()))


def delete_strays() -> None:
    """Delete rows that lie on a shard which doesn't hold their bucket: left by a move that was cut off."""
    held: dict[str, list[int]] = defaultdict(list)
    for number, alias in Bucket.objects.values_list("number", "alias"):
        held[alias].append(number)
    for alias in shards():
        _delete([number for number in range(BUCKETS) if number not in set(held[alias])], alias)


def moving_models() -> Iterator[type[models.Model]]:
    """Every table that moves with its bucket."""
    for model in apps.get_models():
        label, name = model._meta.app_label, model._meta.model_name
        if (label in SHARDED_APPS or (label == "infra" and name in EVERYWHERE)) and _has_bucket(model):
            yield model


def _has_bucket(model: type[models.Model]) -> bool:
    return any(field.name == "bucket" for field in model._meta.get_fields())


def _rows(model: type[models.Model]) -> models.QuerySet[Any]:
    """Beneath the managers' own rules: a table that only grows moves as well."""
    return model._base_manager.get_queryset()


def _copy(buckets: Sequence[int], source: str, target: str) -> None:
    with transaction.atomic(using=target):
        for model in moving_models():
            rows = _rows(model)
            rows.using(target).filter(bucket__in=buckets).delete()
            batch: list[models.Model] = []
            for row in rows.using(source).filter(bucket__in=buckets).iterator(chunk_size=COPIED_AT_ONCE):
                batch.append(row)
                if len(batch) == COPIED_AT_ONCE:
                    rows.using(target).bulk_create(batch)
                    batch = []
            rows.using(target).bulk_create(batch)


def _switch(buckets: Sequence[int], target: str) -> None:
    with transaction.atomic(using="default"):
        newest = Bucket.objects.aggregate(newest=Max("version"))["newest"] or 0
        Bucket.objects.filter(number__in=buckets).update(alias=target, version=newest + 1)
    forget_bucket_map()


def _delete(buckets: Sequence[int], alias: str) -> None:
    if not buckets:
        return
    with transaction.atomic(using=alias):
        for model in moving_models():
            _rows(model).using(alias).filter(bucket__in=buckets).delete()
