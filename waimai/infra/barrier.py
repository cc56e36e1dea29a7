"""The saga barrier: each step takes effect once, whatever is repeated, reordered or never came.

After dtm's sub-transaction barrier (and Seata's TCC fence): a row per (saga, step, op) goes in by INSERT IGNORE in the
transaction of the effect, on the database of the effect. An undo first inserts the *do* row: if that went in, the step
never ran, so there is nothing to undo (null compensation), and should it still come it finds its row taken (hanging).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.models import Barrier
from waimai.infra.rows import insert_ignore


def with_barrier(*, using: str, saga_id: int, step: str, op: Literal["do", "undo"], body: Callable[[], None]) -> bool:
    """Run `body` unless this step was run, or undone, before; False says it was passed over.

    Belongs inside a transaction on `using`: when `body` raises, the barrier rows are rolled back with it.
    """
    never_done = op == "undo" and _enter(using, saga_id, step, "do", reason=op)
    if not _enter(using, saga_id, step, op, reason=op) or never_done:
        return False
    body()
    return True


def enter_many(*, using: str, saga_ids: Sequence[int], step: str) -> bool:
    """Enter the do of one step for many sagas, in one statement; False when some was done or undone before.

    Belongs inside the transaction of the effect, which must then be rolled back.
    """
    now = db_now(using)
    rows = [_row(saga_id, step, "do", reason="do", now=now) for saga_id in sorted(saga_ids)]
    return insert_ignore(Barrier, rows, using=using) == len(rows)


def undo_many(*, using: str, saga_ids: Sequence[int], step: str) -> None:
    """Enter the undo of one step for many sagas, in two statements: a do that still comes finds its row taken.

    Belongs inside the transaction of the undo's effect, which must be a compare-and-set of its own: this doesn't say
    which of the steps had been done, or undone before.
    """
    now = db_now(using)
    for op in ("do", "undo"):
        rows = [_row(saga_id, step, op, reason="undo", now=now) for saga_id in saga_ids]
        insert_ignore(Barrier, rows, using=using)


def _enter(using: str, saga_id: int, step: str, op: str, *, reason: str) -> bool:
    return insert_ignore(Barrier, [_row(saga_id, step, op, reason=reason, now=db_now(using))], using=using) == 1


def _row(saga_id: int, step: str, op: str, *, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "saga_id": saga_id,
        "step": step,
        "op": op,
        "reason": reason,
        "bucket": ids.bucket_of(saga_id),
        "created_at": now,
    }
