"""A provider behind a circuit breaker: while it keeps failing nobody waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from payments.providers.base import (
    Charge,
    Notification,
    Outcome,
    Provider,
    ProviderRefused,
    ProviderResting,
    ProviderUnavailable,
    RefundCall,
    StatementRow,
)
from waimai.infra.breaker import Breaker, CircuitOpen

FAILURES = (ProviderUnavailable, TimeoutError, ConnectionError)


class Guarded:
    """The provider protocol; every call to the outside may raise ProviderResting at once."""

    def __init__(self, provider: Provider) -> None:
        self._provider, self._breaker = provider, Breaker(f"provider:{provider.name}")
        self.name, self.label, self.merchant = provider.name, provider.label, provider.merchant

    def create(self, charge: Charge) -> dict[str, Any]:
        """Open a charge."""
        with self._call():
            return self._provider.create(charge)

    def query(self, charge: Charge) -> Outcome:
        """What became of a charge."""
        with self._call():
            return self._provider.query(charge)

    def close(self, charge: Charge) -> Outcome:
        """Take no money for a charge any more."""
        with self._call():
            return self._provider.close(charge)

    def refund(self, call: RefundCall) -> bool:
        """Give money back."""
        with self._call():
            return self._provider.refund(call)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Read a notification; nobody is called for that."""
        return self._provider.parse_webhook(headers, body)

    def statement(self, since: datetime, until: datetime) -> Iterator[StatementRow]:
        """All money that moved in a period."""
        with self._call():
            yield from self._provider.statement(since, until)

    @contextmanager
    def _call(self) -> Iterator[None]:
        try:
            with self._breaker.guard(failures=FAILURES, answers=(ProviderRefused,)):
                yield
        except CircuitOpen as error:
            raise ProviderResting(str(error), retry_after=error.retry_after) from error
