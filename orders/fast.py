"""The fast door for placing an order: `POST /api/v1/orders/` before Django's request stack (`waimai.infra.fast_door`).

On the event loop only what is pure: the token's signature, the shape of the body. Whoever asks a database or Redis is
asked once for the whole batch (`orders.intake`): the entry's limits, whether user, password and session still are, and
all of placing.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import msgspec

from accounts.services import read_access
from menu.services import LineRequest
from orders.batch import LongWay, Pass, Stored
from orders.placing import answer, submit
from orders.serializers import OrderInput
from orders.services import Checkout
from waimai.infra.api import VISIBLE_ASCII_KEY
from waimai.infra.errors import RequestTooSlow, ServiceUnavailable
from waimai.infra.fast_door import (
    App,
    Call,
    Headers,
    Heard,
    Receive,
    Scope,
    Send,
    answers,
    encoded,
    mailbox,
    refuse,
    replaying,
    reply,
)
from waimai.infra.gate import first_part
from waimai.infra.http import as_domain_error, caller, logged_as, refused_directly
from waimai.infra.plain import decoder_of

logger = logging.getLogger(__name__)
PATH = "/api/v1/orders/"
LARGEST_BODY_BYTES = 64 * 1024
JSON_TYPES = (b"application/json", b"application/json; charset=utf-8")
_heard = Heard()
_decoder = decoder_of(OrderInput)


async def place_order(scope: Scope, receive: Receive, send: Send, long_way: App) -> None:
    """Serve one request, or leave it to the long way."""
    call = Call.of(scope)
    if call is None:
        await long_way(scope, receive, send)
        return
    try:
        first = await first_part(receive)
    except RequestTooSlow as refusal:
        await refused_directly(scope, send, refusal)
        return
    listening = _heard.listening(call, send, statuses=(201,), kind_of=lambda _status: call.kind)
    heard = _heard.get(call.kind)
    prepared = None if heard is None or first.get("more_body") else _prepare(call, first.get("body", b""))
    if heard is None or prepared is None:
        await long_way(scope, replaying(first, receive), listening)
        return
    try:
        with logged_as(call.request_id):
            await _place(call, *prepared, heard, send)
    except LongWay:
        # Under the id that the log has already.
        others = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
        scope["headers"] = [*others, (b"x-request-id", call.request_id.encode())]
        await long_way(scope, replaying(first, receive), listening)


async def _place(call: Call, checkout: Checkout, pass_: Pass, heard: Headers, send: Send) -> None:
    try:
        body = await _placed(checkout, pass_, call.language)
    except LongWay:
        raise
    except Exception as error:
        refusal = ServiceUnavailable() if isinstance(error, TimeoutError) else as_domain_error(error)
        if refusal is None:
            logger.exception("the fast door doesn't understand; Django answers")
            raise LongWay from error
        answers.labels("orders", str(refusal.status)).inc()
        await refuse(send, call, heard, refusal)
        return
    answers.labels("orders", "201").inc()
    await reply(send, call, heard, status=201, body=body)


async def _placed(checkout: Checkout, pass_: Pass, language: str) -> bytes:
    box = mailbox()
    outcome = await box.wait_for(submit(checkout, pass_, language=language, gather=box.catch_up))
    if not isinstance(outcome, Stored):
        raise LongWay
    # Nothing of a new order is in any language.
    return encoded(answer(outcome).document)


def _prepare(call: Call, body: bytes) -> tuple[Checkout, Pass] | None:
    """The checkout and who asks for it; None when something about it isn't plain."""
    key = call.text(b"idempotency-key")
    if call.headers.get(b"content-type", b"").lower() not in JSON_TYPES or not VISIBLE_ASCII_KEY.fullmatch(key):
        return None
    claims = read_access(call.text(b"authorization"))
    order = _read(body)
    if claims is None or order is None:
        return None
    lines = None
    if order.lines is not None:
        lines = tuple(LineRequest(x.item, x.quantity, tuple(x.options)) for x in order.lines)
    checkout = Checkout(
        user_id=claims.user_id,
        shop_id=order.shop,
        address_id=order.address,
        lines=lines,
        note=order.note,
        tableware=order.tableware,
        shown_total=None if order.shown_total is None else Decimal(order.shown_total),
        key=key,
    )
    return checkout, Pass(caller(call.connected, call.text(b"x-forwarded-for")), claims)


def _read(body: bytes) -> Any:
    """The order in its plainest form; a time of delivery has none. None goes the long way."""
    if len(body) > LARGEST_BODY_BYTES:
        return None
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
