"""What a payment provider does for us: one small protocol, and the plain values that cross it.

A provider is called outside every transaction, and always by a number of ours (payment or refund id): the same call
again with the same number has no second effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# How old a notification may be, or how far ahead of our clock.
MAX_AGE_SECONDS = 300
# How long one call may take, connecting included; then it counts as not answered. A poll makes two calls.
CALL_SECONDS = 3.0


class ProviderUnavailable(Exception):
    """No answer, or not a usable one. Whether the call had its effect is unknown: ask again with the same number."""


class ProviderResting(ProviderUnavailable):
    """It kept failing and isn't called now: the call had no effect. It may be tried in `retry_after` seconds."""

    def __init__(self, text: str, *, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class ProviderRefused(Exception):
    """The provider understood and says no; the same call would be refused again."""


class OutcomeState(Enum):
    """What a provider says of a payment."""

    UNPAID = "unpaid"
    CAPTURED = "captured"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A provider's word on a payment. `amount` in yuan is given when money moved."""

    state: OutcomeState
    transaction_id: str = ""
    amount: Decimal | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Charge:
    """What we ask a provider to collect: `amount` yuan under our number, until `expires_at`."""

    payment_id: int
    amount: Decimal
    description: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class RefundCall:
    """What we ask a provider to give back: `amount` yuan of the `total` that was captured."""

    refund_id: int
    payment_id: int
    transaction_id: str
    amount: Decimal
    total: Decimal
    reason: str


@dataclass(frozen=True, kw_only=True)
class RefundDone:
    """A provider's word that `amount` yuan went back under our number. One that failed is found by asking again."""

    refund_id: int
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A verified notification. Verified means it comes from the provider, not that it is about one of our payments."""

    notify_id: str
    merchant: str
    payment_id: int
    outcome: Outcome | RefundDone


@dataclass(frozen=True, kw_only=True)
class StatementRow:
    """A line of a provider's statement: money that moved, `amount` yuan above zero, at a time by the provider's clock.

    `number` is ours (of the payment or the refund) as the provider knows it, `payment_id` what a refund was taken from.
    """

    kind: Literal["charge", "refund"]
    number: int
    payment_id: int
    transaction_id: str
    amount: Decimal
    at: datetime


class Provider(Protocol):
    """A payment provider. Calls raise ProviderUnavailable (ask again) or ProviderRefused (don't).

    No call takes longer than CALL_SECONDS: when that is over it raises ProviderUnavailable.
    """

    @property
    def name(self) -> str:
        """The name in addresses and tables, at most 16 characters."""
        ...

    @property
    def label(self) -> StrOrPromise:
        """What payers know it by."""
        ...

    @property
    def merchant(self) -> str:
        """Our own account with the provider."""
        ...

    def create(self, charge: Charge) -> dict[str, Any]:
        """Open a charge; returns what the payer's client needs to pay it."""
        ...

    def query(self, charge: Charge) -> Outcome:
        """What became of a charge; one that never reached the provider is `UNPAID`."""
        ...

    def close(self, charge: Charge) -> Outcome:
        """Take no money for a charge any more: `CLOSED`, or `CAPTURED` when the payer was faster."""
        ...

    def refund(self, call: RefundCall) -> bool:
        """Give money back: true when done, false while the provider works on it (ask again)."""
        ...

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify and read a notification. Raises WebhookRefused or WebhookMalformed."""
        ...

    def statement(self, since: datetime, until: datetime) -> Iterable[StatementRow]:
        """All money that moved from `since` until just before `until`; may take as long as the file is large.

        Raises ProviderUnavailable when it isn't there (yet): real ones give it out on the next morning, by the day.
        """
        ...
