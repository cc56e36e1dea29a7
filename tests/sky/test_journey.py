"""An evening with the published client, on the wire, beside the clock and the news in their loops."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from menu.models import Shop
from orders import services
from tests.factories import Person, audit, works_at
from tests.sky.client import SkyClient
from tests.support.processes import wait_until
from waimai.infra import loops

pytestmark = [pytest.mark.data, pytest.mark.slow]
CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
# Inside of the demo shop's area.
PLACE = {"latitude": 39.915, "longitude": 116.455}


@pytest.fixture
def demo(phone: SkyClient, settings: Settings) -> Iterator[SkyClient]:
    """The demo shop, whose sandbox pays by itself."""
    settings.WAIMAI_SANDBOX_AUTOPAY = True
    call_command("seed_demo", verbosity=0)
    stop = threading.Event()
    rounds = [*loops.timer_rounds(), *loops.relay_rounds()]
    thread = threading.Thread(target=loops.run_for_ever, args=(rounds, stop), name="events")
    thread.start()
    yield phone
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def manager(demo: SkyClient) -> Person:
    """Somebody who works there."""
    return works_at(Shop.objects.get().pk, "manager", "lan")


def dishes(phone: SkyClient, type_: int, kind: str) -> dict[str, dict[str, Any]]:
    """Everything under the headings of one type, by name."""
    headings = phone.ok("GET", f"/user/category/list?type={type_}")
    return {
        row["name"]: row
        for heading in headings
        for row in phone.ok("GET", f"/user/{kind}/list?categoryId={heading['id']}")
    }


def becomes(phone: SkyClient, order_id: int, status: int, pay_status: int) -> dict[str, Any]:
    def reached() -> bool:
        found = phone.detail(order_id)
        return (found["status"], found["payStatus"]) == (status, pay_status)

    wait_until(reached, seconds=15, what=f"order {order_id} is {status}/{pay_status}")
    return phone.detail(order_id)


def test_from_the_login_to_the_next_order(demo: SkyClient, manager: Person) -> None:
    phone = demo
    assert phone.ok("GET", "/user/shop/status") == 1

    # The menu.
    known = phone.ok("GET", "/user/category/list")
    assert [(row["name"], row["type"], row["sort"]) for row in known][-2:] == [("人气套餐", 2, 12), ("商务套餐", 2, 13)]
    assert len(known) == 10
    menu, meals = dishes(phone, 1, "dish"), dishes(phone, 2, "setmeal")
    fish = menu["老坛酸菜鱼"]
    assert fish["price"] == 56.0
    flavors = {flavor["name"]: json.loads(flavor["value"]) for flavor in fish["flavors"]}
    assert flavors["辣度"] == ["不辣", "微辣", "中辣", "重辣"]
    meal = meals["招牌套餐"]
    parts = phone.ok("GET", f"/user/setmeal/dish/{meal['id']}")
    assert [(part["name"], part["copies"]) for part in parts] == [("老坛酸菜鱼", 1), ("米饭", 2), ("王老吉", 2)]

    # The cart.
    for _twice in range(2):
        phone.add(fish["id"], "不要葱,微辣")
    phone.ok("POST", "/user/shoppingCart/add", {"setmealId": meal["id"]})
    phone.ok("POST", "/user/shoppingCart/sub", {"dishId": fish["id"], "dishFlavor": "不要葱,微辣"})
    rows = [(row["name"], row["dishFlavor"], row["number"], row["amount"]) for row in phone.cart()]
    assert rows == [("老坛酸菜鱼", "不要葱,微辣", 1, 56.0), ("招牌套餐", None, 1, 68.0)]

    # The checkout, as the client adds it up.
    address = phone.address(**PLACE)
    made = phone.ok("POST", "/user/order/submit", phone.checkout(address))
    assert (made["orderAmount"], made["orderNumber"]) == (132.0, str(made["id"]))
    assert CLOCK.fullmatch(made["orderTime"])
    assert phone.cart() == []
    asked = phone.pay(made["id"])
    assert set(asked) == {"nonceStr", "paySign", "timeStamp", "signType", "packageStr"}
    assert (asked["signType"], asked["packageStr"].startswith("prepay_id=")) == ("RSA", True)
    paid = becomes(phone, made["id"], 2, 1)
    assert CLOCK.fullmatch(paid["checkoutTime"])
    said = phone.refused("PUT", "/user/order/payment", {"orderNumber": str(made["id"]), "payMethod": 1})
    assert said == "该订单已支付"

    # The shop has it: reminded, accepted, brought.
    assert phone.ok("GET", f"/user/order/reminder/{made['id']}") is None
    assert phone.refused("GET", f"/user/order/reminder/{made['id']}")
    services.accept(order_id=made["id"], staff_id=manager.id)
    assert "致电" in phone.refused("PUT", f"/user/order/cancel/{made['id']}", {})
    services.deliver(order_id=made["id"], staff_id=manager.id)
    services.complete(order_id=made["id"], staff_id=manager.id)
    done = phone.detail(made["id"])
    assert (done["status"], done["payStatus"], done["orderDishes"]) == (5, 1, "老坛酸菜鱼*1;招牌套餐*1;")
    assert CLOCK.fullmatch(done["deliveryTime"])

    # The same again, and no: the money comes back.
    phone.ok("POST", f"/user/order/repetition/{made['id']}", made["id"])
    assert [row["name"] for row in phone.cart()] == ["老坛酸菜鱼", "招牌套餐"]
    again = phone.ok("POST", "/user/order/submit", phone.checkout(address))
    phone.pay(again["id"])
    becomes(phone, again["id"], 2, 1)
    phone.ok("PUT", f"/user/order/cancel/{again['id']}", {})
    gone = becomes(phone, again["id"], 6, 2)
    assert CLOCK.fullmatch(gone["cancelTime"])

    pages = phone.ok("GET", "/user/order/historyOrders?pageSize=10&page=1&status=")
    assert (pages["total"], [row["id"] for row in pages["records"]]) == (2, [again["id"], made["id"]])
    back = phone.ok("GET", "/user/order/queryOrdersCheckStatus?pageSize=10&page=1&payStatus=2")
    assert [row["id"] for row in back["records"]] == [again["id"]]
    wait_until(lambda: not audit(), seconds=10, what="the audit is clean")
