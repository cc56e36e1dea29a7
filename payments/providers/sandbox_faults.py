"""How the sandbox gateway stumbles on request: a fault is a row, so that every process meets it."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar, cast

from django.db.models import F

from payments.models import SandboxFault
from payments.providers import base
from payments.providers.base import ProviderUnavailable
from waimai.infra import sharding

T = TypeVar("T")


class Fault(StrEnum):
    """How a call to the gateway, or its call to our webhook, goes wrong."""

    DOWN = "down"  # Nothing happens, no usable answer comes: a 500.
    LOST_ANSWER = "lost_answer"  # It happens, but no answer comes.
    SLOW = "slow"  # It happens, after some seconds; who waits gives up after CALL_SECONDS.


def fail_next(operation: str, *, near: int, times: int = 1, mode: Fault = Fault.DOWN, seconds: float = 0) -> None:
    """Let the next calls of an operation (create, query, close, refund, webhook) go wrong.

    It concerns the shard of the id `near` (an order, payment or refund).
    """
    using = sharding.shard_of_id(near)
    values = {"mode": mode.value, "remaining": times, "seconds": seconds}
    SandboxFault.objects.on(using).update_or_create(operation=operation, defaults=values)


def with_faults(operation: str, near: int, work: Callable[[], T]) -> T:
    """Do `work` as the fault that it meets lets it. Raises ProviderUnavailable."""
    fault = _take(operation, near)
    if fault is None:
        return work()
    if fault.mode == Fault.DOWN:
        raise ProviderUnavailable(f"sandbox: {operation} is down")
    if fault.mode == Fault.SLOW:
        time.sleep(min(fault.seconds, base.CALL_SECONDS))
    answer = work()
    if fault.mode == Fault.LOST_ANSWER:
        raise ProviderUnavailable(f"sandbox: the answer to {operation} was lost")
    if fault.seconds > base.CALL_SECONDS:
        raise ProviderUnavailable(f"sandbox: no answer to {operation} within {base.CALL_SECONDS:g} s")
    return answer


def _take(operation: str, near: int) -> SandboxFault | None:
    """The fault that this call meets, used up by it; None when all goes well."""
    rows = SandboxFault.objects.on(sharding.shard_of_id(near)).filter(operation=operation, remaining__gt=0)
    fault = cast("SandboxFault | None", rows.first())
    if fault is None:
        return None
    return fault if rows.update(remaining=F("remaining") - 1) == 1 else None
