"""`id__in=[…]` without a parameter for each number: sets of orders are asked for by the hundred."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import BigIntegerField
from django.db.models.lookups import In


@BigIntegerField.register_lookup
class InNumbers(In):
    """`IN (1, 2, 3)`, written into the statement when all are whole numbers; anything else is Django's own `in`."""

    def get_prep_lookup(self) -> Any:
        """Whole numbers need no preparation."""
        return list(self.rhs) if self._are_numbers() else super().get_prep_lookup()

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """The condition. Raises EmptyResultSet when there is no number, as Django's own."""
        if not self._are_numbers():
            return super().as_sql(compiler, connection)
        if not self.rhs:
            raise EmptyResultSet
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} IN ({', '.join(map(str, dict.fromkeys(self.rhs)))})", params

    def _are_numbers(self) -> bool:
        return isinstance(self.rhs, (list, tuple, set, frozenset)) and set(map(type, self.rhs)) <= {int}
