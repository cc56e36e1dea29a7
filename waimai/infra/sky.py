"""What the mini-program's doors share: its token header, its envelope, Chinese whatever the telephone speaks.

They are thin: each reads, calls one service and shows the answer in the published client's own shapes. Who calls is
found out as everywhere else; only the header has another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.utils.translation import override
from rest_framework import exceptions, serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from waimai.infra.api import refusal_of
from waimai.infra.envelope import LANGUAGE, done, refused
from waimai.infra.errors import ValidationFailed
from waimai.infra.http import refusal_headers

HIGHEST_ID = 2**53 - 1
NOBODY = (exceptions.NotAuthenticated, exceptions.AuthenticationFailed)
# Told by the status as well, so that machines in between understand; any other refusal is 200 with code 0.
KEPT_STATUSES = (405, 503)


class _Json(BaseContentNegotiation):
    """There is only JSON, whatever was asked for."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """The only one."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The only one."""
        return renderers[0], renderers[0].media_type


class SkyView(APIView):
    """A call of the mini-program by somebody who is logged in."""

    renderer_classes = (JSONRenderer,)
    content_negotiation_class = _Json
    # Not ours to document: the client is published as it is.
    schema = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer in Chinese, whatever `Accept-Language` says."""
        with override(LANGUAGE):
            response: Any = super().dispatch(request, *args, **kwargs)
            return response.render()

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """The token comes as `authentication: <jwt>`."""
        token = request.headers.get("authentication", "")
        request.META["HTTP_AUTHORIZATION"] = f"Bearer {token}" if token else ""
        return super().initialize_request(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        """Ours."""
        return envelope_response


class PublicSkyView(SkyView):
    """A call for anybody; a stale token is no reason to refuse it."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


def envelope_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: 401 without a word for a bad token, else an envelope with code 0."""
    set_rollback()
    if isinstance(error, NOBODY):
        return Response(status=401)
    found = refusal_of(error)
    if found is None:
        return None
    refusal, _headers = found
    if isinstance(error, exceptions.ParseError):
        # DRF tells in English where the comma is missing.
        refusal = ValidationFailed()
    status = refusal.status if refusal.status in KEPT_STATUSES else 200
    return Response(refused(refusal), status=status, headers=refusal_headers(refusal))


def ok(data: Any = None) -> Response:
    """It went well."""
    return Response(done(data))


def read(shape: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """What was sent, as a serializer understands it. Raises ValidationError."""
    checked = shape(data=data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def given(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an address; an empty one counts as not given."""
    return {name: value for name, value in query.items() if value != ""}


class IdField(serializers.IntegerField):
    """A number of ours, as a number or in quotes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=HIGHEST_ID, **kwargs)


class IdInput(serializers.Serializer[Any]):
    """The number of something."""

    id = IdField()


def yuan(amount: Decimal | str) -> float:
    """Money as a JSON number."""
    return float(amount)


def clock(at: datetime | str | None, zone: str) -> str | None:
    """A moment by the shop's clock: `2026-11-30 18:05`, which the client takes apart itself."""
    if at is None:
        return None
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def picture(request: HttpRequest, address: str | None) -> str:
    """The whole address of a picture: a mini-program knows no host."""
    return request.build_absolute_uri(address) if address else ""
