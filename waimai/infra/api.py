"""What the DRF doors share: problem documents, idempotency keys, paging."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions, serializers
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import set_rollback
from rest_framework_simplejwt.exceptions import InvalidToken

from waimai.infra import ids
from waimai.infra.errors import DomainError, NotFound, PermissionRefused, ValidationFailed
from waimai.infra.http import as_domain_error, problem, refusal_headers

VISIBLE_ASCII_KEY = re.compile(r"[\x21-\x7e]{1,64}")
CODES: dict[type[exceptions.APIException], str] = {
    InvalidToken: "token_not_valid",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "authentication_failed",
    exceptions.PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.ParseError: "malformed_request",
    exceptions.Throttled: "rate_limited",
}


class IdempotencyKeyRequired(DomainError):
    """The call needs an `Idempotency-Key`, or the one sent isn't 1 to 64 visible ASCII characters."""

    code, status, title = "idempotency_key_required", 400, _("需要 Idempotency-Key：1 到 64 个可见 ASCII 字符")


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal is `application/problem+json`; None for mistakes in the program."""
    found = refusal_of(error)
    if found is None:
        return None
    domain_error, headers = found
    if domain_error.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="api"')
    headers |= refusal_headers(domain_error)
    if domain_error.replayed:
        headers["Idempotent-Replayed"] = "true"
    set_rollback()
    return Response(
        problem(domain_error), status=domain_error.status, headers=headers, content_type="application/problem+json"
    )


def refusal_of(error: Exception) -> tuple[DomainError, dict[str, str]] | None:
    """The refusal that an exception in a DRF view stands for, with its headers; None for mistakes in the program."""
    domain_error = as_domain_error(error) or _of_django(error)
    if domain_error is not None:
        return domain_error, {}
    return _of_drf(error) if isinstance(error, exceptions.APIException) else None


def _of_django(error: Exception) -> DomainError | None:
    if isinstance(error, Http404):
        return NotFound()
    return PermissionRefused() if isinstance(error, PermissionDenied) else None


def _of_drf(error: exceptions.APIException) -> tuple[DomainError, dict[str, str]]:
    if isinstance(error, exceptions.ValidationError):
        detail = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        return ValidationFailed(errors=detail), {}
    headers = {"WWW-Authenticate": auth} if (auth := getattr(error, "auth_header", None)) else {}
    converted = _FromDrf(_text_of(error))
    converted.code = CODES.get(type(error), error.default_code)  # type: ignore[misc]
    converted.status = error.status_code  # type: ignore[misc]
    title = str(error.default_detail)
    # Two of DRF's texts have a gap to be filled in.
    converted.title = HTTPStatus(error.status_code).phrase if "{" in title else title  # type: ignore[misc]
    if isinstance(error, exceptions.Throttled):
        converted.retry_after = int(getattr(error, "wait", None) or 1)
    return converted, headers


class _FromDrf(DomainError):
    """A refusal of DRF itself, with DRF's words."""


def _text_of(error: exceptions.APIException) -> str:
    detail = error.detail
    return str(detail.get("detail", "")) if isinstance(detail, dict) else str(detail)


def read_idempotency_key(request: Request, *, required: bool = True) -> str | None:
    """The caller's `Idempotency-Key`, 1 to 64 visible ASCII characters; None when absent and not required.

    Raises IdempotencyKeyRequired.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None and not required:
        return None
    if key is None or not VISIBLE_ASCII_KEY.fullmatch(key):
        raise IdempotencyKeyRequired
    return key


def validated(serializer: type[BaseSerializer[Any]], request: Request) -> dict[str, Any]:
    """The request's body as the serializer understands it. Raises ValidationError naming each bad field."""
    checked = serializer(data=request.data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def caller_id(request: Request) -> int:
    """The number of the user who calls; the view's permissions have seen to it that there is one."""
    return int(request.user.pk or 0)


def replayable(body: dict[str, Any], *, status: int, replayed: bool) -> Response:
    """An answer to a request with a key; a repeated one says so in `Idempotent-Replayed`."""
    return Response(body, status=status, headers={"Idempotent-Replayed": "true"} if replayed else None)


class TextField(serializers.CharField):
    """A JSON string: a number or `true` is none, though Python could write it as one."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what isn't text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class NumberField(serializers.FloatField):
    """A JSON number: not `"1"`, not `true`."""

    def to_internal_value(self, data: Any) -> float:
        """Refuse whatever else Python would kindly turn into a float."""
        if type(data) not in {int, float}:
            self.fail("invalid")
        return float(super().to_internal_value(data))


class TrueFalseField(serializers.BooleanField):
    """A JSON `true` or `false`: not `1`, not `"on"`."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse what Python would take for one."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class KeysetPagination(CursorPagination):
    """Newest first by id: page 1,000 reads as many rows as page 1."""

    page_size = 20
    ordering: str | tuple[str, ...] = "-id"
    page_size_query_param = "page_size"
    max_page_size = 100
    # What the first column of `ordering` holds, to tell a cursor of ours from an invented one.
    position_type: Callable[[str], Any] = int

    def get_page_size(self, request: Request) -> int:
        """How many on a page, 100 at most. Raises ValidationError for what isn't a number from 1 on."""
        asked = request.query_params.getlist("page_size")
        if not all(re.fullmatch("0*[1-9][0-9]{0,17}", one, re.ASCII) for one in asked):
            raise exceptions.ValidationError({"page_size": [_("应为正整数")]})
        return min(int(asked[-1]), self.max_page_size) if asked else self.page_size

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """As the framework says it, with what a page has at least."""
        found: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in found:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "maximum": 10**18 - 1}
        return found

    def decode_cursor(self, request: Request) -> Any:
        """The place to go on from. Raises NotFound for a cursor that isn't one of ours."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                type(self).position_type(str(cursor.position))
            except ValueError:
                raise exceptions.NotFound(self.invalid_cursor_message) from None
        return cursor


class MonthlyPagination(KeysetPagination):
    """For tables partitioned by month: looks at the nearest two months, and at all only for want of rows there."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """One page, the same as without the detour."""
        cursor = self.decode_cursor(request)
        backwards = cursor is not None and cursor.reverse
        place = int(cursor.position) if cursor is not None and cursor.position is not None else ids.now_id()
        nearest = Q(id__lt=place + ids.TWO_MONTHS) if backwards else Q(id__gte=place - ids.TWO_MONTHS)
        page: list[Any] | None = super().paginate_queryset(queryset.filter(nearest), request, view)
        if self.has_previous if backwards else self.has_next:
            return page
        return super().paginate_queryset(queryset, request, view)
