from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from orders import services
from orders.desk import handlers
from orders.desk import services as desk
from orders.desk.models import DeskOrder
from orders.models import Order
from orders.services import snapshot_of
from tests import factories
from tests.factories import (
    Person,
    Stall,
    accepted,
    at_once,
    audit,
    completed,
    delivering,
    order,
    paid,
    placed,
    relay,
    settle,
    works_at,
)
from waimai.infra import outbox
from waimai.infra.errors import PermissionRefused
from waimai.infra.models import OutboxMessage

pytestmark = pytest.mark.data


def row(order_id: int) -> DeskOrder:
    return DeskOrder.objects.get(order_id=order_id)


def on_board(who: Person, **filters: Any) -> list[int]:
    rows = desk.board(staff_id=who.id, **filters).order_by("paid_at", "order_id")
    return list(rows.values_list("order_id", flat=True))


def story(who: Person, at: Stall, by: Person) -> tuple[int, list[Any]]:
    """An order all the way, and its news in order; the desk has heard none of it."""
    order_id = completed(who, at, by)
    messages = OutboxMessage.objects.on(who.shard).filter(key=order_id).order_by("version")
    return order_id, list(messages)


def hear(message: OutboxMessage) -> None:
    import msgspec

    event = msgspec.convert(message.payload, outbox._classes[message.topic])
    handlers.on_order_changed(event, using="orders_0")


def test_an_unpaid_order_is_not_the_shops(mei: Person, stall: Stall) -> None:
    placed(mei, stall)
    settle()
    assert not DeskOrder.objects.exists()


def test_a_cancelled_order_that_was_never_paid_is_not_the_shops(mei: Person, stall: Stall) -> None:
    services.cancel(order_id=placed(mei, stall), user_id=mei.id)
    settle()
    assert not DeskOrder.objects.exists()


def test_a_paid_order_comes_with_its_news(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall, (stall.fish, 1), (stall.rice, 2), note="不要葱", tableware=3)
    assert not DeskOrder.objects.exists()
    relay()
    it, truth = row(order_id), order(order_id)
    assert (it.shop_id, it.shop_name, it.user_id, it.status) == (stall.shop_id, "川味小馆", mei.id, "paid")
    assert (it.version, it.total, it.note, it.tableware) == (truth.version, truth.total, "不要葱", 3)
    assert (it.contact_name, it.phone, it.address_text) == ("梅", "13911110001", "北京市朝阳区建国路 88 号")
    assert (it.paid_at, it.placed_at, it.business_date) == (truth.paid_at, truth.placed_at, truth.business_date)
    assert [(line["name"], line["quantity"]) for line in it.lines] == [("酸菜鱼", 1), ("米饭", 2)]


def test_the_actor_sees_the_row_follow_at_once(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    followed = desk.accept(order_id=order_id, staff_id=lan.id)
    assert (followed.status, row(order_id).status) == ("accepted", "accepted")


def test_the_events_that_follow_change_nothing(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    desk.accept(order_id=order_id, staff_id=lan.id)
    before = row(order_id).applied_at
    relay()
    assert (row(order_id).status, row(order_id).applied_at) == ("accepted", before)


def test_a_reminder_shows(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.remind(order_id=order_id, user_id=mei.id)
    relay()
    assert row(order_id).reminded_at == order(order_id).reminded_at is not None


def test_a_refund_shows(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    relay()
    assert (row(order_id).status, row(order_id).payment_status) == ("cancelled", "refunding")
    settle()
    assert row(order_id).payment_status == "refunded"


@pytest.mark.parametrize("seed", range(6))
def test_news_in_any_order_and_twice_makes_the_same_row(seed: int, mei: Person, stall: Stall, lan: Person) -> None:
    order_id, messages = story(mei, stall, lan)
    assert [message.topic for message in messages if message.topic != "order.placed"] == [
        "order.paid",
        "order.accepted",
        "order.delivering",
        "order.completed",
    ]
    shuffled = messages * 2
    random.Random(seed).shuffle(shuffled)
    for message in shuffled:
        hear(message)
    assert (row(order_id).status, row(order_id).version) == ("completed", 5)


def test_an_older_snapshot_is_passed_over(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    old = snapshot_of(order(order_id))
    desk.accept(order_id=order_id, staff_id=lan.id)
    assert not desk.apply(old)
    assert row(order_id).status == "accepted"


def test_snapshots_at_once_leave_the_newest(mei: Person, stall: Stall, lan: Person) -> None:
    order_id, messages = story(mei, stall, lan)
    snapshots = [message.payload["snapshot"] for message in messages]
    done = at_once(*[partial(desk.apply, snapshot) for snapshot in snapshots * 2])
    assert [one for one in done if isinstance(one, Exception)] == []
    assert (row(order_id).status, row(order_id).version) == ("completed", 5)


# --- made anew ---


def rows() -> list[dict[str, Any]]:
    return [
        {name: value for name, value in values.items() if name not in {"applied_at", "number"}}
        for values in DeskOrder.objects.order_by("order_id").values()
    ]


def test_made_anew_it_is_what_the_news_made(mei: Person, tao: Person, stall: Stall, lan: Person) -> None:
    paid(mei, stall, key="k-1")
    accepted(mei, stall, lan, (stall.fish, 2), key="k-2")
    delivering(tao, stall, lan, key="k-3")
    services.cancel(order_id=paid(tao, stall, key="k-4"), user_id=tao.id)
    placed(mei, stall, key="k-5")
    settle()
    fed = rows()
    DeskOrder.objects.all().delete()
    assert desk.rebuild() == 4
    assert rows() == fed
    assert audit() == []


def test_rows_of_orders_that_are_not_there_are_dropped(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    relay()
    Order.objects.by_id(order_id).delete()
    assert desk.rebuild() == 0
    assert not DeskOrder.objects.exists()


def test_what_was_changed_by_hand_is_mended(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    relay()
    DeskOrder.objects.update(status="completed", total="1.00")
    desk.rebuild()
    assert (row(order_id).status, row(order_id).total) == ("paid", order(order_id).total)


def test_a_row_that_is_ahead_is_kept(mei: Person, stall: Stall) -> None:
    """The order moved on while its shard was being read."""
    order_id = paid(mei, stall)
    relay()
    DeskOrder.objects.update(version=99, status="accepted")
    desk.rebuild()
    assert (row(order_id).version, row(order_id).status) == (99, "accepted")


def test_the_command_says_how_many(mei: Person, tao: Person, stall: Stall, capsys: Any) -> None:
    paid(mei, stall)
    paid(tao, stall)
    call_command("desk", "rebuild")
    assert capsys.readouterr().out.strip() == "2 orders on the desk"
    assert DeskOrder.objects.count() == 2


def test_twice_is_harmless(mei: Person, stall: Stall) -> None:
    paid(mei, stall)
    desk.rebuild()
    first = rows()
    desk.rebuild()
    assert rows() == first


def test_thousands_are_read_in_batches(mei: Person, stall: Stall) -> None:
    made = [paid(mei, stall, key=f"k-{n}") for n in range(5)]
    batches = [[snapshot["id"] for snapshot in batch] for batch in services.paid_snapshots(using=mei.shard, batch=2)]
    assert batches == [made[:2], made[2:4], made[4:]]


# --- the board ---


def test_the_longest_waiting_comes_first(mei: Person, tao: Person, stall: Stall, lan: Person) -> None:
    made = [paid(mei, stall, key="k-1"), paid(tao, stall), paid(mei, stall, key="k-2")]
    relay()
    assert on_board(lan) == made


def test_without_a_state_it_shows_what_is_still_to_be_done(mei: Person, stall: Stall, lan: Person) -> None:
    waiting = paid(mei, stall, key="k-1")
    cooking = accepted(mei, stall, lan, key="k-2")
    on_its_way = delivering(mei, stall, lan, key="k-3")
    there = completed(mei, stall, lan, key="k-4")
    settle()
    assert on_board(lan) == [waiting, cooking, on_its_way]
    assert on_board(lan, status="completed") == [there]
    assert on_board(lan, status="cancelled") == []


def test_everybody_sees_the_shops_they_work_for(mei: Person, stall: Stall, lan: Person) -> None:
    other = factories.stall("粤味小馆")
    here, there = paid(mei, stall, key="k-1"), paid(mei, other, key="k-2")
    relay()
    wu = works_at(other.shop_id, "kitchen", "wu")
    assert (on_board(lan), on_board(wu)) == ([here], [there])
    assert on_board(lan, shop_id=other.shop_id) == []


def test_who_works_for_two_shops_sees_both(mei: Person, stall: Stall, lan: Person) -> None:
    import accounts.services

    other = factories.stall("粤味小馆")
    here, there = paid(mei, stall, key="k-1"), paid(mei, other, key="k-2")
    relay()
    accounts.services.add_member(user_id=lan.id, shop_id=other.shop_id, role="courier")
    assert on_board(lan) == [here, there]
    assert on_board(lan, shop_id=other.shop_id) == [there]


def test_the_boss_sees_everything(mei: Person, stall: Stall) -> None:
    from accounts.models import User

    order_id = paid(mei, stall)
    relay()
    assert on_board(Person(User.objects.create_superuser("boss"))) == [order_id]


def test_who_works_nowhere_sees_no_board(mei: Person, stall: Stall) -> None:
    with pytest.raises(PermissionRefused):
        on_board(mei)


def test_a_rolled_back_change_is_not_shown(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    with factories.rolled_back(mei.shard):
        services.accept(order_id=order_id, staff_id=lan.id)
    relay()
    assert row(order_id).status == "paid"
    assert transaction.get_connection(mei.shard).in_atomic_block is False
