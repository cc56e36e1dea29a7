"""Ordering and paying for clients that send no idempotency key: the key is made of what the server knows.

An order's is the version of the cart (docs/adr/0009), a payment's how many of the order's payments came to nothing.
Twice the same request is one order and one payment.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import payments.services
from orders import cart, paying, placing, reading
from orders.checkout import Checkout
from orders.placing import Placed
from orders.states import PaymentStatus
from payments.errors import AlreadyPaid
from payments.services import StartedPayment
from waimai.infra.errors import NotFound
from waimai.infra.sharding import shard_of_id

CAME_TO_NOTHING = ("failed", "closed")


def place_cart(
    *,
    user_id: int,
    shop_id: int,
    address_id: int,
    shown_total: Decimal,
    note: str = "",
    tableware: int | None = None,
    deliver_at: datetime | None = None,
    unplaced: bool = False,
) -> Placed:
    """Order the cart as it is now; without `tableware` one for each portion. Raises like `place`."""
    seen = cart.view(user_id=user_id, shop_id=shop_id)
    portions = sum(line.quantity for line in seen.lines)
    return placing.place(
        Checkout(
            user_id=user_id,
            shop_id=shop_id,
            address_id=address_id,
            note=note,
            tableware=min(portions, cart.MOST_OF_A_LINE) if tableware is None else tableware,
            deliver_at=deliver_at,
            shown_total=shown_total,
            cart_version=seen.version,
            unplaced=unplaced,
        )
    )


def pay_keyless(*, order_id: int, user_id: int, preferred: str = "") -> StartedPayment:
    """Open a payment, or find the one that is open, with the preferred provider where it is offered, else the first.

    Raises AlreadyPaid, and what `pay` raises.
    """
    order = reading.own_order(order_id=order_id, user_id=user_id)
    if order.payment_status != PaymentStatus.UNPAID:
        raise AlreadyPaid
    offered = list(payments.services.provider_labels())
    if not offered:
        raise NotFound
    provider = preferred if preferred in offered else offered[0]
    money = payments.services.money_of_orders([order_id], using=shard_of_id(order_id))[order_id]
    lost = sum(each["status"] in CAME_TO_NOTHING for each in money["payments"])
    started = paying.pay(order_id=order_id, user_id=user_id, provider=provider, key=f"{provider}-{order_id}-{lost}")
    payments.services.let_sandbox_pay(payment_id=started.payment_id, user_id=user_id)
    return started
