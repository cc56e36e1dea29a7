from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from pytest_django import Settings

import menu.services
from menu.models import Shop
from orders import lifecycle, services
from orders.errors import InvalidTransition, RemindedAlready
from orders.models import Order, OrderChange
from tests.accounts.factories import problem, read
from tests.factories import (
    FISH_TOTAL,
    Person,
    Stall,
    accepted,
    audit,
    changes_of,
    completed,
    delivering,
    history,
    just_before,
    order,
    paid,
    placed,
    refunds_of,
    saga_of,
    settle,
    stock,
    sweep,
    timer,
)
from waimai.infra import ids, timers
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound, ValidationFailed
from waimai.infra.models import Timer

pytestmark = pytest.mark.data
SHANGHAI = ZoneInfo("Asia/Shanghai")


def five_fish(at: Stall) -> None:
    menu.services.set_stock(item_id=at.fish, available=5)


# --- the customer cancels ---


def test_an_unpaid_order_is_cancelled(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    answer = mei.api.post(f"orders/{order_id}/cancel/", {"reason": "点错了"})
    document = read(answer)
    assert (answer.status_code, document["status"], document["payment_status"]) == (200, "cancelled", "unpaid")
    assert document["timeline"][-1] | {"at": ""} == {
        "status": "cancelled",
        "at": "",
        "actor": "customer",
        "reason": "点错了",
    }
    assert refunds_of(order_id) == []


def test_a_reason_is_not_needed(mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    assert mei.api.post(f"orders/{order_id}/cancel/", {}).status_code == 200
    assert changes_of(order_id)[-1] == ("cancel", "customer", "")


def test_a_paid_order_is_cancelled_and_refunded(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    document = read(mei.api.post(f"orders/{order_id}/cancel/", {}))
    assert (document["status"], document["payment_status"]) == ("cancelled", "refunding")
    settle()
    assert read(mei.api.get(f"orders/{order_id}/"))["payment_status"] == "refunded"
    assert refunds_of(order_id) == [(FISH_TOTAL, "cancel", "succeeded")]


def test_portions_go_back_when_an_unpaid_order_is_cancelled(mei: Person, stall: Stall) -> None:
    five_fish(stall)
    order_id = placed(mei, stall, (stall.fish, 2))
    services.cancel(order_id=order_id, user_id=mei.id)
    assert stock(stall.fish) == (5, 0, 0)
    assert saga_of(order_id).state == "compensated"


def test_portions_go_back_when_a_paid_order_is_cancelled(mei: Person, stall: Stall) -> None:
    five_fish(stall)
    order_id = paid(mei, stall, (stall.fish, 2))
    assert stock(stall.fish) == (3, 0, 2)
    services.cancel(order_id=order_id, user_id=mei.id)
    assert stock(stall.fish) == (5, 0, 0)
    settle()
    assert audit() == []


def test_cancelling_again_is_refused_and_changes_nothing(mei: Person, stall: Stall) -> None:
    five_fish(stall)
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id)
    answer = mei.api.post(f"orders/{order_id}/cancel/", {})
    assert problem(answer) == (409, "invalid_transition")
    assert (stock(stall.fish), len(refunds_of(order_id))) == ((5, 0, 0), 1)


@pytest.mark.parametrize("state", [accepted, delivering, completed])
def test_once_accepted_the_customer_cannot_cancel(
    state: Callable[..., int], mei: Person, stall: Stall, lan: Person
) -> None:
    order_id = state(mei, stall, lan)
    before = history(order_id)
    assert problem(mei.api.post(f"orders/{order_id}/cancel/", {})) == (409, "invalid_transition")
    assert (history(order_id), refunds_of(order_id)) == (before, [])


def test_nobody_cancels_someone_elses_order(mei: Person, tao: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    with pytest.raises(NotFound):
        services.cancel(order_id=order_id, user_id=tao.id)
    assert order(order_id).status == "paid"


# --- the shop ---


def test_the_shop_accepts_and_promises_a_time(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    row = services.accept(order_id=order_id, staff_id=lan.id, minutes=25)
    assert row.promised_at is not None
    assert timedelta(minutes=24, seconds=50) < row.promised_at - db_now(mei.shard) <= timedelta(minutes=25)
    change = OrderChange.objects.of_order(order_id).get(transition="accept")
    assert (change.actor, change.actor_id) == ("staff", lan.id)


def test_without_minutes_the_shops_usual_time_is_promised(mei: Person, stall: Stall, lan: Person) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(prep_minutes=45)
    menu.services.menu_changed(stall.shop_id)
    row = services.accept(order_id=paid(mei, stall), staff_id=lan.id)
    assert row.promised_at is not None
    assert round((row.promised_at - db_now(mei.shard)).total_seconds() / 60) == 45


def test_an_order_for_later_is_promised_for_then(mei: Person, stall: Stall, lan: Person) -> None:
    later = db_now(mei.shard) + timedelta(hours=3)
    order_id = paid(mei, stall, deliver_at=later)
    assert services.accept(order_id=order_id, staff_id=lan.id, minutes=20).promised_at == later


@pytest.mark.parametrize("minutes", [0, -5, 1441])
def test_minutes_that_make_no_sense(minutes: int, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    with pytest.raises(ValidationFailed):
        services.accept(order_id=order_id, staff_id=lan.id, minutes=minutes)
    assert order(order_id).status == "paid"


def test_a_rejected_order_is_refunded_and_its_portions_go_back(mei: Person, stall: Stall, lan: Person) -> None:
    five_fish(stall)
    order_id = paid(mei, stall, (stall.fish, 2))
    services.reject(order_id=order_id, staff_id=lan.id, reason=" 厨师请假 ")
    assert changes_of(order_id)[-1] == ("reject", "staff", "厨师请假")
    assert stock(stall.fish) == (5, 0, 0)
    settle()
    assert refunds_of(order_id)[0][1:] == ("cancel", "succeeded")
    assert order(order_id).payment_status == "refunded"
    assert audit() == []


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_a_shop_that_refuses_says_why(reason: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    with pytest.raises(ValidationFailed):
        services.reject(order_id=order_id, staff_id=lan.id, reason=reason)
    with pytest.raises(ValidationFailed):
        services.withdraw(order_id=order_id, staff_id=lan.id, reason=reason)
    assert order(order_id).status == "paid"


def test_a_long_reason_is_cut(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    services.reject(order_id=order_id, staff_id=lan.id, reason="忙" * 300)
    assert changes_of(order_id)[-1][2] == "忙" * 200


def test_an_accepted_order_is_not_rejected_any_more(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    with pytest.raises(InvalidTransition):
        services.reject(order_id=order_id, staff_id=lan.id, reason="太忙了")


@pytest.mark.parametrize(
    ("state", "restock", "left"),
    [
        (paid, None, (5, 0, 0)),
        (paid, True, (5, 0, 0)),
        (paid, False, (3, 0, 2)),
        (accepted, None, (3, 0, 2)),
        (accepted, True, (5, 0, 0)),
        (accepted, False, (3, 0, 2)),
        (delivering, None, (3, 0, 2)),
        (delivering, True, (5, 0, 0)),
    ],
)
def test_after_accepting_staff_decide_whether_portions_go_back(
    state: Callable[..., int],
    restock: bool | None,
    left: tuple[int, int, int],
    mei: Person,
    stall: Stall,
    lan: Person,
) -> None:
    five_fish(stall)
    people = (mei, stall) if state is paid else (mei, stall, lan)
    order_id = state(*people, (stall.fish, 2))
    services.withdraw(order_id=order_id, staff_id=lan.id, reason="打翻了", restock=restock)
    settle()
    assert (order(order_id).status, order(order_id).payment_status) == ("cancelled", "refunded")
    assert stock(stall.fish) == left
    assert audit() == []


def test_a_completed_order_is_not_withdrawn(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = completed(mei, stall, lan)
    with pytest.raises(InvalidTransition):
        services.withdraw(order_id=order_id, staff_id=lan.id, reason="打翻了")
    assert refunds_of(order_id) == []


def test_an_order_that_is_not_there_is_not_found(stall: Stall, lan: Person) -> None:
    with pytest.raises(NotFound):
        services.accept(order_id=ids.new_id(3), staff_id=lan.id)


def test_the_customer_was_faster(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    cancel = partial(services.cancel, order_id=order_id, user_id=mei.id)
    with just_before(lifecycle, "_move", cancel), pytest.raises(InvalidTransition):
        services.accept(order_id=order_id, staff_id=lan.id)
    assert history(order_id) == ["pending_payment", "paid", "cancelled"]


# --- on its way ---


def test_a_delivery_has_a_timer_until_it_is_completed(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = delivering(mei, stall, lan)
    due_at = timer("order.complete", order_id)
    assert due_at.astimezone(SHANGHAI).strftime("%H:%M") == "01:00"
    assert due_at - order(order_id).placed_at >= timedelta(hours=1)
    services.complete(order_id=order_id, staff_id=lan.id)
    assert timer("order.complete", order_id) is None


def test_a_delivery_that_could_not_start_sets_no_timer(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    with pytest.raises(InvalidTransition):
        services.deliver(order_id=order_id, staff_id=lan.id)
    assert timer("order.complete", order_id) is None


def test_a_withdrawn_delivery_has_no_timer(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = delivering(mei, stall, lan)
    services.withdraw(order_id=order_id, staff_id=lan.id, reason="打翻了")
    assert timer("order.complete", order_id) is None


def test_a_forgotten_delivery_is_completed_by_the_clock(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = delivering(mei, stall, lan)
    Timer.objects.on(mei.shard).filter(kind="order.complete").update(due_at=db_now(mei.shard))
    assert timers.sweep(mei.shard) == 1
    assert changes_of(order_id)[-1] == ("complete", "clock", "forgotten_delivery")
    assert read(mei.api.get(f"orders/{order_id}/"))["timeline"][-1]["reason"] == "派送超时，自动完成"
    settle()
    assert audit() == []


def test_the_clock_completes_nothing_else(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    timers.schedule("order.complete", order_id, due_at=db_now(mei.shard), using=mei.shard)
    sweep()
    assert (order(order_id).status, timer("order.complete", order_id)) == ("accepted", None)


def clock(text: str) -> datetime:
    """A time of an evening in Shanghai, as "day HH:MM"."""
    day, hour = text.split()
    return datetime.fromisoformat(f"2026-03-{int(day):02} {hour}").replace(tzinfo=SHANGHAI).astimezone(UTC)


@pytest.mark.parametrize(
    ("placed_at", "deliver_at", "now", "due"),
    [
        ("10 12:00", None, "10 12:40", "11 01:00"),
        ("10 23:30", None, "10 23:55", "11 01:00"),
        ("10 23:59", None, "11 00:30", "11 01:00"),
        # The hour of grace ends at 01:00 sharp, and after it.
        ("11 00:00", None, "11 00:10", "11 01:00"),
        ("11 00:01", None, "11 00:20", "12 01:00"),
        ("11 00:50", None, "11 01:30", "12 01:00"),
        # Handed over long after it was ordered.
        ("10 12:00", None, "11 02:00", "12 01:00"),
        ("10 12:00", None, "11 01:00", "11 01:00"),
        # For later.
        ("10 20:00", "11 12:00", "10 20:30", "12 01:00"),
        ("10 20:00", "11 00:30", "10 20:30", "11 01:00"),
    ],
)
def test_when_a_delivery_counts_as_forgotten(
    placed_at: str, deliver_at: str | None, now: str, due: str, stall: Stall
) -> None:
    wanted = Order(shop_id=stall.shop_id, placed_at=clock(placed_at), deliver_at=deliver_at and clock(deliver_at))
    assert lifecycle.forgotten_at(wanted, clock(now)) == clock(due)


def test_the_clock_is_the_shops(stall: Stall) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(time_zone="Europe/Berlin")
    menu.services.menu_changed(stall.shop_id)
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    due = lifecycle.forgotten_at(Order(shop_id=stall.shop_id, placed_at=noon, deliver_at=None), noon)
    assert due == datetime(2026, 3, 11, 0, tzinfo=UTC)


def test_the_night_when_the_clock_changes(stall: Stall) -> None:
    """In Berlin 01:00 of that night is still winter time, whatever it was when the order was made."""
    Shop.objects.filter(pk=stall.shop_id).update(time_zone="Europe/Berlin")
    menu.services.menu_changed(stall.shop_id)
    after = datetime(2026, 3, 29, 12, tzinfo=UTC)
    due = lifecycle.forgotten_at(Order(shop_id=stall.shop_id, placed_at=after, deliver_at=None), after)
    assert due.astimezone(ZoneInfo("Europe/Berlin")).strftime("%d %H:%M") == "30 01:00"


def test_the_grace_is_a_setting(stall: Stall, settings: Settings) -> None:
    settings.WAIMAI_FORGOTTEN_DELIVERY_SECONDS = 4 * 3600
    wanted = Order(shop_id=stall.shop_id, placed_at=clock("10 22:00"), deliver_at=None)
    assert lifecycle.forgotten_at(wanted, clock("10 22:30")) == clock("12 01:00")


# --- where is it? ---


def test_the_shop_is_reminded(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    assert mei.api.post(f"orders/{order_id}/remind/").status_code == 200
    row = order(order_id)
    assert row.reminded_at is not None
    assert (row.status, row.version) == ("paid", 3)
    assert history(order_id) == ["pending_payment", "paid"]
    settle()
    assert audit() == []


def test_reminded_a_moment_ago_is_enough(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.remind(order_id=order_id, user_id=mei.id)
    answer = mei.api.post(f"orders/{order_id}/remind/")
    assert problem(answer) == (429, "rate_limited")
    assert 50 <= int(answer["Retry-After"]) <= 60
    assert order(order_id).version == 3


def test_after_a_minute_the_shop_is_reminded_again(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    services.remind(order_id=order_id, user_id=mei.id)
    Order.objects.by_id(order_id).update(reminded_at=db_now(mei.shard) - timedelta(seconds=60))
    services.remind(order_id=order_id, user_id=mei.id)
    assert order(order_id).version == 4


def test_of_two_reminders_at_one_moment_one_counts(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    twin = partial(services.remind, order_id=order_id, user_id=mei.id)
    with just_before(lifecycle, "run_atomic", twin), pytest.raises(RemindedAlready):
        services.remind(order_id=order_id, user_id=mei.id)
    assert order(order_id).version == 3


@pytest.mark.parametrize("state", [accepted, delivering])
def test_the_shop_is_reminded_until_it_is_there(
    state: Callable[..., int], mei: Person, stall: Stall, lan: Person
) -> None:
    services.remind(order_id=state(mei, stall, lan), user_id=mei.id)


def test_an_unpaid_order_is_not_the_shops_to_hurry(mei: Person, stall: Stall) -> None:
    assert problem(mei.api.post(f"orders/{placed(mei, stall)}/remind/")) == (409, "invalid_transition")


def test_a_completed_order_is_there(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = completed(mei, stall, lan)
    with pytest.raises(InvalidTransition):
        services.remind(order_id=order_id, user_id=mei.id)


def test_nobody_hurries_someone_elses_order(mei: Person, tao: Person, stall: Stall) -> None:
    assert problem(tao.api.post(f"orders/{paid(mei, stall)}/remind/")) == (404, "not_found")


# --- what the customer may do next ---


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        (placed, ["pay", "cancel"]),
        (paid, ["cancel", "remind", "reorder"]),
        (accepted, ["remind", "reorder"]),
        (delivering, ["remind", "reorder"]),
        (completed, ["reorder"]),
    ],
)
def test_allowed_actions(state: Callable[..., int], actions: list[str], mei: Person, stall: Stall, lan: Person) -> None:
    people = (mei, stall) if state in (placed, paid) else (mei, stall, lan)
    assert read(mei.api.get(f"orders/{state(*people)}/"))["allowed_actions"] == actions
