"""The OpenAPI document's common parts: problem answers with their codes, and the idempotency key."""

from __future__ import annotations

import inspect
from typing import Any

from django.utils.translation import override
from drf_spectacular.openapi import AutoSchema as SpectacularSchema
from drf_spectacular.utils import Direction, OpenApiParameter, inline_serializer
from rest_framework import serializers

from waimai.infra.api import CODES, TextField
from waimai.infra.errors import DomainError

Problem = inline_serializer(
    "Problem",
    {
        "type": serializers.CharField(),
        "title": serializers.CharField(),
        "status": serializers.IntegerField(),
        "detail": serializers.CharField(),
        "code": serializers.CharField(),
        "errors": serializers.DictField(required=False, help_text="Field errors"),
    },
)
_KEY = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[\x21-\x7e]+$"}
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    _KEY,
    OpenApiParameter.HEADER,
    required=True,
    description="1–64 visible ASCII characters. The same key with the same body replays the first answer.",
)
OPTIONAL_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", _KEY, OpenApiParameter.HEADER, required=False, description=IDEMPOTENCY_KEY.description
)


NOT_EMPTY = (serializers.CharField, serializers.DateTimeField, serializers.DecimalField)


class AutoSchema(SpectacularSchema):
    """Adds the problem document to every operation, and what serializers say of their fields together."""

    def _map_basic_serializer(self, serializer: Any, direction: Direction) -> dict[str, Any]:
        """As the framework does it; `one_of = ("code", "password")` on a serializer means exactly one of these."""
        found: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if names := getattr(serializer, "one_of", ()):
            found["oneOf"] = [{"required": [name]} for name in names]
        return found

    def _map_serializer_field(self, field: Any, direction: Direction, bypass_extensions: bool = False) -> Any:
        """As the framework does it; what is sent may not be empty unless the field says so."""
        found = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if direction == "request" and isinstance(field, NOT_EMPTY) and not getattr(field, "allow_blank", False):
            found["minLength"] = getattr(field, "min_length", None) or 1
        if direction == "request" and type(field) is TextField:
            found["pattern"] = _pattern(field)
        return found

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        """The view's own answers, however they were declared, and `default`: a problem."""
        bodies: dict[str, Any] = dict(super()._get_response_bodies(direction))
        media_types = ["application/problem+json"]
        answer = self._get_response_for_code(Problem, "default", media_types, direction)  # type: ignore[no-untyped-call]
        return bodies | {"default": answer | {"description": "Refused; `code` says why"}}


# What `str.strip` takes away, as a class of ECMA's regular expressions, which JSON Schema speaks.
BLANKS = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def _pattern(field: TextField) -> str:
    """No NUL; and where blanks are taken away at both ends, something has to be left."""
    if field.allow_blank:
        return r"^[^\u0000]*$"
    return rf"^[^\u0000]*[^\u0000{BLANKS}][^\u0000]*$" if field.trim_whitespace else r"^[^\u0000]+$"


def list_codes(result: dict[str, Any]) -> dict[str, Any]:
    """Name every code that a problem can carry in the document."""
    lines = [f"- `{code}` ({status}): {meaning}" for code, (status, meaning) in sorted(known_codes().items())]
    code = result["components"]["schemas"]["Problem"]["properties"]["code"]
    code["description"] = "Stable. One of:\n" + "\n".join(lines)
    return result


def known_codes() -> dict[str, tuple[int, str]]:
    """Every stable code with its status and meaning: DRF's own, and those of every kind of refusal."""
    with override("en"):
        found = {code: (kind.status_code, str(kind.default_detail)) for kind, code in CODES.items()}
    waiting: list[type[DomainError]] = [DomainError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        # A special case of a refusal shares its code: the general one explains it.
        if kind.code not in found or "code" in vars(kind):
            found[kind.code] = (kind.status, (inspect.getdoc(kind) or "").splitlines()[0])
    found.pop(DomainError.code)
    return found
