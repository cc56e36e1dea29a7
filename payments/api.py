"""The API's doors to payments."""

from __future__ import annotations

import math
from typing import cast

from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from payments import services
from payments.errors import WebhookTooLarge
from payments.providers.sandbox import SandboxOutcome

LONGEST_DELAY_SECONDS = 24 * 60 * 60
MOST_CALLS = 100


class SandboxRequest(serializers.Serializer[None]):
    """What the payer does at the sandbox's till."""

    outcome = serializers.ChoiceField(choices=[outcome.value for outcome in SandboxOutcome])
    delay_seconds = serializers.FloatField(
        default=0, min_value=0, max_value=LONGEST_DELAY_SECONDS, help_text="When the payer does it, in seconds"
    )
    times = serializers.IntegerField(
        default=1, min_value=0, max_value=MOST_CALLS, help_text="How often the webhook is called; 0: it never comes"
    )

    def validate_delay_seconds(self, value: float) -> float:
        """`nan` is neither too small nor too large."""
        if not math.isfinite(value):
            raise serializers.ValidationError(_("请填写有效的数字"))
        return value


class SandboxAnswer(SandboxRequest):
    """What the sandbox will do."""

    payment = serializers.IntegerField()


class WebhookAnswer(serializers.Serializer[None]):
    """The notification is taken: it need not come again."""

    code = serializers.ChoiceField(choices=["SUCCESS"])


class SandboxView(APIView):
    """The sandbox gateway's till."""

    @extend_schema(
        operation_id="payments_sandbox",
        summary="Pay, or fail to pay, with the sandbox gateway",
        description="For the payer only. The gateway then calls our webhook that often, signed, as a real one would.",
        request=SandboxRequest,
        responses={202: SandboxAnswer},
        tags=["payments"],
    )
    def post(self, request: Request, payment_id: int) -> Response:
        """Tell the sandbox what the payer does."""
        wish = SandboxRequest(data=request.data)
        wish.is_valid(raise_exception=True)
        services.tell_sandbox(payment_id=payment_id, user_id=_user_id(request), **wish.validated_data)
        return Response({"payment": payment_id, **wish.validated_data}, status=202)


class WebhookView(APIView):
    """Where payment providers tell us what happened."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="payments_webhook",
        summary="A payment provider's notification",
        description="Verified by signature, at most five minutes old and 64 KB long; the same one again is harmless.",
        parameters=[
            OpenApiParameter(name, str, OpenApiParameter.HEADER, description="Of the sandbox's notifications")
            for name in ("X-Sandbox-Timestamp", "X-Sandbox-Nonce", "X-Sandbox-Signature")
        ],
        request={"application/json": OpenApiTypes.OBJECT},
        responses={200: WebhookAnswer},
        auth=[],
        tags=["payments"],
    )
    def post(self, request: Request, provider: str) -> Response:
        """Take in a notification; answered after its commit."""
        # Refused by the announced length, before any of it is read.
        announced = request.META.get("CONTENT_LENGTH", "")
        if announced.isdecimal() and int(announced) > services.MAX_WEBHOOK_BYTES:
            raise WebhookTooLarge
        services.handle_webhook(provider=provider, headers=request.headers, body=request.body)
        return Response({"code": "SUCCESS"})


def _user_id(request: Request) -> int:
    return cast("int", request.user.pk)
