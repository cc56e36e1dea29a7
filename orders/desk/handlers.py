"""The desk's row of an order follows the order's news, and the board hears of it."""

from __future__ import annotations

from menu.events import ItemSoldOut
from orders.desk import board, rows
from orders.events import (
    CustomerErased,
    OrderAccepted,
    OrderAmended,
    OrderAmendmentClosed,
    OrderAmendmentProposed,
    OrderCancelled,
    OrderCompleted,
    OrderDelivering,
    OrderErased,
    OrderEvent,
    OrderPaid,
    OrderRefunded,
    OrderReminded,
)
from waimai.infra import housekeeping
from waimai.infra.outbox import hear

housekeeping.on_default(board.forget_old)


@hear(OrderPaid, OrderAccepted, OrderDelivering, OrderCompleted, OrderCancelled, OrderRefunded, OrderReminded)
@hear(OrderAmendmentProposed, OrderAmended, OrderAmendmentClosed)
def on_order_changed(event: OrderEvent, *, using: str) -> None:
    """Apply the snapshot if it is newer than the row, and tell the board once."""
    board.follow(event)


@hear(OrderErased)
def on_order_erased(event: OrderErased, *, using: str) -> None:
    """The row forgets the person as well; nobody at a board has to see that."""
    rows.apply(event.snapshot)


@hear(CustomerErased)
def on_customer_erased(event: CustomerErased, *, using: str) -> None:
    """So do the rows of orders that are in the archive and have no news any more."""
    rows.erase_archived(user_id=event.key)


@hear(ItemSoldOut)
def on_sold_out(event: ItemSoldOut, *, using: str) -> None:
    """Tell the board; told twice is no harm."""
    board.tell_sold_out(item_id=event.key, shop_id=event.shop_id, name=event.name)
