"""The staff's side over JSON: read, call one service, show."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.desk import services
from orders.desk.serializers import (
    AcceptInput,
    StaffOrderOutput,
    StaffOrderPageOutput,
    StaffReasonInput,
    WithdrawInput,
)
from orders.states import Status
from waimai.infra.api import KeysetPagination, caller_id, validated


class OldestWaitingFirst(KeysetPagination):
    """The order of a kitchen."""

    ordering = ("paid_at", "order_id")
    position_type = datetime.fromisoformat


class BoardView(APIView):
    """The orders of the shops this person works for."""

    @extend_schema(
        operation_id="staff_orders_list",
        parameters=[
            OpenApiParameter("status", str, enum=Status.values),
            OpenApiParameter("shop", {"type": "integer", "minimum": 0}),
            OpenApiParameter("cursor", str),
        ],
        responses=StaffOrderPageOutput,
    )
    def get(self, request: Request) -> Response:
        """Oldest waiting first; without a status, those that the shop still has to see to."""
        status, shop = request.query_params.get("status") or None, request.query_params.get("shop") or None
        if status is not None and status not in Status.values:
            raise ValidationError({"status": [_("可选值：%s") % ", ".join(Status.values)]})
        if shop is not None and not (shop.isascii() and shop.isdigit()):
            raise ValidationError({"shop": [_("应为店铺编号")]})
        rows = services.board(staff_id=caller_id(request), status=status, shop_id=int(shop) if shop else None)
        pages = OldestWaitingFirst()
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([services.document(row) for row in page])


class AcceptView(APIView):
    """Taking an order."""

    @extend_schema(request=AcceptInput, responses=StaffOrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """The shop takes the order."""
        minutes = validated(AcceptInput, request)["minutes"]
        row = services.accept(order_id=order_id, staff_id=caller_id(request), minutes=minutes)
        return Response(services.document(row))


class RejectView(APIView):
    """Refusing an order."""

    @extend_schema(request=StaffReasonInput, responses=StaffOrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """The shop won't take it; refunded."""
        reason = validated(StaffReasonInput, request)["reason"]
        return Response(
            services.document(services.reject(order_id=order_id, staff_id=caller_id(request), reason=reason))
        )


class WithdrawView(APIView):
    """Cancelling an order that the shop has."""

    @extend_schema(request=WithdrawInput, responses=StaffOrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """The shop cancels; refunded."""
        data = validated(WithdrawInput, request)
        row = services.cancel(order_id=order_id, staff_id=caller_id(request), **data)
        return Response(services.document(row))


class DeliverView(APIView):
    """Handing an order to the courier."""

    @extend_schema(request=None, responses=StaffOrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """It is on its way."""
        return Response(services.document(services.deliver(order_id=order_id, staff_id=caller_id(request))))


class CompleteView(APIView):
    """Ending an order."""

    @extend_schema(request=None, responses=StaffOrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """The customer has it."""
        return Response(services.document(services.complete(order_id=order_id, staff_id=caller_id(request))))
