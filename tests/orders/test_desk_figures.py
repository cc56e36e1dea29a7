"""Today in figures, and the admin's front page that shows them to those whose shops they are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import menu.services
from accounts.models import User
from orders import services
from orders.desk import figures
from orders.desk.figures import Figures
from orders.desk.models import DeskOrder
from tests import factories
from tests.factories import Person, Stall, accepted, completed, paid, relay
from tests.support.browsing import Browser
from waimai.infra.models import OutboxMessage

pytestmark = pytest.mark.data
DAY = date(2026, 11, 30)


def row(shop_id: int, number: int, total: str = "60.00", **facts: Any) -> DeskOrder:
    """A row of the desk."""
    now = timezone.now()
    known: dict[str, Any] = {
        "order_id": number,
        "shop_id": shop_id,
        "shop_name": f"店{shop_id}",
        "user_id": 1,
        "version": 1,
        "status": "completed",
        "payment_status": "paid",
        "total": Decimal(total),
        "tableware": 1,
        "lines": [],
        "business_date": DAY,
        "placed_at": now,
        "paid_at": now,
        "applied_at": now,
    }
    return DeskOrder.objects.create(**known | facts)


def test_a_day_without_orders_has_no_rates() -> None:
    assert (Figures().completion, Figures().average) == (None, None)
    assert figures.of_today(days={DAY: [1]}) == {}
    assert figures.of_today(days={}) == {}


def test_cancelled_and_refunded_orders_bring_nothing() -> None:
    row(1, 1, "60.00")
    row(1, 2, "30.00", status="accepted")
    row(1, 3, "99.00", status="cancelled", payment_status="refunded")
    row(1, 4, "50.00", status="completed", payment_status="refunded")
    found = figures.of_today(days={DAY: [1]})[1, "店1"]
    assert found == Figures(paid=4, valid=3, completed=2, turnover=Decimal("90.00"))
    assert (found.completion, found.average) == (50, Decimal("30.00"))


def test_other_days_and_other_shops_are_left_out() -> None:
    row(1, 1)
    row(1, 2, business_date=DAY - timedelta(days=1))
    row(2, 3)
    assert list(figures.of_today(days={DAY: [1]})) == [(1, "店1")]


def test_each_shop_has_its_own_day() -> None:
    row(1, 1, business_date=DAY)
    row(2, 2, business_date=DAY - timedelta(days=1))
    assert list(figures.of_today(days={DAY: [1], DAY - timedelta(days=1): [2]})) == [(1, "店1"), (2, "店2")]


def test_the_day_is_that_of_the_shops_clock(db_all: object) -> None:
    east = factories.stall("东", time_zone="Asia/Shanghai").shop_id
    west = factories.stall("西", time_zone="America/New_York").shop_id
    at = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)
    days = figures.business_days(shops=None, at=at)
    assert {shop: str(day) for day, ids in days.items() for shop in ids} == {east: "2026-11-30", west: "2026-11-29"}
    assert figures.business_days(shops={west}, at=at) == {date(2026, 11, 29): [west]}
    assert figures.business_days(shops=(), at=at) == {}


def test_a_renamed_shop_is_one_shop() -> None:
    row(1, 1)
    row(1, 2, shop_name="店1新")
    assert [found.paid for found in figures.of_today(days={DAY: [1]}).values()] == [2]


def test_what_waits_is_counted_whatever_its_day() -> None:
    row(1, 1, status="paid", business_date=DAY - timedelta(days=1))
    row(1, 2, status="paid")
    row(1, 3, status="accepted")
    row(2, 4, status="paid")
    assert [figures.waiting(shops=shops) for shops in (None, {1}, {2}, ())] == [3, 2, 1, 0]


# --- the front page ---


def front(who: Person) -> str:
    """What somebody reads there."""
    relay()
    return Browser(who.user).open("/admin/").text


def test_staff_read_their_own_shops_figures(mei: Person, tao: Person, stall: Stall, lan: Person) -> None:
    completed(mei, stall, lan, key="k-1")
    paid(tao, stall)
    there = factories.stall("粤味小馆")
    paid(mei, there, key="k-2")
    page = front(lan)
    for text in ("1 等待接单", "¥126.00 今日营业额", "2 有效订单", "50% 完成率", "¥63.00 平均客单价"):
        assert text in page
    assert "粤味小馆" not in page


def test_the_boss_reads_everybodys_by_shop(mei: Person, stall: Stall, lan: Person) -> None:
    accepted(mei, stall, lan, key="k-1")
    paid(mei, factories.stall("粤味小馆"), key="k-2")
    page = front(Person(User.objects.create_superuser("boss")))
    assert "¥126.00 今日营业额" in page
    assert "川味小馆 ¥63.00 1 0" in page
    assert "粤味小馆 ¥63.00 1 0" in page


def test_who_works_nowhere_reads_no_figures(mei: Person, stall: Stall) -> None:
    paid(mei, stall)
    page = front(Person(User.objects.create_user("nobody", is_staff=True)))
    assert "今日营业额" not in page
    assert "63.00" not in page


def test_dishes_that_are_sold_out_are_counted(stall: Stall, lan: Person) -> None:
    menu.services.set_stock(item_id=stall.fish, available=0)
    menu.services.set_stock(item_id=factories.stall("粤味小馆").fish, available=0)
    assert "1 现已售罄的菜品" in front(lan)
    boss = Person(User.objects.create_superuser("boss"))
    assert "2 现已售罄的菜品" in front(boss)
    assert menu.services.sold_out_now(shops=()) == 0
    listed = Browser(boss.user).open("/admin/menu/item/?left=none")
    assert listed.text.count("酸菜鱼") >= 2
    assert "麻婆豆腐" not in listed.text


def test_the_figures_lead_to_the_orders_they_count(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    relay()
    browser = Browser(lan.user)
    page = browser.open("/admin/")
    links = {url for url in page.links.values() if url.startswith("/admin/desk/deskorder/?")}
    assert len(links) == 4
    for url in links - {url for url in links if "completed" in url and "paid" not in url}:
        assert str(order_id) in browser.open(url).text, url


def test_the_desk_is_asked_twice_however_many_orders(stall: Stall, lan: Person) -> None:
    for number in range(50):
        row(stall.shop_id, number + 1)
    client = Client()
    client.force_login(lan.user)
    with CaptureQueriesContext(connection) as captured:
        client.get("/admin/")
    asked = [query["sql"] for query in captured.captured_queries if DeskOrder._meta.db_table in query["sql"]]
    assert len(asked) == 2


def test_what_was_lost_to_sold_out_dishes_is_counted_once(stall: Stall, mei: Person, tao: Person, lan: Person) -> None:
    menu.services.set_stock(item_id=stall.fish, available=1)
    factories.placed(mei, stall, key="the last fish")
    for number in range(2):
        with pytest.raises(menu.services.SoldOut):
            factories.place(tao, stall, key=f"no fish {number}")
    relay()
    OutboxMessage.objects.on(tao.shard).update(state=OutboxMessage.State.PENDING)
    relay()
    days = figures.business_days(shops=[stall.shop_id], at=timezone.now())
    assert figures.lost(days=days) == (2, Decimal("126.00"))
    assert figures.lost(days={}) == (0, Decimal("0.00"))
    assert "2 · ¥126.00" in Browser(lan.user).open("/admin/").text


def test_what_went_back_in_part_brings_no_turnover(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan, (stall.fish, 2))
    services.propose_amendment(
        order_id=order_id, staff_id=lan.id, line=1, quantity=1, replacement=None, reason="卖完了"
    )
    services.answer_amendment(order_id=order_id, user_id=mei.id, n=1, accept=True)
    relay()
    days = figures.business_days(shops=[stall.shop_id], at=timezone.now())
    (of_shop,) = figures.of_today(days=days).values()
    assert of_shop.turnover == factories.order(order_id).net_total == factories.order(order_id).total - 56
