"""The wire as the published client speaks it, to the byte: what looks odd here is what it sends, or takes apart."""

from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from accounts import services
from accounts.models import Address, LoginSession, User
from menu.models import Item, Shop
from tests import factories
from tests.factories import Stall
from tests.menu.factories import make_dish, make_group, make_set_meal, make_shop
from tests.sky.client import ADDRESS, SkyClient
from tests.support.server import Server
from waimai.infra.ratelimit import Rate

pytestmark = [pytest.mark.once, pytest.mark.data]
CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
ORDER_FIELDS = [
    "id",
    "number",
    "status",
    "userId",
    "addressBookId",
    "orderTime",
    "checkoutTime",
    "payMethod",
    "payStatus",
    "amount",
    "remark",
    "userName",
    "phone",
    "address",
    "consignee",
    "cancelReason",
    "rejectionReason",
    "cancelTime",
    "estimatedDeliveryTime",
    "deliveryStatus",
    "deliveryTime",
    "packAmount",
    "tablewareNumber",
    "tablewareStatus",
    "orderDishes",
    "orderDetailList",
]

CART_FIELDS = ["id", "name", "userId", "dishId", "setmealId", "dishFlavor", "number", "amount", "image", "createTime"]
LABELS = [(2, "2"), ("1", "1"), ("3", "3"), ("单位", "单位"), ("", None), (None, None)]


def on_the_wire(url: str, request: bytes) -> tuple[str, bytes]:
    """Send exactly these bytes; the status line and the body that come back."""
    found = urlsplit(url)
    with socket.create_connection((str(found.hostname), found.port or 80), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body


def bytes_of(phone: SkyClient, line: str, body: bytes = b"") -> bytes:
    lines = [
        f"{line} HTTP/1.1",
        "Host: 127.0.0.1",
        f"authentication: {phone.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def done(answer: tuple[str, bytes]) -> Any:
    status, body = answer
    found = json.loads(body)
    assert (status.split()[1], found["code"]) == ("200", 1), answer
    return found["data"]


# --- the token ---


def test_a_missing_or_invalid_token_is_401_without_a_word(stall: Stall, server: Server) -> None:
    for token in ("", "x", "a.b.c", "Bearer x", "ÿ"):
        answer = SkyClient(server.url, token).send("GET", "/user/shoppingCart/list")
        assert (answer.status_code, answer.content) == (401, b""), token


def test_the_other_header_is_nobodys(phone: SkyClient, stall: Stall) -> None:
    headers = {"Authorization": f"Bearer {phone.token}"}
    assert phone.session.get(f"{phone.url}/user/shoppingCart/list", headers=headers, timeout=20).status_code == 401


def test_somebody_who_is_switched_off_is_nobody_at_once(phone: SkyClient, stall: Stall) -> None:
    User.objects.filter(openid="o-mei").update(is_active=False)
    assert phone.send("GET", "/user/addressBook/list").status_code == 401
    assert phone.refused("POST", "/user/user/login", {"code": "again-mei"}) == "账号已停用，请联系客服"


def test_nothing_but_login_and_status_goes_without(stall: Stall, wechat_answers: Server) -> None:
    stranger = SkyClient(wechat_answers.url)
    assert stranger.ok("GET", "/user/shop/status") == 1
    stale = SkyClient(wechat_answers.url, "a.b.c")
    assert stale.ok("GET", "/user/shop/status") == 1
    first = stale.ok("POST", "/user/user/login", {"code": "mei", "location": "39.9,116.4"})
    assert (first["openid"], type(first["id"])) == ("o-mei", int)
    assert stranger.ok("POST", "/user/user/login", {"code": "again-mei"})["id"] == first["id"]


def test_a_token_lives_for_two_hours(phone: SkyClient, stall: Stall) -> None:
    claims = jwt.decode(phone.token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 2 * 3600


@pytest.mark.parametrize("what", ["session", "password"])
def test_a_token_ends_with_its_session_and_its_password(phone: SkyClient, stall: Stall, what: str) -> None:
    assert phone.send("GET", "/user/addressBook/list").status_code == 200
    if what == "session":
        LoginSession.objects.update(ended_at=datetime.now(UTC))
    else:
        user = User.objects.get(openid="o-mei")
        user.set_password("four-treasures-8")
        user.save(update_fields=["password"])
    assert phone.send("GET", "/user/addressBook/list").status_code == 401


# --- addresses ---


def test_it_deletes_with_a_slash_before_the_question_mark_and_a_body(phone: SkyClient, stall: Stall) -> None:
    number = phone.address()
    body = f'{{"id":"{number}"}}'.encode()
    wire = bytes_of(phone, f"DELETE /user/addressBook/?id={number}", body)
    assert done(on_the_wire(phone.url, wire)) is None
    assert phone.ok("GET", "/user/addressBook/list") == []


def test_it_deletes_without_the_slash_too(phone: SkyClient, stall: Stall) -> None:
    number = phone.address()
    assert done(on_the_wire(phone.url, bytes_of(phone, f"DELETE /user/addressBook?id={number}"))) is None
    assert phone.refused("DELETE", f"/user/addressBook/?id={number}") == "没有找到"


def test_it_reads_with_the_number_twice(phone: SkyClient, stall: Stall) -> None:
    number = phone.address()
    found = done(on_the_wire(phone.url, bytes_of(phone, f"GET /user/addressBook/{number}?id={number}")))
    sent = {name: value for name, value in ADDRESS.items() if name not in {"name", "type"}}
    assert found == sent | {"id": number, "userId": found["userId"], "isDefault": 1}


@pytest.mark.parametrize(
    ("sent", "kept"), [(2, "2"), ("1", "1"), ("3", "3"), ("单位", "单位"), ("", None), (None, None)]
)
def test_a_label_is_a_number_or_a_text(phone: SkyClient, stall: Stall, sent: Any, kept: Any) -> None:
    number = phone.address(label=sent)
    assert phone.ok("GET", f"/user/addressBook/{number}")["label"] == kept


def test_an_address_is_changed_as_a_whole(phone: SkyClient, stall: Stall) -> None:
    first, second = phone.address(), phone.address(latitude=39.915, longitude=116.455)
    body = ADDRESS | {"id": str(second), "phone": "13911110009", "sex": 0, "isDefault": 0}
    assert phone.ok("PUT", "/user/addressBook", body) is None
    found = phone.ok("GET", f"/user/addressBook/{second}")
    assert (found["phone"], found["sex"], found["isDefault"]) == ("13911110009", "0", 0)
    assert phone.ok("PUT", "/user/addressBook/default", {"id": second}) is None
    assert phone.ok("GET", "/user/addressBook/default")["id"] == second
    assert phone.ok("GET", f"/user/addressBook/{first}")["isDefault"] == 0
    # Sent back as it was read, the default stays the default.
    assert phone.ok("PUT", "/user/addressBook", phone.ok("GET", f"/user/addressBook/{second}")) is None


def test_a_moved_address_keeps_no_coordinates(phone: SkyClient, stall: Stall) -> None:
    number = phone.address(latitude=39.915, longitude=116.455)
    phone.ok("PUT", "/user/addressBook", ADDRESS | {"id": number, "consignee": "小梅"})
    assert Address.objects.get(pk=number).latitude is not None
    phone.ok("PUT", "/user/addressBook", ADDRESS | {"id": number, "detail": "很远的路 1 号"})
    assert Address.objects.get(pk=number).latitude is None


def test_an_address_of_elsewhere_has_its_region_in_one_piece(phone: SkyClient, stall: Stall) -> None:
    user_id = User.objects.get(openid="o-mei").pk
    draft = services.AddressDraft(contact_name="梅", phone="13911110001", region="北京市朝阳区", detail="建国路 1 号")
    services.add_address(user_id=user_id, draft=draft)
    (found,) = phone.ok("GET", "/user/addressBook/list")
    assert [found[name] for name in ("provinceName", "cityName", "districtName", "provinceCode", "label")] == [
        "北京市朝阳区",
        "",
        "",
        None,
        None,
    ]


def test_without_an_address_there_is_no_default(phone: SkyClient, stall: Stall) -> None:
    assert phone.refused("GET", "/user/addressBook/default") == "没有查询到默认地址"
    assert phone.ok("GET", "/user/addressBook/list") == []


def test_what_is_wrong_is_said_in_chinese_whatever_the_telephone_speaks(phone: SkyClient, stall: Stall) -> None:
    assert phone.refused("POST", "/user/addressBook", ADDRESS | {"phone": "12"}) == "请输入手机号或带区号的固定电话"
    assert phone.refused("POST", "/user/addressBook", raw=b"{") == "请检查填写的内容"
    assert phone.refused("GET", "/user/order/orderDetail/7") == "没有找到"


# --- orders ---


def test_the_same_again_comes_with_a_bare_number(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    wire = bytes_of(phone, f"POST /user/order/repetition/{order_id}", str(order_id).encode())
    assert done(on_the_wire(phone.url, wire)) is None
    assert [row["dishId"] for row in phone.cart()] == [stall.fish]


def test_cancel_comes_with_an_empty_object(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    assert done(on_the_wire(phone.url, bytes_of(phone, f"PUT /user/order/cancel/{order_id}", b"{}"))) is None
    found = phone.detail(order_id)
    assert (found["status"], found["payStatus"], found["cancelReason"]) == (6, 0, "用户取消")


def test_clean_comes_with_an_empty_object(phone: SkyClient, stall: Stall) -> None:
    phone.add(stall.fish)
    assert done(on_the_wire(phone.url, bytes_of(phone, "DELETE /user/shoppingCart/clean", b"{}"))) is None
    assert phone.cart() == []


def test_history_comes_with_an_empty_status(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    found = done(on_the_wire(phone.url, bytes_of(phone, "GET /user/order/historyOrders?pageSize=10&page=1&status=")))
    assert (found["total"], [row["id"] for row in found["records"]]) == (1, [order_id])
    assert phone.ok("GET", "/user/order/historyOrders?pageSize=10&page=1&status=2") == {"total": 0, "records": []}
    assert phone.ok("GET", "/user/order/historyOrders?pageSize=10&page=9&status=1") == {"total": 1, "records": []}
    assert phone.ok("GET", "/user/order/queryOrdersCheckStatus?pageSize=10&page=1&payStatus=2")["total"] == 0


def test_an_order_is_numbers_and_the_shops_clock(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    body = phone.send("GET", f"/user/order/orderDetail/{order_id}").text
    assert '"amount":63.0' in body
    found = json.loads(body)["data"]
    assert list(found) == ORDER_FIELDS
    assert (found["id"], found["number"], found["status"], found["payStatus"]) == (order_id, str(order_id), 1, 0)
    assert (found["packAmount"], found["tablewareNumber"], found["tablewareStatus"]) == (1.0, 1, 1)
    placed_at = factories.order(order_id).placed_at
    shown = datetime.strptime(found["orderTime"] + "+0800", "%Y-%m-%d %H:%M%z")
    assert shown == placed_at.astimezone(UTC).replace(second=0, microsecond=0)
    assert [found[name] for name in ("checkoutTime", "cancelTime", "deliveryTime", "cancelReason")] == [None] * 4
    assert CLOCK.fullmatch(found["estimatedDeliveryTime"])
    (line,) = found["orderDetailList"]
    assert line == {
        "id": 1,
        "name": "酸菜鱼",
        "orderId": order_id,
        "dishId": stall.fish,
        "setmealId": None,
        "dishFlavor": None,
        "number": 1,
        "amount": 56.0,
        "image": "",
    }


def test_a_chosen_time_is_the_shops(phone: SkyClient, stall: Stall) -> None:
    now = datetime.now(UTC)
    later = datetime.fromtimestamp(now.timestamp() + 3 * 3600, UTC)
    local = datetime.fromtimestamp(later.timestamp() + 8 * 3600, UTC)
    phone.add(stall.fish)
    address = phone.address()
    wrong = phone.checkout(address, deliveryStatus=0, estimatedDeliveryTime="bald")
    assert phone.refused("POST", "/user/order/submit", wrong)
    body = phone.checkout(address, deliveryStatus=0, estimatedDeliveryTime=f"{local:%Y-%m-%d %H:%M:%S}")
    order_id = phone.ok("POST", "/user/order/submit", body)["id"]
    assert factories.order(order_id).deliver_at == later.replace(microsecond=0)
    found = phone.detail(order_id)
    assert (found["deliveryStatus"], found["estimatedDeliveryTime"]) == (0, f"{local:%Y-%m-%d %H:%M}")


def test_tableware_is_by_portions_or_chosen(phone: SkyClient, stall: Stall) -> None:
    address = phone.address()
    phone.add(stall.fish)
    phone.add(stall.fish)
    by_portions = phone.ok("POST", "/user/order/submit", phone.checkout(address, tablewareNumber=0))["id"]
    phone.add(stall.fish)
    chosen = phone.ok("POST", "/user/order/submit", phone.checkout(address, tablewareNumber=5, tablewareStatus=0))["id"]
    phone.add(stall.fish)
    odd = phone.ok("POST", "/user/order/submit", phone.checkout(address, tablewareNumber=-1, tablewareStatus=0))["id"]
    assert [factories.order(each).tableware for each in (by_portions, chosen, odd)] == [2, 5, 0]


def test_an_amount_as_javascript_adds_it_up_is_right(phone: SkyClient, stall: Stall) -> None:
    phone.add(stall.fish)
    body = phone.checkout(phone.address(), amount=63.00000000000001)
    assert phone.ok("POST", "/user/order/submit", body)["orderAmount"] == 63.0


# --- the menu and the cart ---


def test_choices_are_a_json_array_in_a_string(phone: SkyClient, stall: Stall) -> None:
    fish = Item.objects.get(pk=stall.fish)
    make_group(fish, "辣度", {"不辣": "0.00", "微辣": "2.00"})
    (row, *_others) = phone.ok("GET", f"/user/dish/list?categoryId={fish.category_id}")
    assert (row["id"], row["price"], row["status"]) == (stall.fish, 56.0, 1)
    assert [(each["dishId"], each["name"], each["value"]) for each in row["flavors"]] == [
        (stall.fish, "辣度", '["不辣","微辣"]')
    ]
    # A choice that costs something is in the unit price, so that the client adds it up right.
    phone.add(stall.fish, "微辣")
    assert [(each["dishFlavor"], each["amount"]) for each in phone.cart()] == [("微辣", 58.0)]
    assert phone.ok("POST", "/user/order/submit", phone.checkout(phone.address()))["orderAmount"] == 65.0


def test_rows_of_the_menu_have_their_fields(phone: SkyClient, stall: Stall) -> None:
    shop = Shop.objects.get()
    fish, rice = Item.objects.get(pk=stall.fish), Item.objects.get(pk=stall.rice)
    meal = make_set_meal(shop, [(fish, 1), (rice, 2)], price="68.00")
    (dishes, meals) = (phone.ok("GET", f"/user/category/list?type={number}")[0] for number in (1, 2))
    made = ["createTime", "updateTime", "createUser", "updateUser"]
    assert list(dishes) == ["id", "type", "name", "sort", "status", *made]
    dish = phone.ok("GET", f"/user/dish/list?categoryId={dishes['id']}")[0]
    assert list(dish) == [
        *(
            "id",
            "name",
            "categoryId",
            "price",
            "image",
            "description",
            "status",
            "updateTime",
            "categoryName",
            "flavors",
        )
    ]
    (row,) = phone.ok("GET", f"/user/setmeal/list?categoryId={meals['id']}")
    assert list(row) == ["id", "categoryId", "name", "price", "status", "description", "image", *made]
    assert (row["id"], row["price"]) == (meal.pk, 68.0)
    parts = phone.ok("GET", f"/user/setmeal/dish/{meal.pk}")
    assert parts == [
        {"name": "酸菜鱼", "copies": 1, "image": "", "description": ""},
        {"name": "米饭", "copies": 2, "image": "", "description": ""},
    ]
    phone.ok("POST", "/user/shoppingCart/add", {"setmealId": meal.pk, "dishId": None, "dishFlavor": None})
    assert [(each["dishId"], each["setmealId"]) for each in phone.cart()] == [(None, meal.pk)]


def test_choices_go_by_their_names(phone: SkyClient, stall: Stall) -> None:
    fish = Item.objects.get(pk=stall.fish)
    make_group(fish, "忌口", {"不要葱": "0.00", "不要辣": "0.00"})
    make_group(fish, "辣度", {"不辣": "0.00", "不要辣": "0.00"})
    assert phone.refused("POST", "/user/shoppingCart/add", {"dishId": stall.fish, "dishFlavor": "特辣"}) == (
        "“酸菜鱼”没有所选的规格。"
    )
    phone.add(stall.fish, "不要辣,不要辣")
    phone.add(stall.fish, "不要葱,不辣")
    phone.add(stall.fish, "不辣,不要葱")
    rows = [(row["dishFlavor"], row["number"]) for row in phone.cart()]
    assert rows == [("不要辣,不要辣", 1), ("不要葱,不辣", 2)]
    for _time in range(3):
        phone.ok("POST", "/user/shoppingCart/sub", {"dishId": stall.fish, "dishFlavor": "不要葱,不辣"})
    assert [(row["dishFlavor"], row["number"]) for row in phone.cart()] == [("不要辣,不要辣", 1)]


def test_a_row_of_the_cart(phone: SkyClient, stall: Stall) -> None:
    assert phone.ok("GET", "/user/shoppingCart/list") == []
    phone.add(stall.fish)
    (row,) = phone.cart()
    assert list(row) == CART_FIELDS
    assert CLOCK.fullmatch(row.pop("createTime"))
    assert (row["dishId"], row["setmealId"], row["dishFlavor"], row["number"], row["amount"]) == (
        stall.fish,
        None,
        None,
        1,
        56.0,
    )
    Item.objects.filter(pk=stall.fish).update(on_sale=False)
    assert [(each["name"], each["amount"]) for each in phone.cart()] == [("酸菜鱼", 56.0)]


def test_one_of_the_two_is_needed(phone: SkyClient, stall: Stall) -> None:
    for body in ({}, {"dishId": stall.fish, "setmealId": stall.fish}, {"setmealId": stall.fish}, {"dishId": 10**9}):
        assert phone.refused("POST", "/user/shoppingCart/add", body)
    assert phone.cart() == []


def test_lists_of_nothing_are_empty(phone: SkyClient, stall: Stall) -> None:
    category_id = Item.objects.get(pk=stall.fish).category_id
    assert phone.ok("GET", f"/user/setmeal/list?categoryId={category_id}") == []
    assert phone.ok("GET", "/user/dish/list?categoryId=999999") == []
    assert phone.ok("GET", "/user/category/list?type=2") == []
    (shown,) = phone.ok("GET", "/user/category/list?type=1")
    assert (shown["type"], shown["status"], shown["createTime"], shown["createUser"]) == (1, 1, None, None)
    assert phone.refused("GET", "/user/setmeal/dish/999999") == "没有这个商品"


def test_the_shop_is_the_oldest_or_the_settings(phone: SkyClient, stall: Stall, settings: Settings) -> None:
    other = make_shop("隔壁")
    make_dish(other, "面", "12.00")
    assert phone.ok("GET", "/user/shop/getMerchantInfo")["shopId"] == stall.shop_id
    settings.WAIMAI_SKY_SHOP = other.pk
    found = phone.ok("GET", "/user/shop/getMerchantInfo")
    assert (found["id"], found["name"], found["deliveryFee"]) == (other.pk, "隔壁", 6.0)


def test_the_second_variants_calls(phone: SkyClient, stall: Stall) -> None:
    with time_machine.travel(datetime(2026, 11, 30, 10, 0, 30, tzinfo=UTC), tick=False):
        at = (
            SkyClient(phone.url)
            .login("again-tao")
            .ok("GET", "/user/order/getEstimatedDeliveryTime?shopId=&customerAddress=%E5%8C%97%E4%BA%AC")
        )
    assert at == "2026-11-30 18:30"
    phone.add(stall.fish)
    body = phone.checkout(phone.address(), shopId=stall.shop_id, deliveryFee=0)
    assert phone.ok("POST", "/user/order/submit", body)["orderAmount"] == 63.0


# --- what isn't there, and who calls too often ---


def test_what_is_not_there_is_an_envelope_too(phone: SkyClient, stall: Stall) -> None:
    missing, method = phone.send("GET", "/user/coupon/list"), phone.send("PATCH", "/user/addressBook/list")
    assert [(each.status_code, each.json()["code"]) for each in (missing, method)] == [(404, 0), (405, 0)]


def test_too_much_is_told_in_the_envelope(phone: SkyClient, stall: Stall, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"entry": Rate(0.001, 1)}
    answers = [phone.send("GET", "/user/shop/status") for _time in range(2)]
    assert [each.status_code for each in answers] == [200, 429]
    assert (answers[1].json()["code"], answers[1].json()["msg"]) == (0, "请求过于频繁，请稍后再试")
    assert answers[1].headers["Retry-After"]


def test_so_is_what_is_refused_before_it_is_read(phone: SkyClient, stall: Stall) -> None:
    answer = phone.send("POST", "/user/addressBook", raw=b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"], answer.json()["msg"]) == (413, 0, "请求内容太大")


def test_a_database_that_is_down_is_told_by_the_status_as_well(phone: SkyClient, stall: Stall) -> None:
    with factories.down("default"):
        answer = Client(headers={"authentication": phone.token}).get("/user/addressBook/list")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert json.loads(answer.content) == {"code": 0, "msg": "服务暂时不可用，请稍后再试", "data": None}


def test_no_page_may_show_an_answer(phone: SkyClient, stall: Stall) -> None:
    answer = phone.send("GET", "/user/shop/status")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert phone.send("POST", "/user/user/login", {"code": "tao"}).headers["Cache-Control"] == "no-store"
