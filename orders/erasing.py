"""Orders of closed accounts are kept for the shop's books and tell nothing of the person any more.

An order that is made anonymous changes like any other: its version grows and its news carry the empty fields, so that
every copy follows and no older news can bring the person back. Harmless twice, and after a crash it simply goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db.models import F, Q

import accounts.services
import payments.services
from orders import changes
from orders.errors import OrdersUnderWay
from orders.events import CustomerErased, OrderErased
from orders.models import OUR_REASONS, Cart, CartLine, Order, OrderChange
from orders.states import Actor, PaymentStatus, Status
from waimai.infra import archive, crashpoints, housekeeping, outbox
from waimai.infra.db import run_atomic
from waimai.infra.sharding import DEFAULT, shard_of_user

logger = logging.getLogger(__name__)

AT_ONCE = 100
NOBODY: dict[str, Any] = {
    "contact_name": "",
    "phone": "",
    "address_text": "",
    "latitude": None,
    "longitude": None,
    "note": "",
}
ENDED = (Status.COMPLETED, Status.CANCELLED)
UNDER_WAY = ~Q(status__in=ENDED) | Q(payment_status=PaymentStatus.REFUNDING)
ERASED, CROSSED_OFF = crashpoints.around("erase.orders"), crashpoints.around("erase.done")


def close_account(*, user_id: int, address: str, **proof: str | None) -> None:
    """Close a customer's account; its orders become anonymous within the next hours.

    Raises OrdersUnderWay while an order or a refund is on its way, and like `accounts.services.close_account`.
    """
    if Order.objects.for_user(user_id).filter(UNDER_WAY).exists():
        raise OrdersUnderWay
    accounts.services.close_account(user_id=user_id, address=address, **proof)


def erase_closed() -> int:
    """Make the orders of closed accounts anonymous; returns how many orders were."""
    total = 0
    for user_id in accounts.services.closed_accounts():
        try:
            total += _erase(user_id)
        except Exception:
            # Its shard may be away; the others' are not.
            logger.exception("erasing user %s failed; again next time", user_id)
    return total


def _erase(user_id: int) -> int:
    using, total = shard_of_user(user_id), 0
    orders = Order.objects.for_user(user_id)
    if orders.filter(UNDER_WAY).exists():
        # Placed while the account was being closed. It ends like any other, and then it is its turn.
        return 0
    while numbers := list(orders.exclude(**NOBODY).order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
        run_atomic(using, lambda: _make_anonymous(numbers, using), commit=ERASED)
        total += len(numbers)
    run_atomic(using, lambda: _empty_carts(user_id))
    run_atomic(DEFAULT, lambda: _cross_off(user_id), commit=CROSSED_OFF)
    return total


def _make_anonymous(numbers: Sequence[int], using: str) -> None:
    rows = Order.objects.on(using).filter(pk__in=numbers)
    rows.update(version=F("version") + 1, **NOBODY)
    # What customers give as a reason are their own words.
    own_words = OrderChange.objects.on(using).filter(order_id__in=numbers, actor=Actor.CUSTOMER)
    own_words.exclude(reason__in=OUR_REASONS).update(reason="")
    payments.services.forget_reasons(numbers, using=using)
    changes.tell(OrderErased, list(rows), using=using)


def _empty_carts(user_id: int) -> None:
    CartLine.objects.for_user(user_id).delete()
    Cart.objects.for_user(user_id).delete()


def _cross_off(user_id: int) -> None:
    accounts.services.mark_erased(user_id)
    outbox.publish(CustomerErased(key=user_id), using=DEFAULT)


housekeeping.on_default(erase_closed)
archive.when_restored(accounts.services.erase_all_again)
