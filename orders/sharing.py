"""A link that shows somebody else how far an order is, and nothing about whose it is. It ends by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core import signing

from orders import documents, reading
from waimai.infra.errors import NotFound

SALT = "orders.share"
LIVES = timedelta(hours=24)


def share_token(order_id: int) -> str:
    """What stands in the link; valid for a day."""
    return signing.dumps(order_id, salt=SALT)


def shared_order(token: str) -> dict[str, Any]:
    """State, times, shop and number of portions of the order that a link was made for.

    Raises NotFound for a link that is forged, or older than a day.
    """
    try:
        order_id = signing.loads(token, salt=SALT, max_age=LIVES)
    except signing.BadSignature:
        raise NotFound from None
    document = reading.document_of(int(order_id))
    told = {name: document[name] for name in ("shop", "shop_name", "status", "deliver_at", "promised_at")}
    return told | {
        "portions": documents.portions(document),
        # Reasons may have been written by people about people.
        "timeline": [{"status": change["status"], "at": change["at"]} for change in document["timeline"]],
    }
