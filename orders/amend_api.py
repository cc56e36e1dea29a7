"""The customer's answer to what the shop proposes, over JSON."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import services
from orders.serializers import AnswerInput, OrderOutput
from waimai.infra.api import caller_id, validated


class AnswerView(APIView):
    """A proposal of the shop to amend an order."""

    @extend_schema(request=AnswerInput, responses=OrderOutput)
    def post(self, request: Request, order_id: int, n: int) -> Response:
        """Agree, and the difference is refunded; or don't, and the order goes on unchanged."""
        accept = validated(AnswerInput, request)["accept"]
        services.answer_amendment(order_id=order_id, user_id=caller_id(request), n=n, accept=accept)
        return Response(services.get_order(order_id=order_id, user_id=caller_id(request)))
