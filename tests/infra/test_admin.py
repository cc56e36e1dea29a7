from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import User
from waimai.infra import ids
from waimai.infra.clock import db_now
from waimai.infra.models import OutboxMessage

pytestmark = pytest.mark.data
CHANGELIST = "/admin/infra/outboxmessage/"


@pytest.fixture
def boss(db_all: object) -> Client:
    """A superuser in the admin."""
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def parked(using: str, topic: str = "order.paid") -> OutboxMessage:
    return OutboxMessage.objects.on(using).create(
        bucket=0,
        topic=topic,
        key=ids.new_id(0),
        version=1,
        payload={},
        state=OutboxMessage.State.PARKED,
        attempts=8,
        next_at=db_now(using),
        created_at=db_now(using),
        error="KeyError('plate')",
    )


def run_again(client: Client, message: OutboxMessage, query: str = "") -> Any:
    return client.post(CHANGELIST + query, {"action": "run_again", "_selected_action": [str(message.id)]}, follow=True)


def test_the_first_database_is_shown_until_one_is_chosen(boss: Client) -> None:
    parked("default", "on.default")
    parked("orders_1", "on.orders")
    page = boss.get(CHANGELIST).content.decode()
    assert "on.default" in page
    assert "on.orders" not in page


def test_the_chosen_database_is_shown(boss: Client) -> None:
    parked("default", "on.default")
    parked("orders_1", "on.orders")
    page = boss.get(CHANGELIST + "?database=orders_1").content.decode()
    assert "on.orders" in page
    assert "on.default" not in page


def test_every_database_can_be_chosen(boss: Client) -> None:
    page = boss.get(CHANGELIST).content.decode()
    assert all(f"?database={alias}" in page for alias in ("orders_0", "orders_1", "default"))


def test_a_database_of_nobodys_making_shows_the_first(boss: Client) -> None:
    parked("default", "on.default")
    page = boss.get(CHANGELIST + "?database=secrets")
    assert (page.status_code, "on.default" in page.content.decode()) == (200, True)


def test_a_row_is_found_on_whichever_database_it_stands(boss: Client) -> None:
    message = parked("orders_1")
    page = boss.get(f"{CHANGELIST}{message.id}/change/")
    assert page.status_code == 200
    assert "KeyError" in page.content.decode()


@pytest.mark.parametrize("number", ["0", "nonsense", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"])
def test_a_row_that_is_nowhere_leads_back(boss: Client, number: str) -> None:
    assert boss.get(f"{CHANGELIST}{number}/change/").status_code == 302


def test_what_is_parked_is_run_again_on_its_database(boss: Client) -> None:
    message = parked("orders_1")
    page = run_again(boss, message, "?database=orders_1")
    assert "1 条消息将重新执行" in page.content.decode()
    row = OutboxMessage.objects.on("orders_1").get(id=message.id)
    assert (row.state, row.attempts) == (OutboxMessage.State.PENDING, 0)


def test_staff_without_all_powers_run_nothing_again() -> None:
    message = parked("default")
    client = Client()
    client.force_login(User.objects.create_user("lan", is_staff=True))
    assert client.post(CHANGELIST, {"action": "run_again"}).status_code == 403
    assert OutboxMessage.objects.on("default").get(id=message.id).state == OutboxMessage.State.PARKED


def test_nothing_is_added_changed_or_deleted_by_hand(boss: Client) -> None:
    message = parked("default")
    assert boss.get(CHANGELIST + "add/").status_code == 403
    assert boss.post(f"{CHANGELIST}{message.id}/change/", {"state": "1"}).status_code == 403
    assert boss.post(f"{CHANGELIST}{message.id}/delete/", {"post": "yes"}).status_code == 403
    boss.post(CHANGELIST, {"action": "delete_selected", "_selected_action": [str(message.id)], "post": "yes"})
    assert OutboxMessage.objects.on("default").get(id=message.id).state == OutboxMessage.State.PARKED
    assert not LogEntry.objects.exists()


def test_searching_and_sorting_work(boss: Client) -> None:
    parked("default")
    assert boss.get(CHANGELIST + "?o=2.-3&state__exact=2").status_code == 200


def test_the_outbox_is_registered() -> None:
    assert OutboxMessage in admin.site._registry
