"""Django's admin over everything: each list and each row opens, and staff work on the desk there too."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

import accounts.services
import menu.services
from accounts.models import User
from menu.models import Item, Option, OptionGroup, Shop
from menu.services import LineRequest
from orders import services
from orders.desk.models import DeskOrder
from orders.models import Order, Saga
from payments.providers import sandbox
from tests import factories
from tests.factories import (
    Person,
    Stall,
    accepted,
    completed,
    delivering,
    history,
    order,
    paid,
    placed,
    refunds_of,
    relay,
    saga_of,
    settle,
    start_payment,
    stock,
    works_at,
)
from tests.menu.factories import make_group, make_set_meal
from waimai.infra.admin import ShardedAdmin
from waimai.infra.models import Breaker, OutboxMessage
from waimai.infra.sharding import databases

pytestmark = pytest.mark.data
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
DESK = "/admin/desk/deskorder/"


def client_of(who: Person) -> Client:
    client = Client()
    client.force_login(who.user)
    return client


@pytest.fixture
def boss(db_all: object) -> Client:
    """A superuser in the admin."""
    return client_of(Person(User.objects.create_superuser("boss")))


@pytest.fixture
def evening(mei: Person, tao: Person, stall: Stall, lan: Person) -> dict[str, int]:
    """Rows in every table."""
    Breaker.objects.create(name="sms")
    shop = Shop.objects.get(pk=stall.shop_id)
    make_group(Item.objects.get(pk=stall.fish), "辣度", {"微辣": "0", "加辣": "2"})
    make_set_meal(shop, [(Item.objects.get(pk=stall.fish), 1)])
    menu.services.set_stock(item_id=stall.fish, available=9)
    accounts.services.rotate(accounts.services.issue_tokens(mei.user).refresh)
    made = {"paid": paid(mei, stall, key="k-1"), "rejected": paid(tao, stall)}
    services.reject(order_id=made["rejected"], staff_id=lan.id, reason="太忙了")
    settle()
    return made


def first_row(model: type[Any]) -> Any:
    """Any row of a model, on whichever database."""
    for alias in databases():
        if model._meta.db_table in tables(alias) and (row := model._default_manager.using(alias).first()):
            return row
    return None


def tables(alias: str) -> list[str]:
    from django.db import connections

    return connections[alias].introspection.table_names()


def test_what_staff_need_is_there() -> None:
    names = {model._meta.label for model in REGISTERED}
    assert {
        "accounts.User",
        "accounts.Address",
        "accounts.Membership",
        "menu.Shop",
        "menu.Category",
        "menu.Item",
        "menu.OptionGroup",
        "payments.Payment",
        "payments.Refund",
        "orders.Order",
        "orders.Saga",
        "desk.DeskOrder",
        "infra.OutboxMessage",
    } <= names


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_list_opens(model: type[Any], boss: Client, evening: dict[str, int]) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    assert boss.get(url).status_code == 200
    if isinstance(admin.site._registry[model], ShardedAdmin):
        for alias in ("orders_0", "orders_1"):
            assert boss.get(url, {"database": alias}).status_code == 200


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_list_can_be_searched(model: type[Any], boss: Client, evening: dict[str, int]) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    if admin.site._registry[model].search_fields:
        for text in ("13911110001", "1", "鱼", "'"):
            assert boss.get(url, {"q": text}).status_code == 200


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_row_opens(model: type[Any], boss: Client, evening: dict[str, int]) -> None:
    row = first_row(model)
    if row is None:
        # Written only when something went wrong with money.
        assert model._meta.label == "payments.PaymentAlert"
        return
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk])
    assert boss.get(url).status_code == 200


BUTTONS = [(model, button) for model in REGISTERED for button in admin.site._registry[model].actions or ()]


@pytest.mark.parametrize(("model", "button"), BUTTONS, ids=lambda value: getattr(value, "__name__", value))
def test_every_button_is_written_down(model: type[Any], button: str, evening: dict[str, int], boss: Client) -> None:
    row = first_row(model)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    fields = {"action": button, "_selected_action": [row.pk], "reason": "试", "confirmed": "yes"}
    boss.post(f"{url}?database={row._state.db}" if row._state.db != "default" else url, fields)
    (line,) = LogEntry.objects.filter(user__username="boss")
    assert (line.object_id, line.is_change()) == (str(row.pk), True)
    assert ": " in line.change_message


def test_the_front_page_lists_every_app(boss: Client) -> None:
    page = boss.get("/admin/").content.decode()
    assert all(f"/admin/{label}/" in page for label in ("accounts", "menu", "orders", "payments", "desk", "infra"))


def test_nobody_enters_without_a_login() -> None:
    answer = Client().get(DESK)
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/")


def test_customers_do_not_enter(mei: Person) -> None:
    assert client_of(mei).get("/admin/").status_code == 302


# --- orders and sagas ---


def test_an_order_shows_its_lines_and_its_timeline(boss: Client, evening: dict[str, int]) -> None:
    page = boss.get(f"/admin/orders/order/{evening['rejected']}/change/").content.decode()
    assert "酸菜鱼 × 1" in page
    assert "¥56.00" in page
    assert "太忙了" in page


def test_an_order_is_found_on_any_shard(boss: Client, stall: Stall, mei: Person) -> None:
    neighbour = factories.neighbour_of(mei, same_shard=False)
    for order_id in (placed(mei, stall), placed(neighbour, stall)):
        assert boss.get(f"/admin/orders/order/{order_id}/change/").status_code == 200


def test_an_order_is_changed_by_nobody_here(boss: Client, evening: dict[str, int]) -> None:
    path = f"/admin/orders/order/{evening['paid']}/"
    assert boss.post(path + "change/", {"status": "completed"}).status_code == 403
    assert boss.post(path + "delete/", {"post": "yes"}).status_code == 403
    assert order(evening["paid"]).status == "paid"


def test_only_the_boss_runs_sagas_again(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    Saga.objects.by_id(order_id).update(state="stuck")
    answer = client_of(lan).post("/admin/orders/saga/", {"action": "retry", "_selected_action": [order_id]})
    assert (answer.status_code, saga_of(order_id).state) == (403, "stuck")


def test_parked_news_is_run_again(boss: Client, mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    messages = OutboxMessage.objects.on(mei.shard).filter(topic="order.paid", key=order_id)
    messages.update(state=OutboxMessage.State.PARKED, attempts=8)
    url = f"/admin/infra/outboxmessage/?database={mei.shard}"
    boss.post(url, {"action": "run_again", "_selected_action": [str(messages.get().id)]})
    relay()
    assert DeskOrder.objects.get(order_id=order_id).status == "paid"


# --- the desk ---


def act(who: Person, action: str, *order_ids: int, reason: str = "") -> str:
    """Do something to the chosen orders; returns the page that follows."""
    relay()
    fields = {"action": action, "_selected_action": list(order_ids), "reason": reason}
    answer = client_of(who).post(DESK, fields, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_staff_see_their_shops_orders_only(mei: Person, stall: Stall, lan: Person) -> None:
    here, there = paid(mei, stall, key="k-1"), paid(mei, factories.stall("粤味小馆"), key="k-2")
    relay()
    page = client_of(lan).get(DESK).content.decode()
    assert str(here) in page
    assert str(there) not in page
    assert client_of(lan).get(f"{DESK}{there}/change/").status_code in (403, 404)


def test_the_row_shows_what_to_cook(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall, (stall.fish, 2), (stall.rice, 3))
    relay()
    page = client_of(lan).get(f"{DESK}{order_id}/change/").content.decode()
    assert "酸菜鱼 × 2" in page
    assert "米饭 × 3" in page


def test_several_orders_are_accepted_at_once(mei: Person, tao: Person, stall: Stall, lan: Person) -> None:
    made = [paid(mei, stall), paid(tao, stall)]
    assert "2 个订单已处理" in act(lan, "accept", *made)
    assert [order(order_id).status for order_id in made] == ["accepted", "accepted"]


def test_an_order_is_delivered_and_completed(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    act(lan, "deliver", order_id)
    act(lan, "complete", order_id)
    assert history(order_id)[-2:] == ["delivering", "completed"]


def test_an_order_is_rejected_with_a_reason(mei: Person, stall: Stall, lan: Person) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    order_id = paid(mei, stall)
    act(lan, "reject", order_id, reason="厨师请假")
    settle()
    assert (order(order_id).status, order(order_id).payment_status) == ("cancelled", "refunded")
    assert len(refunds_of(order_id)) == 1
    assert stock(stall.fish) == (5, 0, 0)


@pytest.mark.parametrize("action", ["reject", "cancel"])
def test_without_a_reason_nothing_is_refused(action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    page = act(lan, action, order_id, reason="  ")
    assert f"{order_id}: 请说明原因" in page
    assert order(order_id).status == "paid"


def test_an_order_is_cancelled_with_a_reason(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = delivering(mei, stall, lan)
    act(lan, "cancel", order_id, reason="打翻了")
    assert history(order_id)[-1] == "cancelled"


def test_one_that_refuses_holds_up_nobody(mei: Person, stall: Stall, lan: Person) -> None:
    there, waiting = completed(mei, stall, lan, key="k-1"), paid(mei, stall, key="k-2")
    page = act(lan, "accept", there, waiting)
    assert f"{there}: 订单当前状态不允许此操作" in page
    assert "1 个订单已处理" in page
    assert (order(there).status, order(waiting).status) == ("completed", "accepted")


def test_a_role_is_offered_what_it_may_do(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    courier = works_at(stall.shop_id, "courier")
    page = client_of(courier).get(DESK).content.decode()
    offered = [name for name in ("accept", "reject", "deliver", "complete", "cancel") if f'value="{name}"' in page]
    assert offered == ["deliver", "complete"]
    act(courier, "accept", order_id)
    assert order(order_id).status == "paid"


def test_a_role_of_another_shop_does_not_count_in_this_one(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    courier = works_at(stall.shop_id, "courier")
    accounts.services.add_member(user_id=courier.id, shop_id=factories.stall("粤味小馆").shop_id, role="manager")
    assert f"{order_id}: 没有权限" in act(courier, "accept", order_id)
    assert order(order_id).status == "paid"


def test_the_kitchen_reads_how_a_dish_is_wanted(mei: Person, stall: Stall) -> None:
    group = OptionGroup.objects.create(item_id=stall.fish, name="辣度", min=1, max=1)
    mild = Option.objects.create(group=group, name="不辣")
    menu.services.menu_changed(stall.shop_id)
    order_id = paid(mei, stall, lines=(LineRequest(stall.fish, 1, (mild.pk,)),))
    factories.relay()
    page = client_of(works_at(stall.shop_id, "kitchen")).get(f"{DESK}{order_id}/change/").content.decode()
    assert "酸菜鱼 × 1（不辣）" in page


def test_there_is_no_looking_at_all_databases_at_once(boss: Client) -> None:
    page = boss.get("/admin/orders/order/")
    choices = list(page.context["cl"].filter_specs[0].choices(page.context["cl"]))
    assert [(each["display"], each["selected"]) for each in choices] == [("orders_0", True), ("orders_1", False)]


def test_someone_elses_orders_cannot_be_chosen(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    act(works_at(factories.stall("粤味小馆").shop_id, "manager", "wu"), "accept", order_id)
    assert order(order_id).status == "paid"


def test_staff_who_work_nowhere_see_no_desk(stall: Stall) -> None:
    nobody = Person(User.objects.create_user("nobody", is_staff=True))
    assert client_of(nobody).get(DESK).status_code == 403
    assert DESK not in client_of(nobody).get("/admin/").content.decode()


def test_rows_of_the_desk_are_not_edited(mei: Person, stall: Stall, boss: Client) -> None:
    order_id = paid(mei, stall)
    relay()
    assert boss.post(f"{DESK}{order_id}/change/", {"status": "completed"}).status_code == 403
    assert boss.post(f"{DESK}{order_id}/delete/", {"post": "yes"}).status_code == 403
    assert boss.get(DESK + "add/").status_code == 403
    assert DeskOrder.objects.get(order_id=order_id).status == "paid"
    assert not LogEntry.objects.exists()


# --- money ---


def test_a_refund_that_waits_is_sent_at_once(boss: Client, mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    sandbox.fail_next("refund", near=order_id)
    services.cancel(order_id=order_id, user_id=mei.id)
    settle()
    assert [status for _, _, status in refunds_of(order_id)] == ["pending"]
    page = boss.get(f"/admin/payments/refund/?database={mei.shard}")
    assert str(order_id) in page.content.decode()


def test_payments_are_only_looked_at(boss: Client, mei: Person, stall: Stall) -> None:
    payment_id = start_payment(placed(mei, stall))
    assert boss.post(f"/admin/payments/payment/{payment_id}/change/", {"status": "captured"}).status_code == 403


def test_every_registered_model_is_one_of_ours_or_djangos() -> None:
    assert all(apps.is_installed(model._meta.app_config.name) for model in REGISTERED)
    assert Order in REGISTERED
