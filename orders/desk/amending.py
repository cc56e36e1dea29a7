"""Staff propose to amend an order; the desk's row follows at once for who did."""

from __future__ import annotations

import orders.services
from orders.desk.rows import apply
from orders.models import Order
from orders.services import Document


def propose(
    *, order_id: int, staff_id: int, line: int, quantity: int, replacement: int | None, reason: str = ""
) -> Document:
    """Returns the proposal; raises like `orders.services.propose_amendment`."""
    proposal = orders.services.propose_amendment(
        order_id=order_id, staff_id=staff_id, line=line, quantity=quantity, replacement=replacement, reason=reason
    )
    apply(orders.services.snapshot_of(Order.objects.by_id(order_id).get()))
    return proposal
