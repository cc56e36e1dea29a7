"""Inserting many rows at a fraction of `bulk_create`'s cost: no model instance, and no question, per value.

How a value is written is decided once per column. On MySQL the statement's text is made here, each text through the
driver's own `literal` (what repeats within a statement, once), numbers through formats that take nothing else; other
databases get parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import msgspec
from django.db import connections, models
from django.db.models.base import ModelState

# SQLite takes 32,766 in one statement; MySQL as much as fits in a packet.
MOST_PARAMETERS = 30_000
Row = Mapping[str, Any]
M = TypeVar("M", bound=models.Model)


def new(model: type[M], **values: Any) -> M:
    """A new instance, for a third of what the constructor costs: without signals, checks and relations.

    `values` name attributes; what is left out is the field's default, unless that is made anew each time.
    """
    made = model.__new__(model)
    made._state = ModelState()
    vars(made).update(_defaults(model), **values)
    return made


@cache
def _defaults(model: type[models.Model]) -> dict[str, Any]:
    return {
        field.attname: field.get_default()
        for field in _fields(model)
        if not (field.has_default() and callable(field.default))
    }


def insert_rows(model: type[models.Model], rows: Sequence[Row], *, using: str) -> None:
    """Insert rows whose keys are known. They map attribute names to values; what is left out is the field's default.

    The `vars` of a model instance are such a row; JSON may be given as dataclasses. Raises KeyError for a field without
    a value and without a default.
    """
    _insert("INSERT", model, rows, using)


def insert_ignore(model: type[models.Model], rows: Sequence[Row], *, using: str) -> int:
    """`insert_rows`, passing over rows whose unique key is taken; returns how many went in.

    Django's `bulk_create(ignore_conflicts=True)` gives no count, and under `CLIENT.FOUND_ROWS` MySQL's
    `ON DUPLICATE KEY` can't tell an insert from a no-op. Only for models of numbers, short strings and times: IGNORE
    would also swallow a truncation.
    """
    if not rows:
        return 0
    verb = "INSERT IGNORE" if connections[using].vendor == "mysql" else "INSERT OR IGNORE"
    return _insert(verb, model, rows, using)


def update_or_insert(
    model: type[models.Model], key: Row, fresh: Row, changes: Mapping[str, Any], *, using: str
) -> None:
    """Update the one row of a unique key, which is put in as `fresh` first if it isn't there yet.

    The update comes first: an INSERT IGNORE that finds its row holds it shared (InnoDB), and of two that do, neither
    can go on to the update. Belongs in a transaction on `using`.
    """
    rows: models.QuerySet[Any] = models.QuerySet(model, using=using).filter(**key)
    if not rows.update(**changes):
        insert_ignore(model, [{**key, **fresh}], using=using)
        rows.update(**changes)


def _insert(verb: str, model: type[models.Model], rows: Sequence[Row], using: str) -> int:
    inserted, fields = 0, _fields(model)
    at_once = MOST_PARAMETERS // len(fields)
    for start in range(0, len(rows), at_once):
        columns = [_column(field, rows[start : start + at_once]) for field in fields]
        with connections[using].cursor() as cursor:
            vendor = connections[using].vendor
            places, values = (_as_text if vendor == "mysql" else _as_parameters)(fields, columns, connections[using])
            cursor.execute(f"{verb} INTO {_columns(model, using, vendor)} VALUES {places}", values)
            inserted += cursor.rowcount
    return inserted


@cache
def _fields(model: type[models.Model]) -> tuple[Any, ...]:
    return tuple(model._meta.local_concrete_fields)


@cache
def _columns(model: type[models.Model], using: str, _vendor: str) -> str:
    """The table and its columns; in tests a name may come to stand for another kind of database."""
    quote = connections[using].ops.quote_name
    return f"{quote(model._meta.db_table)} ({', '.join(quote(field.column) for field in _fields(model))})"


def _column(field: Any, rows: Sequence[Row]) -> list[Any]:
    name = field.attname
    try:
        return [row[name] for row in rows]
    except KeyError:
        if field.has_default() or field.null or isinstance(field, models.AutoField):
            return [row[name] if name in row else field.get_default() for row in rows]
        raise


def _as_parameters(
    fields: Sequence[Any], columns: Sequence[list[Any]], connection: Any
) -> tuple[str, list[Any] | None]:
    places = "(" + ", ".join(["%s"] * len(fields)) + ")"
    rows = list(zip(*columns, strict=True))
    values = [_parameter(field, value, connection) for row in rows for field, value in zip(fields, row, strict=True)]
    return ", ".join([places] * len(rows)), values


def _parameter(field: Any, value: Any, connection: Any) -> Any:
    if value is None:
        return None
    if _is_plain_json(field):
        return msgspec.json.encode(value).decode()
    return field.get_db_prep_save(value, connection)


def _is_plain_json(field: Any) -> bool:
    return isinstance(field, models.JSONField) and field.encoder is None


def _as_text(fields: Sequence[Any], columns: Sequence[list[Any]], connection: Any) -> tuple[str, list[Any] | None]:
    """The rows in SQL. There are no parameters, so that the driver looks for no places to fill in."""
    literal = _Literals(connection)
    written = [literal.column(field, column) for field, column in zip(fields, columns, strict=True)]
    return ", ".join(["(" + ",".join(row) + ")" for row in zip(*written, strict=True)]), None


class _Never:
    """What no value is."""


class _Literals(dict[Any, str]):
    """Values as MySQL reads them; remembers the texts and times that it has written."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._quote = connection.connection.literal

    def column(self, field: Any, values: list[Any]) -> Iterable[str]:
        """The values of a column: those of its own kind at once, all else as the field says."""
        kind, plain = self._plain(field)
        if all(issubclass(each, kind) for each in set(map(type, values))):
            return map(plain, values)
        return [plain(value) if isinstance(value, kind) else self._odd(field, value) for value in values]

    def _odd(self, field: Any, value: Any) -> str:
        if value is None:
            return "NULL"
        return str(self._quote(field.get_db_prep_save(value, self._connection)).decode())

    def _plain(self, field: Any) -> tuple[type, Callable[[Any], str]]:
        if _is_plain_json(field):
            return object, self._json
        if isinstance(field, (models.IntegerField, models.BooleanField)):
            return int, "{:d}".format
        if isinstance(field, models.DecimalField):
            return Decimal, "{:f}".format
        if isinstance(field, models.DateTimeField):
            return datetime, self.__getitem__
        if isinstance(field, (models.CharField, models.TextField)):
            return str, self.__getitem__
        return _Never, str

    def __missing__(self, value: str | datetime) -> str:
        plain = str(value) if isinstance(value, str) else self._connection.ops.adapt_datetimefield_value(value)
        self[value] = text = str(self._quote(plain).decode())
        return text

    def _json(self, value: Any) -> str:
        return "NULL" if value is None else self[msgspec.json.encode(value).decode()]
