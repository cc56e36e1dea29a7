from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from waimai.infra import housekeeping, ids
from waimai.infra.clock import db_now
from waimai.infra.models import Barrier, IdempotencyKey, OutboxMessage, Timer

pytestmark = pytest.mark.data
HERE = "orders_0"


def ago(**age: float) -> datetime:
    return db_now(HERE) - timedelta(**age)


def key(name: str, **age: float) -> None:
    IdempotencyKey.objects.on(HERE).create(
        user_id=7, key=name, route="r", fingerprint="f", ref_id=1, bucket=0, created_at=ago(**age)
    )


def keys() -> list[str]:
    return list(IdempotencyKey.objects.on(HERE).order_by("key").values_list("key", flat=True))


def barrier(**age: float) -> None:
    Barrier.objects.on(HERE).create(
        saga_id=ids.new_id(0), step="s", op="do", reason="do", bucket=0, created_at=ago(**age)
    )


def message(state: OutboxMessage.State, **age: float) -> None:
    OutboxMessage.objects.on(HERE).create(
        bucket=0, topic="t", key=1, version=1, payload={}, state=state, next_at=ago(**age), created_at=ago(**age)
    )


def test_keys_are_kept_for_seven_days() -> None:
    key("old", days=7, minutes=1)
    key("young", days=6, hours=23)
    assert housekeeping.forget_old(HERE) == 1
    assert keys() == ["young"]


def test_barriers_are_kept_for_thirty_days() -> None:
    barrier(days=30, minutes=1)
    barrier(days=29, hours=23)
    assert housekeeping.forget_old(HERE) == 1
    assert Barrier.objects.on(HERE).count() == 1


def test_done_messages_are_kept_for_three_days() -> None:
    message(OutboxMessage.State.DONE, days=3, minutes=1)
    message(OutboxMessage.State.DONE, days=2, hours=23)
    assert housekeeping.forget_old(HERE) == 1
    assert OutboxMessage.objects.on(HERE).count() == 1


@pytest.mark.parametrize("state", [OutboxMessage.State.PENDING, OutboxMessage.State.PARKED])
def test_what_was_not_heard_is_kept_for_ever(state: OutboxMessage.State) -> None:
    message(state, days=400)
    assert housekeeping.forget_old(HERE) == 0


def test_timers_are_kept_for_ever() -> None:
    Timer.objects.on(HERE).create(kind="tea", ref_id=1, bucket=0, due_at=ago(days=400))
    assert housekeeping.forget_old(HERE) == 0


def test_much_goes_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "DELETED_AT_ONCE", 2)
    for number in range(5):
        key(f"k-{number}", days=8)
        message(OutboxMessage.State.DONE, days=4)
    assert housekeeping.forget_old(HERE) == 10
    assert keys() == []


def test_other_databases_are_left_alone() -> None:
    key("old", days=8)
    assert housekeeping.forget_old("orders_1") == 0
    assert keys() == ["old"]


def test_every_database_is_looked_at() -> None:
    key("old", days=8)
    for alias in ("default", "orders_1"):
        long_ago = db_now(alias) - timedelta(days=8)
        IdempotencyKey.objects.on(alias).create(
            user_id=7, key="old", route="r", fingerprint="f", ref_id=1, bucket=0, created_at=long_ago
        )
    assert housekeeping.keep_house() == 3


def test_apps_add_what_they_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_on_default", [lambda: 5])
    monkeypatch.setattr(housekeeping, "_on_shards", [lambda alias: {"orders_0": 10, "orders_1": 100}[alias]])
    assert housekeeping.keep_house() == 115


def test_more_old_rows_than_one_batch_go_on_every_database() -> None:
    using = HERE
    old = db_now(using) - timedelta(days=40)
    IdempotencyKey.objects.on(using).bulk_create(
        IdempotencyKey(user_id=1, key=f"k{n}", route="r", fingerprint="f", ref_id=1, bucket=1, created_at=old)
        for n in range(2_500)
    )
    Barrier.objects.on(using).bulk_create(
        Barrier(saga_id=n, step="reserve", op="do", reason="do", bucket=1, created_at=old) for n in range(2_500)
    )
    assert housekeeping.forget_old(using) == 5_000


def test_a_job_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> int:
        raise ValueError("broom is broken")

    monkeypatch.setattr(housekeeping, "_on_default", [fails, lambda: 7])
    monkeypatch.setattr(housekeeping, "_on_shards", [])
    assert housekeeping.keep_house() == 7
