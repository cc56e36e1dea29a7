"""An order on one page of the admin, the ways from it and to it, and finding it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

import accounts.services
from accounts.models import User
from orders import services
from orders.desk.models import DeskOrder
from orders.models import Order
from tests import factories
from tests.factories import Person, Stall, accepted, down, order, paid, placed, relay, settle, start_payment, works_at
from tests.support.browsing import Browser, Page
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data
DESK = "/admin/desk/deskorder/"


@pytest.fixture
def boss(db_all: object) -> Person:
    """A superuser."""
    return Person(User.objects.create_superuser("boss"))


def page_of(order_id: int) -> str:
    return f"{DESK}{order_id}/change/"


def buttons(page: Page) -> list[str]:
    """What the page has buttons for."""
    return [form.values["action"][0] for form in page.forms if form.values.get("stay")]


def press(who: Person, order_id: int, action: str, **fields: str) -> Page:
    """Press a button of the order's page, and see what follows."""
    browser = Browser(who.user)
    page = browser.open(page_of(order_id))
    form = next(form for form in page.forms if form.values.get("action") == [action])
    return browser._page(browser.client.post(form.action, form.values | fields, follow=True), form.action)


# --- looking ---


def test_everything_about_an_order_stands_on_its_page(boss: Person, mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall, note="少放辣")
    services.cancel(order_id=order_id, user_id=mei.id, reason="点错了")
    settle()
    for path in (f"/admin/orders/order/{order_id}/change/", page_of(order_id)):
        text = Browser(boss.user).open(path).text
        for part in ("酸菜鱼 × 1", "¥56.00", "¥63.00", "少放辣", "待付款", "点错了", "已退款", "−¥63.00", "已补偿"):
            assert part in text, (path, part)


def test_ways_lead_from_the_order_and_back(boss: Person, mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    relay()
    payment_id = order_payment(order_id)
    pages = {
        "order": f"/admin/orders/order/{order_id}/change/",
        "desk": page_of(order_id),
        "customer": f"/admin/accounts/user/{mei.id}/change/",
        "saga": f"/admin/orders/saga/{order_id}/change/",
        "payment": f"/admin/payments/payment/{payment_id}/change/",
    }
    browser = Browser(boss.user)
    html = {name: browser.open(path).html for name, path in pages.items()}
    for name in ("order", "desk"):
        for other in pages.keys() - {name}:
            assert f'href="{pages[other]}"' in html[name], (name, other)
    for name in ("saga", "payment"):
        assert f'href="{pages["order"]}"' in html[name], name
    assert f'href="{pages["customer"]}"' in html["payment"]
    assert f"/admin/orders/order/?user_id={mei.id}" in html["customer"]


def order_payment(order_id: int) -> int:
    from payments.models import Payment

    return int(Payment.objects.of_order(order_id).get().pk)


def test_who_may_not_follow_a_way_is_shown_none(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    page = Browser(lan.user).open(page_of(order_id))
    assert "酸菜鱼 × 1" in page.text
    for place in ("/admin/orders/", "/admin/accounts/", "/admin/payments/"):
        assert f'href="{place}' not in page.html


def test_one_permission_opens_one_way(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    lan.user.user_permissions.add(Permission.objects.get(codename="view_payment"))
    page = Browser(User.objects.get(pk=lan.id)).open(page_of(order_id))
    assert f'href="/admin/payments/payment/{order_payment(order_id)}/change/"' in page.html
    assert 'href="/admin/orders/' not in page.html


def test_with_the_shard_down_the_desks_copy_is_shown(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    browser = Browser(lan.user)
    with down(shard_of_id(order_id)):
        page = browser.open(page_of(order_id))
    assert page.status == 200
    assert "暂时没有回应" in page.text
    assert "酸菜鱼 × 1" in page.text


def test_an_archived_order_keeps_its_page_on_the_desk(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    Order.objects.by_id(order_id).delete()
    page = Browser(lan.user).open(page_of(order_id))
    assert (page.status, "酸菜鱼 × 1" in page.text) == (200, True)


def test_an_unpaid_order_has_a_page_too(boss: Person, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    start_payment(order_id)
    page = Browser(boss.user).open(f"/admin/orders/order/{order_id}/change/")
    assert "待支付" in page.text
    assert DESK + str(order_id) not in page.html


# --- buttons ---


@pytest.mark.parametrize(
    ("role", "now", "then"),
    [
        ("manager", ["accept", "reject", "cancel"], ["deliver", "cancel"]),
        ("kitchen", ["accept"], []),
        ("courier", [], ["deliver"]),
    ],
)
def test_there_are_buttons_for_what_one_may_do_now(
    role: str, now: list[str], then: list[str], mei: Person, stall: Stall, lan: Person
) -> None:
    who = works_at(stall.shop_id, role)
    order_id = paid(mei, stall)
    relay()
    assert buttons(Browser(who.user).open(page_of(order_id))) == now
    services.accept(order_id=order_id, staff_id=lan.id)
    relay()
    assert buttons(Browser(who.user).open(page_of(order_id))) == then


def test_a_button_does_it_and_stays_with_the_order(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    page = press(lan, order_id, "accept")
    assert order(order_id).status == "accepted"
    assert "1 个订单已处理" in page.text
    assert buttons(page) == ["deliver", "cancel"]


def test_refusing_wants_a_reason(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    assert "请说明原因" in press(lan, order_id, "reject", reason=" ").text
    assert order(order_id).status == "paid"
    press(lan, order_id, "reject", reason="厨师请假")
    assert order(order_id).status == "cancelled"


def test_looking_does_nothing(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    client = Client()
    client.force_login(lan.user)
    for path in (DESK, page_of(order_id)):
        client.get(path, {"action": "accept", "_selected_action": str(order_id), "stay": "yes"})
    assert order(order_id).status == "paid"


def test_a_button_wants_the_forms_token(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    client = Client(enforce_csrf_checks=True)
    client.force_login(lan.user)
    sent = client.post(DESK, {"action": "accept", "_selected_action": order_id, "stay": "yes"})
    assert (sent.status_code, order(order_id).status) == (403, "paid")


# --- finding ---


def found(who: Person, path: str) -> set[int]:
    """The orders on the list that answers."""
    client = Client()
    client.force_login(who.user)
    page = client.get(path)
    assert page.status_code == 200
    return {row.pk for row in page.context["cl"].result_list}


def test_an_order_is_found_by_its_number_whichever_database_is_chosen(boss: Person, mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    for alias in ("orders_0", "orders_1"):
        assert found(boss, f"/admin/orders/order/?database={alias}&q={order_id}") == {order_id}


def test_a_customers_orders_are_found_by_the_phone(boss: Person, mei: Person, tao: Person, stall: Stall) -> None:
    mine = {paid(mei, stall, key="k-1"), placed(mei, stall, key="k-2")}
    placed(tao, stall)
    assert found(boss, f"/admin/orders/order/?q={mei.user.phone}") == mine
    assert found(boss, f"/admin/orders/order/?user_id={mei.id}") == mine
    assert found(boss, "/admin/orders/order/?q=13800009999") == set()
    assert accounts.services.id_of_phone("nobody") is None


def test_the_desk_is_searched_by_what_people_call_out(mei: Person, tao: Person, stall: Stall, lan: Person) -> None:
    order_id, other = paid(mei, stall), accepted(tao, stall, lan)
    paid(mei, factories.stall("粤味小馆"), key="there")
    relay()
    DeskOrder.objects.filter(pk=order_id).update(number=37)
    DeskOrder.objects.filter(pk=other).update(number=36, phone="13911110002")
    for wanted in ("37", " 37 ", str(order_id), "13911110001"):
        assert found(lan, f"{DESK}?q={wanted}") == {order_id}, wanted
    for nothing in ("38", "1", "鱼", "13800009999"):
        assert found(lan, f"{DESK}?q={nothing}") == set(), nothing
    DeskOrder.objects.filter(pk=order_id).update(business_date="2026-01-01")
    assert found(lan, f"{DESK}?q=37") == set()
    assert found(lan, f"{DESK}?q={order_id}") == {order_id}


def test_unfolds_own_search_is_not_there(boss: Person) -> None:
    client = Client()
    client.force_login(boss.user)
    assert client.get("/admin/search/", {"s": "x", "extended": "1"}).status_code == 404
