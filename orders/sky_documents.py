"""An order as the mini-program shows it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from menu.services import ShopInfo
from orders.documents import Document, lines_now
from orders.states import Actor, PaymentStatus, Status
from waimai.infra.sky import clock, yuan

STATUSES = {
    1: Status.PENDING_PAYMENT,
    2: Status.PAID,
    3: Status.ACCEPTED,
    4: Status.DELIVERING,
    5: Status.COMPLETED,
    6: Status.CANCELLED,
}
NUMBERS = {status: number for number, status in STATUSES.items()}
# Money that is on its way back counts as back.
PAY_STATUSES = {
    0: (PaymentStatus.UNPAID,),
    1: (PaymentStatus.PAID,),
    2: (PaymentStatus.REFUNDING, PaymentStatus.REFUNDED),
}
PAID = {status: number for number, statuses in PAY_STATUSES.items() for status in statuses}
AT_ONCE, LATER = 1, 0
BY_PORTIONS, CHOSEN = 1, 0
WECHAT = 1
# Who gives no reason is reason enough.
BY_CUSTOMER = "用户取消"
# Makes the whole address of a picture.
Pictures = Callable[[str | None], str]


def order_document(order: Document, user_id: int, shop: ShopInfo, pictures: Pictures) -> dict[str, Any]:
    """The order, by the shop's clock."""
    # As they are now: this client knows nothing of dishes that were left out or changed after the order.
    zone, lines = shop.time_zone, lines_now(order)
    portions = sum(line["quantity"] for line in order["lines"])
    return {
        "id": order["id"],
        "number": str(order["id"]),
        "status": NUMBERS[order["status"]],
        "userId": user_id,
        "addressBookId": None,
        "orderTime": clock(order["placed_at"], zone),
        "checkoutTime": clock(_reached(order, Status.PAID).get("at"), zone),
        "payMethod": WECHAT,
        "payStatus": PAID[order["payment_status"]],
        "amount": yuan(order["net_total"]),
        "remark": order["note"],
        "userName": order["contact"]["name"],
        "phone": order["contact"]["phone"],
        "address": order["contact"]["address"],
        "consignee": order["contact"]["name"],
        **_end(order, zone),
        "estimatedDeliveryTime": clock(_expected(order, shop), zone),
        "deliveryStatus": AT_ONCE if order["deliver_at"] is None else LATER,
        "deliveryTime": clock(_reached(order, Status.COMPLETED).get("at"), zone),
        "packAmount": yuan(order["packing_fee"]),
        "tablewareNumber": order["tableware"],
        "tablewareStatus": BY_PORTIONS if order["tableware"] == portions else CHOSEN,
        "orderDishes": "".join(f"{line['name']}*{line['quantity']};" for line in lines),
        "orderDetailList": [_line(line, order["id"], pictures) for line in lines],
    }


def _line(line: Document, order_id: int, pictures: Pictures) -> dict[str, Any]:
    is_meal = line["kind"] == "set_meal"
    return {
        "id": line["n"],
        "name": line["name"],
        "orderId": order_id,
        "dishId": None if is_meal else line["item"],
        "setmealId": line["item"] if is_meal else None,
        "dishFlavor": ",".join(option["name"] for option in line["options"]) or None,
        "number": line["quantity"],
        "amount": yuan(line["unit_price"]),
        "image": pictures(line["image"]),
    }


def _end(order: Document, zone: str) -> dict[str, Any]:
    """Why and when it was cancelled; a shop that hadn't accepted it has rejected it."""
    change = _reached(order, Status.CANCELLED)
    timeline = order["timeline"]
    before = timeline[timeline.index(change) - 1]["status"] if change in timeline[1:] else ""
    rejected = change.get("actor") == Actor.STAFF and before == Status.PAID
    reason = change.get("reason") or (BY_CUSTOMER if change.get("actor") == Actor.CUSTOMER else None)
    return {
        "cancelReason": None if rejected else reason,
        "rejectionReason": reason if rejected else None,
        "cancelTime": clock(change.get("at"), zone),
    }


def _expected(order: Document, shop: ShopInfo) -> str | datetime:
    """When it will be there: as promised, as wished, else after the shop's usual time."""
    usual = datetime.fromisoformat(order["placed_at"]) + timedelta(minutes=shop.prep_minutes)
    return order["promised_at"] or order["deliver_at"] or usual


def _reached(order: Document, status: Status) -> Document:
    """The change that led to a state, or nothing."""
    return next((change for change in order["timeline"] if change["status"] == status), {})
