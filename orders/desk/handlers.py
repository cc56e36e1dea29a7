"""The desk's row of an order follows the order's news, and the board hears of it."""

from __future__ import annotations

from menu.events import ItemSoldOut
from orders.desk import board
from orders.events import (
    OrderAccepted,
    OrderCancelled,
    OrderCompleted,
    OrderDelivering,
    OrderEvent,
    OrderPaid,
    OrderRefunded,
    OrderReminded,
)
from waimai.infra import housekeeping
from waimai.infra.outbox import hear

housekeeping.on_default(board.forget_old)


@hear(OrderPaid, OrderAccepted, OrderDelivering, OrderCompleted, OrderCancelled, OrderRefunded, OrderReminded)
def on_order_changed(event: OrderEvent, *, using: str) -> None:
    """Apply the snapshot if it is newer than the row, and tell the board once."""
    board.follow(event)


@hear(ItemSoldOut)
def on_sold_out(event: ItemSoldOut, *, using: str) -> None:
    """Tell the board; told twice is no harm."""
    board.tell_sold_out(item_id=event.key, shop_id=event.shop_id, name=event.name)
