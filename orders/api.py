"""The customer's side of orders over JSON: read, call one service, show."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import services
from orders.serializers import (
    CartOutput,
    LineInput,
    OrderInput,
    OrderOutput,
    OrderPageOutput,
    PayInput,
    PaymentOutput,
    QuantityInput,
    ReasonInput,
    ReorderOutput,
)
from orders.services import CartView, Checkout
from orders.states import Status
from waimai.infra.api import MonthlyPagination, caller_id, read_idempotency_key, replayable, validated
from waimai.infra.schema import IDEMPOTENCY_KEY, OPTIONAL_IDEMPOTENCY_KEY


class CartLinesView(APIView):
    """The lines of a cart."""

    @extend_schema(request=LineInput, parameters=[OPTIONAL_IDEMPOTENCY_KEY], responses={201: CartOutput})
    def post(self, request: Request, shop_id: int) -> Response:
        """Put so many more of an item into the cart."""
        key = read_idempotency_key(request, required=False)
        line = LineInput.as_request(validated(LineInput, request))
        view = services.add_to_cart(user_id=caller_id(request), shop_id=shop_id, line=line, key=key)
        return replayable(cart_document(view), status=201, replayed=view.replayed)


class CartLineView(APIView):
    """One line of a cart."""

    @extend_schema(request=QuantityInput, responses=CartOutput)
    def patch(self, request: Request, shop_id: int, line_id: int) -> Response:
        """Make it so many."""
        quantity, user_id = validated(QuantityInput, request).get("quantity"), caller_id(request)
        if quantity is None:
            return Response(cart_document(services.view_cart(user_id=user_id, shop_id=shop_id)))
        view = services.set_cart_quantity(user_id=user_id, shop_id=shop_id, line_id=line_id, quantity=quantity)
        return Response(cart_document(view))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, shop_id: int, line_id: int) -> Response:
        """Take it out."""
        services.remove_from_cart(user_id=caller_id(request), shop_id=shop_id, line_id=line_id)
        return Response(status=204)


class ShopCartView(APIView):
    """The caller's cart in a shop."""

    @extend_schema(responses=CartOutput)
    def get(self, request: Request, shop_id: int) -> Response:
        """The cart with today's prices, and what is no longer available."""
        return Response(cart_document(services.view_cart(user_id=caller_id(request), shop_id=shop_id)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, shop_id: int) -> Response:
        """Empty the cart."""
        services.clear_cart(user_id=caller_id(request), shop_id=shop_id)
        return Response(status=204)


class OrdersView(APIView):
    """The caller's orders."""

    @extend_schema(
        operation_id="orders_list",
        parameters=[OpenApiParameter("status", str, enum=Status.values), OpenApiParameter("cursor", str)],
        responses=OrderPageOutput,
    )
    def get(self, request: Request) -> Response:
        """Newest first."""
        status = request.query_params.get("status") or None
        if status is not None and status not in Status.values:
            raise ValidationError({"status": [_("可选值：%s") % ", ".join(Status.values)]})
        user_id = caller_id(request)
        pages = MonthlyPagination()
        page = pages.paginate_queryset(services.orders_of(user_id=user_id, status=status), request, view=self)
        return pages.get_paginated_response(services.documents_of(page or [], user_id=user_id))

    @extend_schema(request=OrderInput, parameters=[IDEMPOTENCY_KEY], responses={201: OrderOutput})
    def post(self, request: Request) -> Response:
        """Place an order."""
        key = read_idempotency_key(request)
        data = validated(OrderInput, request)
        lines = data.get("lines")
        placed = services.place(
            Checkout(
                user_id=caller_id(request),
                shop_id=data["shop"],
                address_id=data["address"],
                lines=None if lines is None else tuple(LineInput.as_request(line) for line in lines),
                note=data["note"],
                tableware=data["tableware"],
                deliver_at=data["deliver_at"],
                shown_total=data["shown_total"],
                key=key,
            )
        )
        return replayable(placed.document, status=201, replayed=placed.replayed)


class OrderView(APIView):
    """One order."""

    @extend_schema(responses=OrderOutput)
    def get(self, request: Request, order_id: int) -> Response:
        """The order with its timeline."""
        return Response(services.get_order(order_id=order_id, user_id=caller_id(request)))


class PayView(APIView):
    """Paying for an order."""

    @extend_schema(request=PayInput, parameters=[IDEMPOTENCY_KEY], responses={201: PaymentOutput})
    def post(self, request: Request, order_id: int) -> Response:
        """Open a payment with a provider."""
        key = read_idempotency_key(request)
        provider = validated(PayInput, request)["provider"]
        started = services.pay(order_id=order_id, user_id=caller_id(request), provider=provider, key=key or "")
        body = {
            "payment": started.payment_id,
            "provider": started.provider,
            "client_parameters": started.client_parameters,
        }
        return replayable(body, status=201, replayed=started.replayed)


class CancelView(APIView):
    """Cancelling, until the shop has accepted."""

    @extend_schema(request=ReasonInput, responses=OrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """Cancel; a paid order is refunded."""
        reason = validated(ReasonInput, request)["reason"]
        services.cancel(order_id=order_id, user_id=caller_id(request), reason=reason)
        return Response(services.get_order(order_id=order_id, user_id=caller_id(request)))


class RemindView(APIView):
    """催单."""

    @extend_schema(request=None, responses=OrderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """Ask the shop where the order is."""
        services.remind(order_id=order_id, user_id=caller_id(request))
        return Response(services.get_order(order_id=order_id, user_id=caller_id(request)))


class ReorderView(APIView):
    """再来一单."""

    @extend_schema(request=None, responses=ReorderOutput)
    def post(self, request: Request, order_id: int) -> Response:
        """Put the same lines into the cart, and say what is gone or costs something else now."""
        again = services.reorder(order_id=order_id, user_id=caller_id(request))
        gone = [{"name": line.name, "reason": line.reason} for line in again.gone]
        repriced = [{"name": x.name, "was": str(x.was), "now": str(x.now)} for x in again.repriced]
        return Response(cart_document(again.cart) | {"gone": gone, "repriced": repriced})


def cart_document(view: CartView) -> dict[str, Any]:
    """A cart as the API shows it."""
    quoted = {line.index: line for line in view.quote.lines}
    problems = {problem.index: problem for problem in view.quote.problems}
    lines = []
    for index, line in enumerate(view.lines):
        found, problem = quoted.get(index), problems.get(index)
        options = found.options if found else ()
        lines.append(
            {
                "id": line.id,
                "item": line.item_id,
                "name": found.name if found else problem.name if problem else "",
                "quantity": line.quantity,
                "options": [
                    {"id": o.id, "group": o.group, "name": o.name, "price_delta": str(o.price_delta)} for o in options
                ],
                "unit_price": str(found.unit_price) if found else None,
                "amount": str(found.amount) if found else None,
                "available": found is not None and found.in_stock,
                "problem": problem.code if problem else None if found and found.in_stock else "sold_out",
            }
        )
    quote = view.quote
    return {
        "shop": view.shop_id,
        "version": view.version,
        "lines": lines,
        "goods_total": str(quote.goods_total),
        "packing_fee": str(quote.packing_fee),
        "delivery_fee": str(quote.delivery_fee),
        "total": str(quote.total),
        "minimum_order": str(quote.shop.minimum_order),
    }
