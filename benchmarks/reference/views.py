"""One transaction per order: with the ORM behind the REST framework, and in raw SQL behind a plain Django view.

Both check the token, price by the same functions and write the same rows as the product; they keep no stock.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import accounts.services
import menu.services
import orders.services
from menu.services import LineRequest
from orders import changes, checkout, documents, intake
from orders.changes import By
from orders.models import OrderChange, OrderLine, Saga
from orders.saga import EXPIRE
from orders.serializers import LineInput, OrderInput
from orders.services import Checkout
from orders.states import Actor
from waimai.infra.api import KeysetPagination, caller_id, read_idempotency_key, validated
from waimai.infra.clock import db_now
from waimai.infra.models import IdempotencyKey, OutboxMessage, Timer
from waimai.infra.sharding import shard_of_user


def _draft(wanted: Checkout, using: str) -> checkout.Draft:
    address = accounts.services.get_address(user_id=wanted.user_id, address_id=wanted.address_id)
    menu_now = menu.services.get_menu(wanted.shop_id)
    return checkout.draft(wanted, address=address, menu_now=menu_now, now=db_now(using))


def _rows(wanted: Checkout, draft: checkout.Draft) -> list[Any]:
    """Everything that one order is made of."""
    order = draft.order
    key, fingerprint = wanted.idempotency()
    row = changes.history_row(order, "", intake.PLACED, by=By(Actor.CUSTOMER), at=order.placed_at)
    facts = documents.snapshot(order, [])
    bound = IdempotencyKey(
        user_id=order.user_id,
        key=key,
        route=checkout.ROUTE,
        fingerprint=fingerprint,
        ref_id=order.pk,
        bucket=order.bucket,
        created_at=order.placed_at,
    )
    saga = Saga(order_id=order.pk, bucket=order.bucket, state="running", step="charge")
    timer = Timer(kind=EXPIRE, ref_id=order.pk, bucket=order.bucket, due_at=order.expires_at)
    news = OutboxMessage(
        bucket=order.bucket,
        topic="order.placed",
        key=order.pk,
        version=1,
        payload=facts,
        next_at=order.placed_at,
        created_at=order.placed_at,
        state=OutboxMessage.State.DONE,
    )
    return [bound, order, *draft.lines, saga, row, timer, news]


class OrmOrders(APIView):
    """The ORM, row by row, in one transaction."""

    def post(self, request: Request) -> Response:
        """Place an order."""
        key, data = read_idempotency_key(request), validated(OrderInput, request)
        wanted = Checkout(
            user_id=caller_id(request),
            shop_id=data["shop"],
            address_id=data["address"],
            lines=tuple(LineInput.as_request(line) for line in data["lines"]),
            key=key,
        )
        using = shard_of_user(wanted.user_id)
        draft = _draft(wanted, using)
        with transaction.atomic(using=using):
            for row in _rows(wanted, draft):
                row.save(using=using, force_insert=True)
        history = list(OrderChange.objects.on(using).filter(order_id=draft.order.pk))
        lines = list(OrderLine.objects.on(using).filter(order_id=draft.order.pk).order_by("n"))
        return Response(documents.placed_document(draft.order, lines, history), status=201)


@csrf_exempt
def raw_orders(request: HttpRequest) -> HttpResponse:
    """Raw SQL, one statement per table, in one transaction; a lean view without the REST framework."""
    user_id = accounts.services.user_of_header(request.headers.get("Authorization", ""))
    data = json.loads(request.body)
    lines = tuple(LineRequest(x["item"], x["quantity"], tuple(x.get("options", ()))) for x in data["lines"])
    key = request.headers["Idempotency-Key"]
    wanted = Checkout(user_id=user_id, shop_id=data["shop"], address_id=data["address"], lines=lines, key=key)
    using = shard_of_user(user_id)
    draft = _draft(wanted, using)
    rows = _rows(wanted, draft)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for model in dict.fromkeys(type(row) for row in rows):
            _insert(cursor, model, [row for row in rows if type(row) is model], using)
    history = [row for row in rows if isinstance(row, OrderChange)]
    return JsonResponse(documents.placed_document(draft.order, draft.lines, history), status=201)


def _insert(cursor: Any, model: Any, rows: list[Any], using: str) -> None:
    fields = model._meta.local_concrete_fields
    names = ", ".join(f"`{field.column}`" for field in fields)
    places = ", ".join(["(" + ", ".join(["%s"] * len(fields)) + ")"] * len(rows))
    values = [
        field.get_db_prep_save(getattr(row, field.attname), connections[using]) for row in rows for field in fields
    ]
    cursor.execute(f"INSERT INTO `{model._meta.db_table}` ({names}) VALUES {places}", values)  # noqa: S608 - ours


@csrf_exempt
def plain_menu(request: HttpRequest) -> HttpResponse:
    """A trivial Django view that has the menu in a variable."""
    shop_id = int(request.GET["shop"])
    if shop_id not in _kept:
        _kept[shop_id] = menu.services.menu_document(shop_id).body
    return HttpResponse(_kept[shop_id], content_type="application/json")


def offset_orders(request: HttpRequest) -> HttpResponse:
    """A page of the caller's orders by LIMIT and OFFSET."""
    user_id = accounts.services.user_of_header(request.headers.get("Authorization", ""))
    start = (int(request.GET["page"]) - 1) * KeysetPagination.page_size
    rows = orders.services.orders_of(user_id=user_id).order_by("-id")[start : start + KeysetPagination.page_size]
    return JsonResponse({"results": orders.services.documents_of(rows, user_id=user_id)})


_kept: dict[int, bytes] = {}
