"""Stuck sagas in the admin: what is shown, and the buttons, each written down."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone, translation

import menu.services
from accounts.models import User
from orders import saga
from orders.models import OrderChange, Saga
from tests import factories
from tests.factories import Person, Stall, changes_of, order, refunds_of, saga_of, settle, stock
from tests.support import chromium
from tests.support.browsing import Browser, Page
from tests.support.server import Server
from waimai.infra.sharding import shard_of_id

pytestmark = pytest.mark.data
SAGAS = "/admin/orders/saga/"
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
WHY = "ValueError('no kitchen')"


@pytest.fixture
def boss(db_all: object) -> Person:
    """A superuser."""
    return Person(User.objects.create_superuser("boss"))


@pytest.fixture
def stuck(mei: Person, stall: Stall) -> int:
    """A paid order whose portions couldn't be marked sold, ten times."""
    menu.services.set_stock(item_id=stall.fish, available=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(menu.services, "confirm_stock", _fail)
        order_id = factories.paid(mei, stall)
        for _ in range(10):
            factories.saga_due(order_id)
            saga.recover(mei.shard)
    assert saga_of(order_id).state == "stuck"
    return order_id


def _fail(**_kwargs: Any) -> None:
    raise ValueError("no kitchen")


def press(who: Person, button: str, order_id: int, **fields: str) -> Page:
    """Press a button on the saga's row in the list."""
    client = Client()
    client.force_login(who.user)
    url = f"{SAGAS}?database={shard_of_id(order_id)}"
    return Page(client.post(url, {"action": button, "_selected_action": [order_id]} | fields, follow=True), url)


def buttons_of(page: Page) -> list[str]:
    """What the saga's page has buttons for."""
    return [form.values["action"][0] for form in page.forms if "_selected_action" in form.values]


def written(order_id: int) -> list[tuple[str | None, str]]:
    """Who pressed what on it, and how it went, oldest first."""
    rows = LogEntry.objects.filter(object_id=str(order_id)).order_by("pk")
    return list(rows.values_list("user__username", "change_message"))


# --- looking ---


def test_the_list_shows_where_it_stands_and_since_when(boss: Person, stuck: int) -> None:
    began = OrderChange.objects.of_order(stuck).order_by("-n").values_list("at", flat=True)[0]
    page = Browser(boss.user).open(f"{SAGAS}?database={shard_of_id(stuck)}&state__exact=stuck")
    with translation.override("zh-hans"):
        since = f"{timezone.localtime(began):%-H:%M}"
    for text in (str(stuck), "卡住", "确认库存", "10", WHY, since):
        assert text in page.text


def test_its_page_shows_the_same_and_leads_to_the_order(boss: Person, stuck: int) -> None:
    browser = Browser(boss.user)
    page = browser.open(f"{SAGAS}{stuck}/change/")
    for text in ("卡住", "确认库存", "10", WHY):
        assert text in page.text
    assert buttons_of(page) == ["retry", "compensate"]
    order_url = f"/admin/orders/order/{stuck}/change/"
    assert f'href="{order_url}"' in page.html
    assert "酸菜鱼 × 1" in browser.open(order_url).text


def test_a_saga_that_is_well_has_no_buttons(boss: Person, mei: Person, stall: Stall) -> None:
    page = Browser(boss.user).open(f"{SAGAS}{factories.paid(mei, stall)}/change/")
    assert (page.status, buttons_of(page)) == (200, [])


# --- retry ---


def test_a_stuck_saga_is_run_again(boss: Person, mei: Person, stuck: int, stall: Stall) -> None:
    assert "1 个流程将重新执行" in press(boss, "retry", stuck).text
    assert saga_of(stuck).state == "running"
    saga.recover(mei.shard)
    assert (saga_of(stuck).state, stock(stall.fish)) == ("done", (8, 0, 1))
    assert written(stuck) == [("boss", "重试: 完成")]


def test_a_saga_that_is_well_is_left_alone(boss: Person, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    before = saga_of(order_id).version
    assert "0 个流程将重新执行" in press(boss, "retry", order_id).text
    assert saga_of(order_id).version == before
    assert written(order_id) == [("boss", "重试: 无需处理")]


# --- undo ---


def test_an_order_is_undone_once_the_person_has_said_why(boss: Person, mei: Person, stuck: int, stall: Stall) -> None:
    browser = Browser(boss.user)
    page = browser.open(f"{SAGAS}{stuck}/change/")
    form = next(form for form in page.forms if form.values.get("action") == ["compensate"])
    asked = browser._page(browser.client.post(form.action, form.values), form.action)
    assert "这些订单将被取消" in asked.text
    assert f"{stuck} 川味小馆 · 待接单 · 已支付 · ¥63.00" in asked.text
    assert (order(stuck).status, written(stuck)) == ("paid", [])

    form = next(form for form in asked.forms if "confirmed" in form.values)
    done = browser._page(
        browser.client.post(form.action, form.values | {"reason": "厨房坏了"}, follow=True), form.action
    )
    assert "1 个订单已撤销" in done.text
    saga.recover(mei.shard)
    settle()
    assert changes_of(stuck)[-1] == ("withdraw", "staff", "厨房坏了")
    assert OrderChange.objects.of_order(stuck).latest("n").actor_id == boss.id
    assert [(purpose, status) for _, purpose, status in refunds_of(stuck)] == [("cancel", "succeeded")]
    assert (saga_of(stuck).state, stock(stall.fish)) == ("compensated", (9, 0, 0))
    assert written(stuck) == [("boss", "撤销订单: 完成")]
    assert factories.audit() == []


def test_without_a_reason_nothing_is_undone(boss: Person, stuck: int) -> None:
    assert "请说明原因" in press(boss, "compensate", stuck, confirmed="yes", reason="  ").text
    assert (order(stuck).status, written(stuck)) == ("paid", [])


def test_a_refusal_is_shown_and_written_down(boss: Person, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = factories.completed(mei, stall, lan)
    Saga.objects.by_id(order_id).update(state="stuck")
    page = press(boss, "compensate", order_id, confirmed="yes", reason="厨房坏了")
    assert f"{order_id}: 订单当前状态不允许此操作" in page.text
    assert order(order_id).status == "completed"
    assert written(order_id) == [("boss", "撤销订单: 订单当前状态不允许此操作")]


def test_a_fault_is_written_down_too(boss: Person, stuck: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orders.services.retry_saga", lambda order_id: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        press(boss, "retry", stuck)
    assert written(stuck) == [("boss", "重试: ZeroDivisionError('division by zero')")]


def test_undone_when_none_is_stuck_it_says_so(boss: Person, mei: Person, stall: Stall) -> None:
    order_id = factories.paid(mei, stall)
    assert "所选的流程都没有卡住" in press(boss, "compensate", order_id).text
    press(boss, "compensate", order_id, confirmed="yes", reason="厨房坏了")
    assert (order(order_id).status, written(order_id)) == ("paid", [("boss", "撤销订单: 无需处理")])


# --- who may, and how ---


def test_looking_changes_nothing(boss: Person, stuck: int) -> None:
    client = Client()
    client.force_login(boss.user)
    before = saga_of(stuck).version
    for url in (SAGAS, f"{SAGAS}{stuck}/change/", f"{SAGAS}{stuck}/history/"):
        chosen: dict[str, Any] = {"action": "compensate", "_selected_action": stuck, "confirmed": "yes", "reason": "x"}
        client.get(url, chosen | {"database": shard_of_id(stuck)})
    assert (saga_of(stuck).version, order(stuck).status, written(stuck)) == (before, "paid", [])


@pytest.mark.parametrize("button", ["retry", "compensate"])
def test_who_may_only_look_has_no_buttons(button: str, stuck: int) -> None:
    watcher = Person(User.objects.create_user("watcher", is_staff=True))
    watcher.user.user_permissions.add(Permission.objects.get(codename="view_saga"))
    assert buttons_of(Browser(watcher.user).open(f"{SAGAS}{stuck}/change/")) == []
    press(watcher, button, stuck, confirmed="yes", reason="x")
    assert (saga_of(stuck).state, order(stuck).status, written(stuck)) == ("stuck", "paid", [])


def test_who_may_change_sagas_but_cancel_no_orders_runs_again_only(stuck: int) -> None:
    keeper = Person(User.objects.create_user("keeper", is_staff=True))
    keeper.user.user_permissions.add(Permission.objects.get(codename="change_saga"))
    assert f"{stuck}: 没有找到" in press(keeper, "compensate", stuck, confirmed="yes", reason="x").text
    assert order(stuck).status == "paid"
    press(keeper, "retry", stuck)
    assert saga_of(stuck).state == "running"


@pytest.mark.services("chromium")
@pytest.mark.timeout(240)
def test_the_buttons_work_on_a_telephone(boss: Person, mei: Person, stuck: int, server: Server) -> None:
    client = Client()
    client.force_login(boss.user)
    too_wide: list[bool] = []

    def go() -> None:
        with chromium.page() as page:
            page.set_default_timeout(100_000)
            session = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": server.url}
            page.context.add_cookies([session])
            page.goto(f"{server.url}{SAGAS}{stuck}/change/")
            too_wide.append(page.evaluate(TOO_WIDE))
            page.locator("form:has([value=compensate]) button").click()
            page.locator("#reason").fill("厨房坏了")
            too_wide.append(page.evaluate(TOO_WIDE))
            page.locator("form:has([name=confirmed]) button").click()
            page.get_by_text("1 个订单已撤销").wait_for()

    browser = threading.Thread(target=go)
    browser.start()
    browser.join(200)
    assert not browser.is_alive()
    assert too_wide == [False, False]
    assert (order(stuck).status, written(stuck)) == ("cancelled", [("boss", "撤销订单: 完成")])
