"""News of orders. `key` is the order's id, `version` counts its changes; hearers apply one only if it is newer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from waimai.infra.outbox import Event


@dataclass(frozen=True, kw_only=True)
class OrderEvent(Event):
    """A change of an order, with the order as it then stood (its lines too, once it is paid)."""

    topic: ClassVar[str] = "order"
    user_id: int
    shop_id: int
    status: str
    snapshot: dict[str, Any]
    # Who made the change, and why, where it has a reason. Absent from news of older releases.
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class OrderPlaced(OrderEvent):
    """An order waits for its payment."""

    topic: ClassVar[str] = "order.placed"


@dataclass(frozen=True, kw_only=True)
class OrderPaid(OrderEvent):
    """An order waits for the shop."""

    topic: ClassVar[str] = "order.paid"


@dataclass(frozen=True, kw_only=True)
class OrderAccepted(OrderEvent):
    """The shop cooks it."""

    topic: ClassVar[str] = "order.accepted"


@dataclass(frozen=True, kw_only=True)
class OrderDelivering(OrderEvent):
    """The courier has it."""

    topic: ClassVar[str] = "order.delivering"


@dataclass(frozen=True, kw_only=True)
class OrderCompleted(OrderEvent):
    """The customer has it."""

    topic: ClassVar[str] = "order.completed"


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderEvent):
    """It won't be delivered."""

    topic: ClassVar[str] = "order.cancelled"


@dataclass(frozen=True, kw_only=True)
class OrderRefunded(OrderEvent):
    """The money of a cancelled order went back."""

    topic: ClassVar[str] = "order.refunded"


@dataclass(frozen=True, kw_only=True)
class OrderReminded(OrderEvent):
    """The customer asks where it is."""

    topic: ClassVar[str] = "order.reminded"


@dataclass(frozen=True, kw_only=True)
class OrderAmendmentProposed(OrderEvent):
    """The shop asks whether something may be left out or brought instead; the snapshot's `proposal` says what."""

    topic: ClassVar[str] = "order.amendment_proposed"


@dataclass(frozen=True, kw_only=True)
class OrderAmended(OrderEvent):
    """The customer agreed: the snapshot's lines are what is to be cooked now, `net_total` is what it costs."""

    topic: ClassVar[str] = "order.amended"


@dataclass(frozen=True, kw_only=True)
class OrderAmendmentClosed(OrderEvent):
    """The customer declined, or didn't answer in time: the order goes on unchanged."""

    topic: ClassVar[str] = "order.amendment_closed"


@dataclass(frozen=True, kw_only=True)
class OrderErased(OrderEvent):
    """The customer's account was closed: the order names nobody any more."""

    topic: ClassVar[str] = "order.erased"


@dataclass(frozen=True, kw_only=True)
class CustomerErased(Event):
    """No order on a shard names this person any more. `key` is the user; published on the default database."""

    topic: ClassVar[str] = "orders.customer_erased"
