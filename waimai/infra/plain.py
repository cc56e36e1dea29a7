"""The plainest JSON that a serializer takes, as a decoder of msgspec: for fast doors, which leave all else to Django.

What an API takes is declared once, as a serializer: the REST framework and the OpenAPI document read it there, and here
the fast door's decoder is made of it. It takes less than the serializer, never more, and understands it alike.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
from django.core import validators as of_django
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.validators import ProhibitSurrogateCharactersValidator

# Those that a decoder's bounds say, too, or JSON itself.
SAID = (
    of_django.MinValueValidator,
    of_django.MaxValueValidator,
    of_django.MinLengthValidator,
    of_django.MaxLengthValidator,
    of_django.ProhibitNullCharactersValidator,
    ProhibitSurrogateCharactersValidator,
)
Field = serializers.Field[Any, Any, Any, Any]
Input = serializers.Serializer[Any]


def decoder_of(serializer: type[Input]) -> msgspec.json.Decoder[Any]:
    """A decoder to objects with the serializer's fields as attributes; what is missing has its default, or is None.

    Raises TypeError for a field that has no plain form, unless null will do.
    """
    return msgspec.json.Decoder(_struct(serializer()))


def _struct(serializer: Input) -> Any:
    cls = type(serializer)
    more = any(hasattr(cls, f"validate_{name}") for name in serializer.fields)
    if more or cls.validate is not serializers.Serializer.validate:
        raise TypeError(f"{cls.__name__} checks more than its fields say")
    fields = [(name, _or_null(field), *_default(field)) for name, field in serializer.fields.items()]
    return msgspec.defstruct(cls.__name__, fields, kw_only=True)


def _or_null(field: Field) -> Any:
    plain = _plain(field)
    if plain is None and not field.allow_null:
        raise TypeError(f"{field.field_name}: {type(field).__name__} has no plain form")
    return plain | None if plain and field.allow_null else plain


def _plain(field: Field) -> Any:
    """The type of a field's plain form; None when there is none."""
    if any(type(check) not in SAID for check in field.validators):
        return None
    match field:
        case serializers.Serializer():
            return _struct(field)
        case serializers.ListField():
            return Annotated[cast(Any, list)[_or_null(field.child)], _lengths(field, may_be_empty=field.allow_empty)]
        case serializers.IntegerField():
            return Annotated[int, msgspec.Meta(ge=field.min_value, le=field.max_value)]
        case serializers.DecimalField(min_value=0, max_value=None, max_digits=int(digits), decimal_places=int(places)):
            # As everybody writes money here.
            return Annotated[str, msgspec.Meta(pattern=rf"\A[0-9]{{1,{digits - places}}}\.[0-9]{{{places}}}\Z")]
        case serializers.CharField(trim_whitespace=True):
            nothing_to_trim = msgspec.Meta(pattern=r"\A(?!\s)[^\0]*(?<!\s)\Z")
            return Annotated[str, _lengths(field, may_be_empty=field.allow_blank), nothing_to_trim]
    return None


def _lengths(field: Any, *, may_be_empty: bool) -> msgspec.Meta:
    return msgspec.Meta(min_length=field.min_length or (None if may_be_empty else 1), max_length=field.max_length)


def _default(field: Field) -> tuple[Any, ...]:
    if field.required:
        return ()
    if field.default is empty:
        if not field.allow_null:
            raise TypeError(f"{field.field_name}: neither required nor with a default")
        return (None,)
    return (msgspec.field(default_factory=field.default) if callable(field.default) else field.default,)
