"""What the OpenAPI document says besides what the views do: codes, live streams (which no view serves), examples."""

from __future__ import annotations

from typing import Any

from waimai.infra.schema import list_codes

Document = dict[str, Any]

_LAST_SEEN = "The `id` of the last event that was seen: what came after it is told first."
_STREAM = """Server-Sent Events (WHATWG HTML, section 9.2). {what}

Each event has an `id`. After a break open the stream again with the last one in `Last-Event-ID` (or `last_event_id`).
A comment comes every 15 seconds; after five minutes the stream ends and is opened anew. A client that can't send the
`Authorization` header asks for a ticket (`POST /api/v1/auth/live-ticket/`) and gives it as `ticket` within a minute."""
STREAMS: dict[str, tuple[str, str, str]] = {
    "/api/v1/orders/{order_id}/events/": (
        "orders_events",
        "Every change of one's own order, the first one first: `status` for a change of its state, `update` for the "
        "rest (a refund that arrived, a reminder, a proposal of the shop).",
        'id: 2\nevent: status\ndata: {"status":"paid","at":"2026-11-22T18:12:39Z","actor":"payment","reason":""}\n\n',
    ),
    "/api/v1/staff/events/": (
        "staff_events",
        "What happens in the shops that one works for, from now on: `new_order`, `reminder`, `cancellation`, `change` "
        "(any other change of a paid order), `sold_out`. Numbered per shop without gaps, kept for three days.",
        'id: 1:42\nevent: new_order\ndata: {"shop":1,"order":384587957137412,"number":7,"status":"paid"}\n\n',
    ),
}
# What may be sent, by method and path. A test holds that each fits its schema.
EXAMPLES: dict[tuple[str, str], Any] = {
    ("post", "/api/v1/auth/sms/"): {"phone": "13800000001"},
    ("post", "/api/v1/auth/login/"): {"phone": "13800000001", "code": "123456"},
    ("post", "/api/v1/auth/staff/login/"): {"username": "kitchen", "password": "a password"},
    ("post", "/api/v1/auth/wechat/"): {"code": "what wx.login gave"},
    ("patch", "/api/v1/me/"): {"nickname": "小满"},
    ("post", "/api/v1/me/close/"): {"wechat_code": "what wx.login gave"},
    ("post", "/api/v1/addresses/"): {
        "contact_name": "林小满",
        "phone": "13800000001",
        "region": "北京市朝阳区",
        "detail": "建国路 88 号 1 号楼 1201",
        "label": "公司",
        "latitude": 39.915,
        "longitude": 116.455,
    },
    ("post", "/api/v1/shops/{shop_id}/cart/lines/"): {"item": 13, "quantity": 1, "options": [5]},
    ("patch", "/api/v1/shops/{shop_id}/cart/lines/{line_id}/"): {"quantity": 2},
    ("post", "/api/v1/orders/"): {
        "shop": 1,
        "address": 1,
        "lines": [{"item": 13, "quantity": 1, "options": []}],
        "note": "少盐",
        "tableware": 2,
        "deliver_at": None,
        "shown_total": "105.00",
    },
    ("post", "/api/v1/orders/{order_id}/pay/"): {"provider": "sandbox"},
    ("post", "/api/v1/orders/{order_id}/cancel/"): {"reason": "点错了"},
    ("post", "/api/v1/orders/{order_id}/amendments/{n}/"): {"accept": True},
    ("post", "/api/v1/payments/sandbox/{payment_id}/"): {"outcome": "success", "delay_seconds": 0, "times": 1},
    ("post", "/api/v1/staff/orders/{order_id}/accept/"): {"minutes": 30},
    ("post", "/api/v1/staff/orders/{order_id}/reject/"): {"reason": "餐厅已打烊，暂时无法接单"},
    ("post", "/api/v1/staff/orders/{order_id}/cancel/"): {"reason": "骑手不足无法配送", "restock": False},
    ("post", "/api/v1/staff/orders/{order_id}/amendments/"): {
        "line": 1,
        "quantity": 1,
        "replacement": 14,
        "reason": "鱼卖完了",
    },
}


def complete(result: Document, **kwargs: Any) -> Document:
    """The hook of drf-spectacular that the settings name."""
    _add_streams(result)
    _add_examples(result)
    return list_codes(result)


def _add_streams(result: Document) -> None:
    for path, (name, what, example) in STREAMS.items():
        result["paths"][path] = {"get": _stream(name, what, example, numbered="{order_id}" in path)}
    result["paths"] = dict(sorted(result["paths"].items()))


def _stream(name: str, what: str, example: str, *, numbered: bool) -> Document:
    text = {"schema": {"type": "string"}}
    answer = {"description": what, "content": {"text/event-stream": {**text, "example": example}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    parameters: list[Document] = [
        {"in": "header", "name": "Last-Event-ID", **text, "description": _LAST_SEEN},
        {"in": "query", "name": "last_event_id", **text, "description": _LAST_SEEN},
        {"in": "query", "name": "ticket", **text, "description": "Instead of the header"},
    ]
    if numbered:
        parameters.append({"in": "path", "name": "order_id", "required": True, "schema": {"type": "integer"}})
    return {
        "operationId": name,
        "description": _STREAM.format(what=what),
        "parameters": parameters,
        "tags": [name.partition("_")[0]],
        "security": [{"jwtAuth": []}],
        "responses": {"200": answer, "default": {"description": "Refused; `code` says why", "content": problem}},
    }


def _add_examples(result: Document) -> None:
    for (method, path), value in EXAMPLES.items():
        body = result["paths"][path][method]["requestBody"]["content"]["application/json"]
        body["example"] = value
