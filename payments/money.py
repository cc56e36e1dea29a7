"""Yuan with two places."""

from __future__ import annotations

from decimal import Decimal

NOTHING = Decimal("0.00")


def yuan(total: Decimal | None) -> Decimal:
    """A sum as the database tells it, with two places: none for no rows, and SQLite adds floats up."""
    return NOTHING if total is None else total.quantize(NOTHING)
