"""The mini-program's door to orders."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

import accounts.services
import menu.services
from menu.services import ItemUnavailable, OutOfDeliveryArea, ShopInfo, SoldOut
from orders import services
from orders.errors import DeliveryTimeInvalid, InvalidTransition, TotalChanged
from orders.services import Placed, StartedPayment
from orders.sky_documents import PAY_STATUSES, STATUSES, order_document
from orders.sky_serializers import CHOSEN, CLOCK_FORMATS, LATER, HistoryQuery, PaymentInput, SubmitInput
from waimai.infra.api import caller_id
from waimai.infra.sky import SkyView, clock, given, ok, picture, read, yuan

MOST_TABLEWARE = 99
PROVIDERS = {1: "wechat", 2: "alipay"}


class SubmitView(SkyView):
    """A checkout."""

    def post(self, request: Request) -> Response:
        """Order the cart, at the server's price."""
        sent, shop = read(SubmitInput, request.data), menu.services.only_shop().shop
        placed = _placed(sent, shop, caller_id(request))
        document = placed.document
        return ok(
            {
                "id": placed.order_id,
                "orderNumber": str(placed.order_id),
                "orderAmount": yuan(document["total"]),
                "orderTime": clock(document["placed_at"], shop.time_zone),
            }
        )


class PaymentView(SkyView):
    """Paying."""

    def put(self, request: Request) -> Response:
        """Open a payment; the answer is for `wx.requestPayment`."""
        sent = read(PaymentInput, request.data)
        preferred = PROVIDERS.get(sent.get("payMethod") or 1, "")
        started = services.pay_keyless(order_id=sent["orderNumber"], user_id=caller_id(request), preferred=preferred)
        return ok(_for_wechat(started))


class HistoryView(SkyView):
    """The caller's orders."""

    def get(self, request: Request) -> Response:
        """A page of them, newest first, and how many there are."""
        wanted, user_id = read(HistoryQuery, given(request.query_params)), caller_id(request)
        status = STATUSES[wanted["status"]] if "status" in wanted else None
        rows = services.orders_of(user_id=user_id, status=status)
        if "payStatus" in wanted:
            rows = rows.filter(payment_status__in=PAY_STATUSES[wanted["payStatus"]])
        first = (wanted["page"] - 1) * wanted["pageSize"]
        total = rows.count()
        page = list(rows.order_by("-id")[first : first + wanted["pageSize"]]) if first < total else []
        documents = services.documents_of(page, user_id=user_id)
        shop, pictures = menu.services.only_shop().shop, partial(picture, request)
        return ok({"total": total, "records": [order_document(each, user_id, shop, pictures) for each in documents]})


class OrderView(SkyView):
    """One order."""

    def get(self, request: Request, order_id: int) -> Response:
        """All of it."""
        user_id = caller_id(request)
        found = services.get_order(order_id=order_id, user_id=user_id)
        return ok(order_document(found, user_id, menu.services.only_shop().shop, partial(picture, request)))


class CancelView(SkyView):
    """Cancelling."""

    def put(self, request: Request, order_id: int) -> Response:
        """Until the shop has accepted; a paid order is refunded."""
        try:
            services.cancel(order_id=order_id, user_id=caller_id(request))
        except InvalidTransition as error:
            if error.extra["order_status"] not in services.WITH_THE_SHOP:
                raise
            phone = menu.services.only_shop().shop.phone
            raise InvalidTransition(_("商家已接单，取消请致电商家：%(phone)s") % {"phone": phone}) from error
        return ok()


class ReminderView(SkyView):
    """催单."""

    def get(self, request: Request, order_id: int) -> Response:
        """Ask the shop where the order is."""
        services.remind(order_id=order_id, user_id=caller_id(request))
        return ok()


class RepetitionView(SkyView):
    """再来一单."""

    def post(self, request: Request, order_id: int) -> Response:
        """Put the same into the cart, beside what is there; the body says the number once more."""
        user_id = caller_id(request)
        if services.own_order(order_id=order_id, user_id=user_id).shop_id != menu.services.only_shop().shop.id:
            # Of a shop whose cart this client never shows.
            raise ItemUnavailable
        again = services.reorder(order_id=order_id, user_id=user_id)
        if not again.found:
            raise ItemUnavailable(" ".join(line.reason for line in again.gone))
        return ok()


def _placed(sent: dict[str, Any], shop: ShopInfo, user_id: int) -> Placed:
    """The order; refusals say in words what other clients read from their members."""
    try:
        return services.place_cart(
            user_id=user_id,
            shop_id=shop.id,
            address_id=sent["addressBookId"],
            shown_total=sent["amount"],
            note=sent.get("remark") or "",
            tableware=_tableware(sent),
            deliver_at=_chosen_time(sent, shop),
            unplaced=settings.WAIMAI_SKY_UNPLACED,
        )
    except TotalChanged as error:
        raise TotalChanged(_("价格有变动，现在的总额是 %(total)s 元") % error.extra, **error.extra) from error
    except SoldOut as error:
        names = "、".join(str(item["name"]) for item in error.extra["items"])
        raise SoldOut(_("已售罄：%(names)s") % {"names": names}, **error.extra) from error
    except OutOfDeliveryArea as error:
        address = accounts.services.get_address(user_id=user_id, address_id=sent["addressBookId"])
        if address.latitude is None:
            raise OutOfDeliveryArea(_("该地址没有定位，无法确认是否在配送范围内")) from error
        raise


def _tableware(sent: dict[str, Any]) -> int | None:
    """How many were chosen; None leaves it to the portions, whatever number comes along."""
    if sent.get("tablewareStatus") != CHOSEN:
        return None
    return min(max(sent.get("tablewareNumber") or 0, 0), MOST_TABLEWARE)


def _chosen_time(sent: dict[str, Any], shop: ShopInfo) -> datetime | None:
    if sent.get("deliveryStatus") != LATER:
        return None
    for form in CLOCK_FORMATS:
        try:
            naive = datetime.strptime(sent.get("estimatedDeliveryTime") or "", form)  # noqa: DTZ007 - the zone follows
        except ValueError:
            continue
        return naive.replace(tzinfo=ZoneInfo(shop.time_zone))
    raise DeliveryTimeInvalid


def _for_wechat(started: StartedPayment) -> dict[str, Any]:
    """What `wx.requestPayment` takes. The sandbox signs nothing: WeChat will not open its till for it."""
    given_ = started.client_parameters
    return {
        "nonceStr": given_.get("nonceStr") or secrets.token_hex(16),
        "paySign": given_.get("paySign") or secrets.token_urlsafe(64),
        "timeStamp": str(given_.get("timeStamp") or int(time.time())),
        "signType": given_.get("signType") or "RSA",
        "packageStr": given_.get("packageStr") or given_.get("package") or f"prepay_id={started.payment_id}",
    }
