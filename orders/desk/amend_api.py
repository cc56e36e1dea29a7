"""Proposing to amend an order, over JSON."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.desk import amending
from orders.desk.serializers import AmendmentInput
from orders.serializers import AmendmentOutput
from waimai.infra.api import caller_id, validated


class AmendmentsView(APIView):
    """What the shop proposes to change about an order that it has accepted."""

    @extend_schema(request=AmendmentInput, responses={201: AmendmentOutput})
    def post(self, request: Request, order_id: int) -> Response:
        """Ask the customer whether something may be left out, or be of another dish instead."""
        data = validated(AmendmentInput, request)
        return Response(amending.propose(order_id=order_id, staff_id=caller_id(request), **data), status=201)
