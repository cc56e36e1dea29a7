"""What the published server is known to do wrong, one test for each: the same request here, and it isn't so."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

import menu.services
import payments.services
from accounts.models import Address, User
from menu.models import Item, Shop
from orders import cart as cart_rules
from orders import services
from orders.desk import board
from orders.desk import services as desk
from orders.models import Order
from payments.models import SandboxNotice
from tests import factories
from tests.accounts.threads import at_once
from tests.factories import Person, Stall, audit, capture, orders_of, refunds_of
from tests.sky.client import ADDRESS, SkyClient
from tests.support.server import Server
from waimai.infra.errors import DomainError, ServiceUnavailable
from waimai.infra.sharding import databases

pytestmark = pytest.mark.data
# East of Beijing's fourth ring, and a square around it.
INSIDE, OUTSIDE = {"latitude": 39.915, "longitude": 116.455}, {"latitude": 31.23, "longitude": 121.47}
AREA = {
    "type": "Polygon",
    "coordinates": [[[116.4, 39.88], [116.5, 39.88], [116.5, 39.96], [116.4, 39.96], [116.4, 39.88]]],
}


@pytest.fixture
def owner(phone: SkyClient) -> Person:
    """Whose telephone it is."""
    return Person(User.objects.get(openid="o-mei"))


@pytest.fixture
def other(phone: SkyClient, wechat_answers: Server) -> SkyClient:
    """Somebody else's telephone."""
    return SkyClient(wechat_answers.url).login("again-tao")


def paid(phone: SkyClient, stall: Stall) -> int:
    order_id = phone.order(stall.fish)
    capture(factories.start_payment(order_id))
    return order_id


def nothing_ordered(owner: Person) -> bool:
    return orders_of(owner) == []


# --- money ---


@pytest.mark.parametrize("amount", [0.01, 0, 62.99, 63.01, 1e7, "0.01"])
def test_the_price_is_not_the_clients(phone: SkyClient, owner: Person, stall: Stall, amount: Any) -> None:
    phone.add(stall.fish)
    body = phone.checkout(phone.address(), amount=amount, packAmount=0, deliveryFee=0)
    assert phone.refused("POST", "/user/order/submit", body) == "价格有变动，现在的总额是 63.00 元"
    assert nothing_ordered(owner)
    assert len(phone.cart()) == 1


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-63", "x", None, True, [], "1e400"])
def test_what_is_no_amount_is_refused(phone: SkyClient, owner: Person, stall: Stall, amount: Any) -> None:
    phone.add(stall.fish)
    assert phone.refused("POST", "/user/order/submit", phone.checkout(phone.address(), amount=amount))
    assert nothing_ordered(owner)


def test_a_refund_is_seen_in_the_order(phone: SkyClient, stall: Stall) -> None:
    order_id = paid(phone, stall)
    assert phone.detail(order_id)["payStatus"] == 1
    phone.ok("PUT", f"/user/order/cancel/{order_id}", {})
    assert (phone.detail(order_id)["status"], phone.detail(order_id)["payStatus"]) == (6, 2)
    assert [refund[0] for refund in refunds_of(order_id)] == [factories.FISH_TOTAL]


def test_a_payment_after_the_cancellation_goes_back(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    payment = factories.start_payment(order_id)
    phone.ok("PUT", f"/user/order/cancel/{order_id}", {})
    capture(payment)
    assert (phone.detail(order_id)["status"], phone.detail(order_id)["payStatus"]) == (6, 2)
    assert [refund[0] for refund in refunds_of(order_id)] == [factories.FISH_TOTAL]


def test_a_payment_that_is_told_twice_is_one(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    notice = factories.notice(factories.start_payment(order_id))
    for _time in range(3):
        factories.receive(notice)
    assert factories.history(order_id).count("paid") == 1
    assert refunds_of(order_id) == []
    assert audit() == []


def test_two_taps_on_pay_are_one_payment(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    assert phone.pay(order_id)["packageStr"] == phone.pay(order_id)["packageStr"]


def test_a_payment_that_failed_can_be_tried_again(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    first = phone.pay(order_id)["packageStr"]
    factories.receive(factories.notice(int(first.partition("=")[2]), "failure"))
    second = phone.pay(order_id)["packageStr"]
    assert second != first
    capture(int(second.partition("=")[2]))
    assert phone.refused("PUT", "/user/order/payment", {"orderNumber": order_id, "payMethod": 1}) == "该订单已支付"


def test_the_sandbox_pays_by_itself_only_where_told(phone: SkyClient, stall: Stall, settings: Settings) -> None:
    order_id = phone.order(stall.fish)
    phone.pay(order_id)
    number = int(phone.pay(order_id)["packageStr"].partition("=")[2])
    assert not SandboxNotice.objects.by_id(number).exists()
    settings.WAIMAI_SANDBOX_AUTOPAY = True
    phone.pay(order_id)
    factories.settle()
    assert phone.detail(order_id)["status"] in {1, 2}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_nobody_forges_a_notification(phone: SkyClient, stall: Stall, method: str) -> None:
    order_id = phone.order(stall.fish)
    payment = factories.start_payment(order_id)
    body = {
        "id": "x",
        "event_type": "TRANSACTION.SUCCESS",
        "resource": {"ciphertext": "x", "out_trade_no": str(payment)},
    }
    answer = phone.send(method, "/notify/paySuccess", body)
    assert (answer.status_code, answer.json()["code"]) == (401, "FAIL")
    assert set(answer.json()) == {"code", "message"}
    assert phone.detail(order_id)["status"] == 1


def test_a_verified_notification_is_told_so(phone: SkyClient, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(payments.services, "handle_webhook", lambda **told: taken.append(told["provider"]))
    answer = phone.send("POST", "/notify/paySuccess", {"id": "x"})
    assert (answer.status_code, answer.json(), taken) == (200, {"code": "SUCCESS", "message": "SUCCESS"}, ["wechat"])


def test_a_notification_that_finds_the_database_down_comes_again(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**_told: Any) -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(payments.services, "handle_webhook", busy)
    answer = Client().post("/notify/paySuccess", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (503, "FAIL")


# --- the staff's screen ---


def test_what_a_screen_missed_while_it_was_offline_is_there(phone: SkyClient, stall: Stall) -> None:
    order_id = paid(phone, stall)
    phone.ok("GET", f"/user/order/reminder/{order_id}")
    factories.settle()
    kinds = [event.kind for event in board.events_since({stall.shop_id: 0})]
    assert kinds == ["new_order", "reminder"]


# --- owners ---


def test_nobody_sees_or_changes_an_order_of_others(phone: SkyClient, other: SkyClient, stall: Stall) -> None:
    order_id = paid(phone, stall)
    before = Order.objects.by_id(order_id).values().get()
    for method, path, body in (
        ("GET", f"/user/order/orderDetail/{order_id}", None),
        ("PUT", f"/user/order/cancel/{order_id}", {}),
        ("GET", f"/user/order/reminder/{order_id}", None),
        ("POST", f"/user/order/repetition/{order_id}", order_id),
        ("PUT", "/user/order/payment", {"orderNumber": str(order_id), "payMethod": 1}),
    ):
        assert other.refused(method, path, body) == "没有找到", path
    assert Order.objects.by_id(order_id).values().get() == before
    assert other.ok("GET", "/user/order/historyOrders?page=1&pageSize=10&status=") == {"total": 0, "records": []}
    assert other.cart() == []


def test_nobody_sees_changes_or_uses_an_address_of_others(phone: SkyClient, other: SkyClient, stall: Stall) -> None:
    address_id = phone.address()
    before = list(Address.objects.values())
    other.add(stall.fish)
    for method, path, body in (
        ("GET", f"/user/addressBook/{address_id}", None),
        ("PUT", "/user/addressBook", ADDRESS | {"id": address_id, "detail": "别人的家 1 号"}),
        ("PUT", "/user/addressBook/default", {"id": address_id}),
        ("DELETE", f"/user/addressBook/?id={address_id}", {"id": str(address_id)}),
        ("POST", "/user/order/submit", other.checkout(address_id)),
    ):
        assert other.refused(method, path, body) == "没有找到", path
    assert list(Address.objects.values()) == before
    assert len(other.cart()) == 1


# --- states ---


def test_a_change_asks_for_the_state_it_finds(phone: SkyClient, stall: Stall, lan: Person) -> None:
    """Timeout, confirmation and callback don't overwrite each other: each is a compare-and-set."""
    order_id = paid(phone, stall)
    services.accept(order_id=order_id, staff_id=lan.id)
    assert phone.refused("PUT", f"/user/order/cancel/{order_id}", {}).startswith("商家已接单")
    with pytest.raises(DomainError):
        services.accept(order_id=order_id, staff_id=lan.id)
    with pytest.raises(DomainError):
        services.complete(order_id=order_id, staff_id=lan.id)
    assert phone.detail(order_id)["status"] == 3
    services.withdraw(order_id=order_id, staff_id=lan.id, reason="菜品已销售完，暂时无法接单")
    with pytest.raises(DomainError):
        services.withdraw(order_id=order_id, staff_id=lan.id, reason="再来一次")
    found = phone.detail(order_id)
    assert (found["status"], found["payStatus"], found["cancelReason"]) == (6, 2, "菜品已销售完，暂时无法接单")
    assert len(refunds_of(order_id)) == 1


def test_who_cancels_and_who_accepts_at_once_do_not_both_win(phone: SkyClient, stall: Stall, lan: Person) -> None:
    order_id, user_id = paid(phone, stall), User.objects.get(openid="o-mei").pk

    def race(number: int) -> str:
        if number:
            services.accept(order_id=order_id, staff_id=lan.id)
            return "accepted"
        services.cancel(order_id=order_id, user_id=user_id)
        return "cancelled"

    won, lost = at_once(2, race)
    assert (len(won), len(lost)) == (1, 1)
    assert factories.order(order_id).status == won[0]


def test_a_rejection_says_why(phone: SkyClient, stall: Stall, lan: Person) -> None:
    order_id = paid(phone, stall)
    services.reject(order_id=order_id, staff_id=lan.id, reason="订单量较多，暂时无法接单")
    found = phone.detail(order_id)
    assert (found["status"], found["payStatus"], found["rejectionReason"], found["cancelReason"]) == (
        6,
        2,
        "订单量较多，暂时无法接单",
        None,
    )


def test_only_what_the_shop_has_can_be_reminded_of(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    assert phone.refused("GET", f"/user/order/reminder/{order_id}") == "订单当前状态不允许此操作"


# --- what the shop doesn't sell, when and where it doesn't ---


def test_a_shop_that_is_closed_takes_no_order(phone: SkyClient, owner: Person, stall: Stall) -> None:
    phone.add(stall.fish)
    body = phone.checkout(phone.address())
    Shop.objects.update(is_open=False)
    menu.services.menu_changed(stall.shop_id)
    assert phone.ok("GET", "/user/shop/status") == 0
    assert phone.refused("POST", "/user/order/submit", body) == "店铺已打烊"
    assert nothing_ordered(owner)


def test_a_dish_off_sale_is_not_ordered(phone: SkyClient, owner: Person, stall: Stall) -> None:
    phone.add(stall.fish)
    body = phone.checkout(phone.address())
    Item.objects.filter(pk=stall.fish).update(on_sale=False)
    menu.services.menu_changed(stall.shop_id)
    assert "酸菜鱼" in phone.refused("POST", "/user/order/submit", body)
    assert "酸菜鱼" in phone.refused("POST", "/user/shoppingCart/add", {"dishId": stall.fish})
    assert nothing_ordered(owner)


def test_nothing_is_brought_outside_of_the_area(
    phone: SkyClient, owner: Person, stall: Stall, settings: Settings
) -> None:
    settings.WAIMAI_SKY_UNPLACED = False
    Shop.objects.update(delivery_area=AREA)
    menu.services.menu_changed(stall.shop_id)
    phone.add(stall.fish)
    outside, unknown, inside = phone.address(**OUTSIDE), phone.address(), phone.address(**INSIDE)
    assert phone.refused("POST", "/user/order/submit", phone.checkout(outside)) == "超出配送范围"
    assert "没有定位" in phone.refused("POST", "/user/order/submit", phone.checkout(unknown))
    assert nothing_ordered(owner)
    assert phone.ok("POST", "/user/order/submit", phone.checkout(inside))["orderAmount"] == 63.0


def test_an_address_that_nobody_can_place_is_taken_only_where_told(
    phone: SkyClient, owner: Person, stall: Stall, settings: Settings
) -> None:
    settings.WAIMAI_SKY_UNPLACED = True
    Shop.objects.update(delivery_area=AREA)
    menu.services.menu_changed(stall.shop_id)
    phone.add(stall.fish)
    outside, unknown = phone.address(**OUTSIDE), phone.address()
    assert phone.refused("POST", "/user/order/submit", phone.checkout(outside)) == "超出配送范围"
    assert nothing_ordered(owner)
    assert phone.ok("POST", "/user/order/submit", phone.checkout(unknown))["orderAmount"] == 63.0


def test_what_is_sold_out_is_named(phone: SkyClient, owner: Person, stall: Stall) -> None:
    phone.add(stall.fish)
    phone.add(stall.fish)
    body = phone.checkout(phone.address())
    menu.services.set_stock(item_id=stall.fish, available=1)
    assert phone.refused("POST", "/user/order/submit", body) == "已售罄：酸菜鱼"
    assert len(phone.cart()) == 1


def test_a_lost_status_is_a_closed_shop(phone: SkyClient) -> None:
    assert Shop.objects.count() == 0
    assert phone.ok("GET", "/user/shop/status") == 0
    assert phone.refused("GET", "/user/category/list") == "没有这家店"


# --- the cart ---


def test_taps_at_once_all_count(phone: SkyClient, owner: Person, stall: Stall) -> None:
    at_once(5, lambda _number: SkyClient(phone.url, phone.token).add(stall.fish))
    assert [(row["dishId"], row["number"]) for row in phone.cart()] == [(stall.fish, 5)]
    sub = {"dishId": stall.fish, "dishFlavor": None}
    at_once(4, lambda _number: SkyClient(phone.url, phone.token).ok("POST", "/user/shoppingCart/sub", sub))
    assert [row["number"] for row in phone.cart()] == [1]
    for _time in range(2):
        assert phone.ok("POST", "/user/shoppingCart/sub", sub) is None
    assert phone.cart() == []


def test_one_tap_on_order_at_once_with_another_is_one_order(phone: SkyClient, owner: Person, stall: Stall) -> None:
    phone.add(stall.fish)
    body = phone.checkout(phone.address())
    answers, _refusals = at_once(
        4, lambda _number: SkyClient(phone.url, phone.token).send("POST", "/user/order/submit", body).json()
    )
    (made,) = orders_of(owner)
    assert {answer["data"]["id"] for answer in answers if answer["code"] == 1} == {made}
    assert phone.cart() == []
    assert phone.refused("POST", "/user/order/submit", body)


def test_the_same_again_loses_no_cart(phone: SkyClient, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = phone.order(stall.fish)
    phone.add(stall.tofu)
    monkeypatch.setattr(cart_rules, "MOST_LINES", 1)
    assert phone.refused("POST", f"/user/order/repetition/{order_id}", order_id) == "购物车放不下了"
    assert [row["dishId"] for row in phone.cart()] == [stall.tofu]
    monkeypatch.undo()
    phone.ok("POST", f"/user/order/repetition/{order_id}", order_id)
    assert [row["dishId"] for row in phone.cart()] == [stall.tofu, stall.fish]


def test_the_same_again_of_what_is_gone_says_so(phone: SkyClient, stall: Stall) -> None:
    order_id = phone.order(stall.fish)
    Item.objects.filter(pk=stall.fish).update(on_sale=False)
    menu.services.menu_changed(stall.shop_id)
    assert "酸菜鱼" in phone.refused("POST", f"/user/order/repetition/{order_id}", order_id)
    phone.add(stall.tofu)
    assert "酸菜鱼" in phone.refused("POST", f"/user/order/repetition/{order_id}", order_id)
    assert [row["dishId"] for row in phone.cart()] == [stall.tofu]


def test_an_order_of_another_shop_is_not_put_into_a_cart_that_nobody_sees(
    phone: SkyClient, owner: Person, stall: Stall
) -> None:
    other = factories.stall("隔壁")
    made = factories.placed(Person(owner.user, phone.address()), other)
    assert phone.detail(made)["orderDetailList"][0]["dishId"] == other.fish
    assert phone.refused("POST", f"/user/order/repetition/{made}", made) == "有商品已下架"


# --- reading ---


def test_a_page_of_orders_takes_as_many_questions_as_one_order(phone: SkyClient, owner: Person, stall: Stall) -> None:
    address = phone.address()
    headers = {"authentication": phone.token}
    path = "/user/order/historyOrders?page=1&pageSize=20&status="

    def questions() -> int:
        contexts = [CaptureQueriesContext(connections[alias]) for alias in databases()]
        for context in contexts:
            context.__enter__()
        answer = Client(headers=headers).get(path)
        for context in contexts:
            context.__exit__(None, None, None)
        assert answer.json()["code"] == 1
        return sum(len(context) for context in contexts)

    def fewest() -> int:
        # Now and then one of them asks whether buckets have moved.
        return min(questions() for _time in range(3))

    phone.order(stall.fish, address)
    one = fewest()
    for _time in range(4):
        phone.order(stall.fish, address)
    assert fewest() == one


def test_pages_follow_each_other(phone: SkyClient, stall: Stall) -> None:
    address = phone.address()
    made = [phone.order(stall.fish, address) for _time in range(5)]
    pages = [phone.ok("GET", f"/user/order/historyOrders?pageSize=2&page={page}&status=1") for page in (1, 2, 3, 4)]
    assert [page["total"] for page in pages] == [5] * 4
    assert [row["id"] for page in pages for row in page["records"]] == made[::-1]
    for odd in ("page=0", "pageSize=101", "status=7", "page=x"):
        assert phone.refused("GET", f"/user/order/historyOrders?{odd}")


def test_what_was_sold_out_is_not_in_the_history(phone: SkyClient, owner: Person, stall: Stall) -> None:
    made = phone.order(stall.fish, phone.address())
    menu.services.set_stock(item_id=stall.fish, available=0)
    with pytest.raises(menu.services.SoldOut):
        factories.placed(Person(owner.user, phone.address()), stall, key="another")
    page = phone.ok("GET", "/user/order/historyOrders?page=1&pageSize=10&status=")
    assert (page["total"], [row["id"] for row in page["records"]]) == (1, [made])


def test_passwords_are_hashed_with_salt() -> None:
    one, two = (User.objects.create_user(phone=f"1391111000{n}", password="four-treasures-8") for n in (7, 8))
    assert one.password != two.password
    assert "four-treasures-8" not in one.password


def test_what_was_left_out_is_not_shown_as_bought(phone: SkyClient, owner: Person, stall: Stall, lan: Person) -> None:
    phone.add(stall.rice)
    order_id = phone.order(stall.fish)
    capture(factories.start_payment(order_id))
    factories.settle()
    desk.accept(order_id=order_id, staff_id=lan.id)
    (fish,) = [line["id"] for line in phone.detail(order_id)["orderDetailList"] if line["dishId"] == stall.fish]
    services.propose_amendment(
        order_id=order_id, staff_id=lan.id, line=fish, quantity=1, replacement=stall.tofu, reason=""
    )
    services.answer_amendment(order_id=order_id, user_id=owner.id, n=1, accept=True)
    now = phone.detail(order_id)
    assert [(line["dishId"], line["number"]) for line in now["orderDetailList"]] == [(stall.rice, 1), (stall.tofu, 1)]
    assert now["amount"] == float(factories.order(order_id).net_total)
    assert now["tablewareStatus"] == 1
