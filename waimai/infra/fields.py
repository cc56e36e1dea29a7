"""Fields that mean the same on every database."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

# What may be assigned, and what is read.
S = TypeVar("S")
G = TypeVar("G")


class ExactCharField(models.CharField[S, G]):
    """Text compared letter by letter: MySQL's usual collation takes `key-A` and `key-a` for the same."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        """The column's type, with a binary collation where the database would fold cases."""
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters
