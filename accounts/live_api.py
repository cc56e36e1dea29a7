"""The API's call for tickets of live streams."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import services


class LiveTicket(serializers.Serializer[Any]):
    """What opens a stream: `GET …/events/?ticket=…`."""

    ticket = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds within which the stream has to be opened")


class LiveTicketView(APIView):
    """Streams for clients that can't send a header."""

    @extend_schema(tags=["auth"], request=None, responses={201: LiveTicket})
    def post(self, request: Request) -> Response:
        """A ticket for this login, good for a minute. 401 `not_authenticated`."""
        ticket = services.live_ticket(request.headers.get("Authorization", ""))
        body = {"ticket": ticket, "expires_in": services.LIVE_TICKET_SECONDS}
        return Response(body, status=201, headers={"Cache-Control": "no-store"})
