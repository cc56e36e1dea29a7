"""A customer leaves: nothing tells who it was any more, and the shop's books still add up."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import QuerySet

import accounts.services
from accounts.models import ClosedAccount
from accounts.sms import MemorySender
from menu.services import LineRequest
from orders import erasing, services
from orders.desk.models import DeskOrder
from orders.errors import OrdersUnderWay
from orders.models import Order
from payments.models import Refund
from tests.accounts.factories import MEI, PASSWORD, SERVER, TAO
from tests.factories import (
    Person,
    Stall,
    audit,
    completed,
    down,
    neighbour_of,
    order,
    overdue,
    paid,
    placed,
    relay,
    settle,
    works_at,
)
from tests.support.browsing import Browser
from waimai.infra import housekeeping
from waimai.infra.clock import db_now
from waimai.infra.errors import PermissionRefused, Unauthenticated
from waimai.infra.models import ArchiveMark
from waimai.infra.sharding import DEFAULT, databases, shard_of_user

pytestmark = pytest.mark.data
SECRETS = (MEI, "阿梅", "建国路", "不要告诉邻居", "我搬家了")


@pytest.fixture
def mei(mei: Person) -> Person:
    """With a password, to prove who she is."""
    mei.user.nickname = "阿梅"
    mei.user.set_password(PASSWORD)
    mei.user.save()
    return mei


@pytest.fixture
def lan(stall: Stall) -> Person:
    return works_at(stall.shop_id, "manager", "lan")


def close(who: Person, **proof: str) -> None:
    services.close_account(user_id=who.id, address=SERVER, **(proof or {"current_password": PASSWORD}))


def a_minute_later() -> None:
    ClosedAccount.objects.update(closed_at=db_now(DEFAULT) - timedelta(minutes=2))


def erase() -> int:
    a_minute_later()
    count = erasing.erase_closed()
    settle()
    return count


def rows_with(*secrets: str) -> list[str]:
    """Every column of every table of every database that holds one of these, but for what is deleted within days."""
    passing = {"infra.OutboxMessage", "desk.BoardEvent", "accounts.SmsCode"}
    found = []
    for model in apps.get_models():
        if model._meta.label in passing or model._meta.proxy:
            continue
        for alias in databases():
            if router.allow_migrate_model(alias, model):
                rows: Any = QuerySet(model, using=alias).values()
                found += [f"{alias}: {model._meta.label}" for row in rows if _holds(row, secrets)]
    return found


def _holds(row: dict[str, Any], secrets: tuple[str, ...]) -> bool:
    text = json.dumps(row, default=str, ensure_ascii=False)
    return any(secret in text for secret in secrets)


def a_past(mei: Person, stall: Stall, lan: Person) -> tuple[int, int, int]:
    """A delivered order, one refunded in her own words, one that was never paid, and a cart."""
    eaten = completed(mei, stall, lan, key="eaten", note="不要告诉邻居")
    refunded = paid(mei, stall, key="refunded")
    services.cancel(order_id=refunded, user_id=mei.id, reason="我搬家了")
    never_paid = placed(mei, stall, key="never paid", note="不要告诉邻居")
    overdue(never_paid)
    settle()
    services.add_to_cart(user_id=mei.id, shop_id=stall.shop_id, line=LineRequest(stall.rice, 2))
    LogEntry.objects.log_actions(lan.id, [mei.user], CHANGE, "looked")
    return eaten, refunded, never_paid


def test_nothing_in_any_table_tells_who_it_was(mei: Person, stall: Stall, lan: Person, tao: Person) -> None:
    eaten, refunded, never_paid = a_past(mei, stall, lan)
    accounts.services.change_address(user_id=tao.id, address_id=tao.address_id, changes={"phone": TAO})
    others = completed(tao, stall, lan, key="others", note="多放辣")
    settle()
    assert {found.partition(": ")[2] for found in rows_with(*SECRETS)} >= {"orders.Order", "desk.DeskOrder"}
    seen = [(row.pk, row.total, row.status, row.payment_status) for row in Order.objects.for_user(mei.id)]

    close(mei)
    assert erase() == 3

    assert rows_with(MEI, "阿梅", "不要告诉邻居", "我搬家了") == []
    assert [(row.pk, row.total, row.status, row.payment_status) for row in Order.objects.for_user(mei.id)] == seen
    for order_id in (eaten, refunded, never_paid):
        assert (order(order_id).phone, order(order_id).address_text, order(order_id).latitude) == ("", "", None)
    desk = DeskOrder.objects.get(order_id=eaten)
    assert (desk.contact_name, desk.phone, desk.address_text, desk.note, desk.version) == (
        "",
        "",
        "",
        "",
        order(eaten).version,
    )
    assert [line["name"] for line in desk.lines] == ["酸菜鱼"]
    assert order(others).note == DeskOrder.objects.get(order_id=others).note == "多放辣"
    assert Refund.objects.on(mei.shard).filter(order_id=refunded, status="succeeded").count() == 1
    assert audit() == []


def test_the_phone_begins_anew(mei: Person, stall: Stall, lan: Person, phones: type[MemorySender]) -> None:
    a_past(mei, stall, lan)
    token = accounts.services.issue_tokens(mei.user)
    close(mei)
    with pytest.raises(Unauthenticated):
        accounts.services.user_of_header(f"Bearer {token.access}")
    with pytest.raises(Unauthenticated):
        accounts.services.login_with_password(phone=MEI, password=PASSWORD, address=SERVER)
    accounts.services.send_code(phone=MEI, address=SERVER)
    again = accounts.services.login_with_code(phone=MEI, code=phones.sent[-1].code, address=SERVER)
    assert again.pk != mei.id
    assert list(services.orders_of(user_id=again.pk)) == []
    assert accounts.services.address_book(user_id=mei.id) == []


def test_not_while_an_order_or_a_refund_is_on_its_way(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = placed(mei, stall)
    with pytest.raises(OrdersUnderWay):
        close(mei)
    services.cancel(order_id=order_id, user_id=mei.id)
    refunded = paid(mei, stall, key="second")
    services.cancel(order_id=refunded, user_id=mei.id)
    with pytest.raises(OrdersUnderWay):
        close(mei)
    settle()
    close(mei)


def test_an_order_placed_meanwhile_comes_to_its_end_first(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = placed(mei, stall)
    # It was being placed while the account was closed, which looked for orders a moment before.
    accounts.services.close_account(user_id=mei.id, address=SERVER, current_password=PASSWORD)
    assert erase() == 0
    assert order(order_id).phone == MEI
    overdue(order_id)
    settle()
    assert erase() == 1
    assert rows_with(MEI) == []


def test_requests_under_way_have_a_minute(mei: Person, stall: Stall, lan: Person) -> None:
    completed(mei, stall, lan)
    close(mei)
    assert erasing.erase_closed() == 0
    assert erase() == 1
    assert erase() == 0


def test_a_shard_that_is_away_waits_and_the_others_do_not(mei: Person, stall: Stall, lan: Person) -> None:
    neighbour = neighbour_of(mei, same_shard=False)
    neighbour.user.set_password(PASSWORD)
    neighbour.user.save()
    for who in (mei, neighbour):
        completed(who, stall, lan, key=f"of {who.id}")
        close(who)
    a_minute_later()
    with down(shard_of_user(mei.id)):
        assert erasing.erase_closed() == 1
    assert erasing.erase_closed() == 1
    assert accounts.services.closed_accounts() == []


def test_older_news_does_not_bring_the_person_back(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = completed(mei, stall, lan)
    close(mei)
    a_minute_later()
    # The news of the whole order is still under way when its erasing is told.
    erasing.erase_closed()
    relay()
    assert DeskOrder.objects.get(order_id=order_id).phone == ""
    assert audit() == []


def test_rows_of_archived_orders_forget_the_person_too(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = completed(mei, stall, lan)
    settle()
    row = DeskOrder.objects.get(order_id=order_id)
    Order.objects.on(mei.shard).filter(pk=order_id).delete()
    ArchiveMark.objects.create(pk=1, below=order_id + 1)
    assert row.phone == MEI
    close(mei)
    assert erase() == 0
    assert DeskOrder.objects.get(order_id=order_id).phone == ""


def test_what_comes_back_from_the_archive_is_erased_again(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = completed(mei, stall, lan)
    close(mei)
    assert erase() == 1
    Order.objects.on(mei.shard).filter(pk=order_id).update(phone=MEI)
    assert erase() == 0
    accounts.services.erase_all_again()
    assert erase() == 1
    assert order(order_id).phone == ""


def test_it_is_done_with_the_house(mei: Person, stall: Stall, lan: Person) -> None:
    completed(mei, stall, lan)
    settle()
    close(mei)
    a_minute_later()
    housekeeping.keep_house()
    assert rows_with(MEI) == ["default: desk.DeskOrder"]
    settle()
    assert rows_with(MEI) == []


def test_staff_are_not_customers(lan: Person) -> None:
    with pytest.raises(PermissionRefused):
        close(lan)


# --- the page ---


def test_the_page_says_what_goes_and_wants_a_proof(mei: Person, stall: Stall, lan: Person) -> None:
    completed(mei, stall, lan)
    browser = Browser(mei.user)
    page = browser.follow(browser.open("/me/"), "注销账号")
    assert "历史订单保留金额和商品" in page.text
    page = browser.submit(page, "/me/close/", {"current_password": "wrong"})
    assert "密码或验证码不正确" in page.text
    page = browser.submit(page, "/me/close/", {"current_password": PASSWORD})
    assert "账号已注销" in page.text
    assert browser.open("/me/").path.startswith("/login/")
    assert not get_user_model().objects.get(pk=mei.id).is_active


def test_a_code_proves_it_as_well(mei: Person, phones: type[MemorySender]) -> None:
    browser = Browser(mei.user)
    page = browser.open("/me/close/")
    token = page.form("/me/close/").values["csrfmiddlewaretoken"][0]
    sent = browser.client.post("/me/password/code/", {"csrfmiddlewaretoken": token, "next": "/me/close/"})
    assert sent.headers["Location"] == "/me/close/"
    page = browser.submit(browser.open("/me/close/"), "/me/close/", {"code": phones.sent[-1].code})
    assert "账号已注销" in page.text


def test_the_page_names_what_is_in_the_way(mei: Person, stall: Stall) -> None:
    placed(mei, stall)
    browser = Browser(mei.user)
    page = browser.submit(browser.open("/me/close/"), "/me/close/", {"current_password": PASSWORD})
    assert "还有未完成的订单或退款" in page.text
    assert get_user_model().objects.get(pk=mei.id).is_active


def test_guessing_has_its_limit(mei: Person, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    browser = Browser(mei.user)
    for _time in range(30):
        page = browser.submit(browser.open("/me/close/"), "/me/close/", {"current_password": "guess"})
        if page.status == 429:
            break
    assert page.status == 429
    assert "Retry-After" in page.response.headers
