"""Everything that is kept about a customer, as JSON, in pieces: nobody's history has to fit into memory.

What stands in archive files isn't in it: the database knows it no more. `tests/orders/test_exporting.py` holds that
every table with a user in it is either here or named there with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

import accounts.services
import payments.services
from orders import reading
from orders.models import CartLine
from waimai.infra.ratelimit import spend
from waimai.infra.sharding import shard_of_user

ORDERS_AT_ONCE = 100


def my_data(*, user_id: int) -> Iterator[str]:
    """The pieces of one JSON object: `exported_at`, `profile`, `addresses`, `cart`, `orders` (newest first).

    The first piece holds all but the orders. Raises RateLimited before it, and ServiceUnavailable while the
    customer's shard is away; when that goes away later, the text ends in the middle and is no JSON.
    """
    spend("export", user_id)
    about = {
        "exported_at": timezone.now(),
        "profile": asdict(accounts.services.own_profile(user_id=user_id)),
        "addresses": [asdict(row) for row in accounts.services.address_book(user_id=user_id)],
        "cart": list(CartLine.objects.for_user(user_id).values("shop_id", "item_id", "options", "quantity")),
    }
    yield _written(about)[:-1] + ', "orders": ['
    for n, order in enumerate(_orders(user_id)):
        yield (",\n" if n else "\n") + _written(order)
    yield "]}\n"


def _orders(user_id: int) -> Iterator[dict[str, Any]]:
    using, before = shard_of_user(user_id), None
    while orders := reading.newest_orders(user_id=user_id, before=before, limit=ORDERS_AT_ONCE, refused=True):
        before = orders[-1].pk
        money = payments.services.money_of_orders([order.pk for order in orders], using=using)
        for document in reading.documents_of(orders, user_id=user_id):
            yield document | money[document["id"]]


def _written(value: dict[str, Any]) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
