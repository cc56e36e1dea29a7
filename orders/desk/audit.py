"""What the audit asks of the desk: a row for every paid order, as new as the order (I10: each effect once)."""

from __future__ import annotations

from collections.abc import Iterator

import orders.services
from orders.desk.models import DeskOrder
from waimai.infra.models import OutboxMessage

COMPARED = ("version", "status", "payment_status", "total", "net_total")


def desk_problems(using: str) -> Iterator[str]:
    """Where the desk differs from the paid orders of one shard, apart from orders whose news is still on its way."""
    for batch in orders.services.paid_snapshots(using=using):
        truth = {snapshot["id"]: snapshot for snapshot in batch}
        rows = {row.order_id: row for row in DeskOrder.objects.filter(order_id__in=list(truth))}
        under_way = set(
            OutboxMessage.objects.on(using)
            .filter(key__in=list(truth), state__in=[OutboxMessage.State.PENDING, OutboxMessage.State.PARKED])
            .values_list("key", flat=True)
        )
        for order_id in truth.keys() - under_way:
            row, fact = rows.get(order_id), truth[order_id]
            if row is None:
                yield f"I10 order {order_id}: paid, but not on the desk"
            elif _seen_on_the_desk(row) != tuple(fact[name] for name in COMPARED):
                yield (
                    f"I10 order {order_id}: {fact['status']} at version {fact['version']}, "
                    f"the desk says {row.status} at {row.version}"
                )


def _seen_on_the_desk(row: DeskOrder) -> tuple[object, ...]:
    return (row.version, row.status, row.payment_status, str(row.total), str(row.net))
