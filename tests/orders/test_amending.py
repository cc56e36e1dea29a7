"""The shop amends what it has accepted: asked, answered in time or not at all, and never at the customer's expense."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from pytest_django import Settings

import menu.services
from menu.models import Item, Shop
from orders import amending, services
from orders.desk import services as desk
from orders.desk.models import BoardEvent, DeskOrder
from orders.errors import AmendmentClosed, AmendmentNotPossible, AmendmentOpen, InvalidTransition
from orders.models import Amendment, Order, OrderLine
from tests import factories
from tests.accounts.factories import problem, read
from tests.factories import (
    Person,
    Stall,
    accepted,
    at_once,
    audit,
    completed,
    delivering,
    just_before,
    order,
    paid,
    placed,
    refunds_of,
    settle,
    timer,
    works_at,
)
from tests.menu.factories import make_dish, make_group, make_set_meal
from waimai.infra import ids, timers
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound, PermissionRefused, ValidationFailed
from waimai.infra.models import Timer

pytestmark = pytest.mark.data
Cell = tuple[str, int, str]


@pytest.fixture
def dinner(mei: Person, stall: Stall, lan: Person) -> int:
    """An accepted order: two fish (56.00 each) and three rice (2.00 each); 5.00 packing, 6.00 delivery: 129.00."""
    return accepted(mei, stall, lan, (stall.fish, 2), (stall.rice, 3))


def propose(order_id: int, by: Person, line: int = 1, quantity: int = 1, **how: Any) -> dict[str, Any]:
    """Propose to drop a fish, or something else."""
    values = {"replacement": None, "reason": "鱼卖完了"} | how
    return services.propose_amendment(order_id=order_id, staff_id=by.id, line=line, quantity=quantity, **values)


def answer(order_id: int, n: int = 1, *, accept: bool = True) -> Order:
    return services.answer_amendment(order_id=order_id, user_id=order(order_id).user_id, n=n, accept=accept)


def swap(order_id: int, by: Person, *, n: int = 1, **how: Any) -> None:
    """Propose, and the customer agrees."""
    propose(order_id, by, **how)
    answer(order_id, n)


def states(order_id: int) -> list[str]:
    return list(Amendment.objects.of_order(order_id).order_by("n").values_list("state", flat=True))


def net(order_id: int) -> list[Cell]:
    """Name, quantity and amount of each line as it is to be cooked."""
    return [cell(line) for line in services.snapshot_of(order(order_id))["lines"]]


def on_desk(order_id: int) -> list[Cell]:
    return [cell(line) for line in DeskOrder.objects.get(order_id=order_id).lines]


def cell(line: dict[str, Any]) -> Cell:
    return line["name"], line["quantity"], line["amount"]


def too_late(order_id: int) -> None:
    """The time to answer is over, and nobody has noticed yet."""
    using = order(order_id)._state.db or ""
    moment = db_now(using) - timedelta(seconds=1)
    Amendment.objects.of_order(order_id).update(answer_by=moment)
    Timer.objects.on(using).filter(kind="order.amend", ref_id=order_id).update(due_at=moment)


# --- proposing ---


def test_a_proposal_waits_for_an_answer_and_changes_nothing(
    dinner: int, mei: Person, stall: Stall, lan: Person
) -> None:
    before = net(dinner)
    proposal = propose(dinner, lan, replacement=stall.tofu, reason=" 鱼卖完了 ")
    assert (proposal["n"], proposal["line"], proposal["name"], proposal["quantity"]) == (1, 1, "酸菜鱼", 1)
    assert (proposal["refund"], proposal["state"], proposal["reason"]) == ("38.00", "proposed", "鱼卖完了")
    assert cell(proposal["replacement"]) == ("麻婆豆腐", 1, "18.00")
    row = order(dinner)
    assert (row.version, row.total, row.refunded_part, net(dinner)) == (4, Decimal("129.00"), 0, before)
    assert services.open_proposal(dinner) == proposal
    assert timer("order.amend", dinner).isoformat() == proposal["answer_by"]
    settle()
    assert refunds_of(dinner) == []
    assert audit() == []


def test_how_long_there_is_to_answer_is_a_setting(dinner: int, mei: Person, lan: Person, settings: Settings) -> None:
    settings.WAIMAI_AMENDMENT_SECONDS = 60
    propose(dinner, lan)
    left = timer("order.amend", dinner) - db_now(mei.shard)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


def test_one_proposal_at_a_time(dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    with pytest.raises(AmendmentOpen):
        propose(dinner, lan, line=2)
    answer(dinner, accept=False)
    propose(dinner, lan, line=2)
    assert states(dinner) == ["declined", "proposed"]


def test_of_two_who_propose_at_once_one_is_told(dinner: int, stall: Stall, lan: Person) -> None:
    cook = works_at(stall.shop_id, "kitchen", "cook")
    first, second = at_once(partial(propose, dinner, lan), partial(propose, dinner, cook, 2))
    assert sorted(isinstance(result, AmendmentOpen) for result in (first, second)) == [False, True]
    assert states(dinner) == ["proposed"]
    settle()
    assert audit() == []


@pytest.mark.parametrize(
    ("state", "status"),
    [(placed, "pending_payment"), (paid, "paid"), (delivering, "delivering"), (completed, "completed")],
)
def test_only_what_is_being_cooked_is_amended(
    state: Callable[..., int], status: str, mei: Person, stall: Stall, lan: Person
) -> None:
    people = (mei, stall) if state in (placed, paid) else (mei, stall, lan)
    order_id = state(*people)
    with pytest.raises(InvalidTransition) as refusal:
        propose(order_id, lan)
    assert refusal.value.extra == {"order_status": status, "transition": "amend"}


@pytest.mark.parametrize(
    ("line", "quantity", "field"), [(3, 1, "line"), (0, 1, "line"), (1, 3, "quantity"), (1, 0, "quantity")]
)
def test_what_is_not_in_the_order_is_not_taken_away(
    line: int, quantity: int, field: str, dinner: int, lan: Person
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        propose(dinner, lan, line, quantity)
    assert set(refusal.value.errors or {}) == {field}
    assert states(dinner) == []


def test_everything_is_dropped_by_cancelling(dinner: int, lan: Person) -> None:
    swap(dinner, lan, line=1, quantity=2)
    with pytest.raises(AmendmentNotPossible):
        propose(dinner, lan, line=2, quantity=3)
    swap(dinner, lan, n=2, line=2, quantity=2)
    assert net(dinner) == [("米饭", 1, "2.00")]


def test_something_is_left_to_pay(mei: Person, lan: Person) -> None:
    shop = factories.stall("白送", delivery_fee=0, packing_fee=0)
    gift = make_dish(Shop.objects.get(pk=shop.shop_id), "小菜", "0.00").pk
    boss = works_at(shop.shop_id, "manager", "boss")
    order_id = accepted(mei, shop, boss, (shop.fish, 1), (gift, 1))
    for instead in (None, gift):
        with pytest.raises(AmendmentNotPossible):
            propose(order_id, boss, replacement=instead)
    assert audit() == []


@pytest.mark.parametrize("limited", ["the dish", "a part of it"])
def test_a_counted_dish_comes_in_for_nothing(limited: str, dinner: int, stall: Stall, lan: Person) -> None:
    tofu = Item.objects.get(pk=stall.tofu)
    instead = stall.tofu if limited == "the dish" else make_set_meal(tofu.shop, [(tofu, 1)]).pk
    menu.services.set_stock(item_id=stall.tofu, available=5)
    with pytest.raises(ValidationFailed) as refusal:
        propose(dinner, lan, replacement=instead)
    assert "麻婆豆腐" in (refusal.value.errors or {})["replacement"][0]
    assert factories.stock(stall.tofu) == (5, 0, 0)


def test_what_is_off_sale_elsewhere_or_has_to_be_chosen_comes_in_for_nothing(
    dinner: int, stall: Stall, lan: Person
) -> None:
    spicy = make_dish(Shop.objects.get(pk=stall.shop_id), "水煮牛肉", "30.00")
    make_group(spicy, "辣度", {"微辣": "0", "特辣": "2"}, least=1)
    menu.services.stop_selling(item_ids=[stall.tofu])
    for item in (stall.tofu, spicy.pk, factories.stall("隔壁").fish, 10**12):
        with pytest.raises(ValidationFailed) as refusal:
            propose(dinner, lan, replacement=item)
        assert set(refusal.value.errors or {}) == {"replacement"}
    assert states(dinner) == []


def test_a_dish_is_not_swapped_for_itself(dinner: int, stall: Stall, lan: Person) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        propose(dinner, lan, replacement=stall.fish)
    assert set(refusal.value.errors or {}) == {"replacement"}


def test_a_long_reason_is_cut(dinner: int, lan: Person) -> None:
    assert propose(dinner, lan, reason="忙" * 300)["reason"] == "忙" * 200


# --- who may ---


@pytest.mark.parametrize(("role", "may"), [("manager", True), ("front_desk", True), ("kitchen", True), ("courier", 0)])
def test_which_roles_propose(role: str, may: bool, dinner: int, stall: Stall) -> None:
    who = works_at(stall.shop_id, role, "wu")
    if may:
        propose(dinner, who)
    else:
        with pytest.raises(PermissionRefused):
            propose(dinner, who)
    assert states(dinner) == ["proposed"] * bool(may)


def test_another_shops_staff_and_customers_find_no_such_order(dinner: int, mei: Person, tao: Person) -> None:
    neighbour = works_at(factories.stall("隔壁").shop_id, "manager", "neighbour")
    for who in (neighbour, mei, tao):
        with pytest.raises(NotFound):
            propose(dinner, who)
    with pytest.raises(NotFound):
        propose(ids.new_id(3), neighbour)


def test_nobody_answers_for_somebody_else(dinner: int, tao: Person, lan: Person) -> None:
    propose(dinner, lan)
    for who in (tao, lan):
        with pytest.raises(NotFound):
            services.answer_amendment(order_id=dinner, user_id=who.id, n=1, accept=True)
    assert states(dinner) == ["proposed"]


def test_what_nobody_proposed_is_not_found(dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    for n in (0, 2, 10**9):
        with pytest.raises(NotFound):
            answer(dinner, n)


# --- answering ---


def test_a_swap_refunds_the_difference(dinner: int, stall: Stall, lan: Person) -> None:
    swap(dinner, lan, replacement=stall.tofu)
    row = order(dinner)
    assert (row.status, row.payment_status, row.total) == ("accepted", "paid", Decimal("129.00"))
    assert (row.refunded_part, row.net_total, row.version) == (Decimal("38.00"), Decimal("91.00"), 5)
    assert net(dinner) == [("酸菜鱼", 1, "56.00"), ("米饭", 3, "6.00"), ("麻婆豆腐", 1, "18.00")]
    assert list(OrderLine.objects.of_order(dinner).values_list("quantity", flat=True)) == [2, 3]
    assert (services.open_proposal(dinner), timer("order.amend", dinner)) == (None, None)
    settle()
    assert refunds_of(dinner) == [(Decimal("38.00"), "amend", "succeeded")]
    assert order(dinner).payment_status == "paid"
    assert audit() == []


def test_a_dearer_dish_costs_nothing_more(dinner: int, stall: Stall, lan: Person) -> None:
    assert propose(dinner, lan, 2, 2, replacement=stall.fish)["refund"] == "0.00"
    answer(dinner)
    assert net(dinner)[1:] == [("米饭", 1, "2.00"), ("酸菜鱼", 2, "4.00")]
    settle()
    assert (order(dinner).refunded_part, refunds_of(dinner), audit()) == (0, [], [])


def test_a_part_of_a_quantity_is_dropped(dinner: int, lan: Person) -> None:
    swap(dinner, lan, line=2, quantity=2)
    assert net(dinner) == [("酸菜鱼", 2, "112.00"), ("米饭", 1, "2.00")]
    assert order(dinner).net_total == Decimal("125.00")
    settle()
    assert audit() == []


def test_what_came_instead_may_be_amended_again(dinner: int, stall: Stall, lan: Person) -> None:
    swap(dinner, lan, line=1, quantity=2, replacement=stall.tofu)
    number = services.snapshot_of(order(dinner))["lines"][-1]["n"]
    proposal = propose(dinner, lan, number, replacement=stall.rice)
    assert (proposal["name"], proposal["refund"]) == ("麻婆豆腐", "16.00")
    answer(dinner, 2)
    assert net(dinner) == [("米饭", 3, "6.00"), ("麻婆豆腐", 1, "18.00"), ("米饭", 1, "2.00")]
    settle()
    assert sorted(amount for amount, *_ in refunds_of(dinner)) == [Decimal("16.00"), Decimal("76.00")]
    assert order(dinner).net_total == Decimal("37.00")
    assert audit() == []


def test_a_set_meal_comes_with_its_parts(dinner: int, stall: Stall, lan: Person) -> None:
    tofu = Item.objects.get(pk=stall.tofu)
    swap(dinner, lan, replacement=make_set_meal(tofu.shop, [(tofu, 2)]).pk)
    (meal,) = [line for line in services.snapshot_of(order(dinner))["lines"] if line["kind"] == "set_meal"]
    assert meal["components"] == [{"item": stall.tofu, "name": "麻婆豆腐", "quantity": 2}]


def test_declined_the_order_goes_on_unchanged(dinner: int, lan: Person) -> None:
    before = net(dinner)
    propose(dinner, lan)
    answer(dinner, accept=False)
    assert (states(dinner), net(dinner), order(dinner).version) == (["declined"], before, 5)
    assert timer("order.amend", dinner) is None
    settle()
    assert (refunds_of(dinner), audit()) == ([], [])


@pytest.mark.parametrize("accept", [True, False])
def test_the_same_answer_twice_is_one(accept: bool, dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    first, again = (answer(dinner, accept=accept) for _ in range(2))
    assert first.version == again.version == 5
    with pytest.raises(AmendmentClosed):
        answer(dinner, accept=not accept)
    settle()
    assert (len(refunds_of(dinner)), audit()) == (int(accept), [])


def test_of_two_answers_at_once_one_counts(dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    results = at_once(partial(answer, dinner, accept=True), partial(answer, dinner, accept=False))
    assert [type(result) for result in results if isinstance(result, Exception)] == [AmendmentClosed]
    settle()
    assert len(refunds_of(dinner)) == (states(dinner) == ["accepted"])
    assert audit() == []


def test_of_the_same_answers_at_once_one_refunds(dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    results = at_once(*[partial(answer, dinner)] * 3)
    assert not [result for result in results if isinstance(result, Exception)]
    settle()
    assert (len(refunds_of(dinner)), order(dinner).net_total, audit()) == (1, Decimal("73.00"), [])


# --- not answering ---


def test_unanswered_it_expires_and_the_order_goes_on(dinner: int, mei: Person, lan: Person) -> None:
    before = net(dinner)
    propose(dinner, lan)
    too_late(dinner)
    with pytest.raises(AmendmentClosed):
        answer(dinner)
    assert timers.sweep(mei.shard) == 1
    assert (states(dinner), net(dinner), order(dinner).version) == (["expired"], before, 5)
    for accept in (True, False):
        with pytest.raises(AmendmentClosed):
            answer(dinner, accept=accept)
    settle()
    assert (refunds_of(dinner), audit()) == ([], [])


def test_a_timer_that_fires_late_leaves_the_next_proposal_alone(dinner: int, mei: Person, lan: Person) -> None:
    propose(dinner, lan)
    answer(dinner, accept=False)
    propose(dinner, lan)
    with transaction.atomic(using=mei.shard):
        amending.expire([dinner], using=mei.shard, now=db_now(mei.shard))
    assert states(dinner) == ["declined", "proposed"]
    assert timer("order.amend", dinner) is not None


def test_a_proposal_forgotten_by_the_clock_is_found(dinner: int, mei: Person, lan: Person) -> None:
    propose(dinner, lan)
    settle()
    Amendment.objects.of_order(dinner).update(answer_by=db_now(mei.shard) - timedelta(seconds=61))
    assert audit() == [f"I4 order {dinner}: a proposal waits past its time [{mei.shard}]"]


def test_an_amount_that_nobody_agreed_to_is_found(dinner: int, lan: Person) -> None:
    swap(dinner, lan)
    settle()
    Order.objects.by_id(dinner).update(refunded_part=0)
    assert [found.partition(" ")[0] for found in audit()] == ["I3", "I3", "I10"]


# --- what else happens to the order ---


@pytest.mark.parametrize("what", ["deliver", "withdraw"])
def test_whatever_ends_the_cooking_ends_the_proposal(what: str, dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    act = getattr(services, what)
    act(order_id=dinner, staff_id=lan.id, **({"reason": "打翻了"} if what == "withdraw" else {}))
    assert (states(dinner), timer("order.amend", dinner)) == (["expired"], None)
    with pytest.raises(AmendmentClosed):
        answer(dinner)
    assert services.snapshot_of(order(dinner))["proposal"] is None
    settle()
    assert audit() == []


def test_a_delivery_that_wins_the_race_leaves_nothing_to_answer(dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    deliver = partial(services.deliver, order_id=dinner, staff_id=lan.id)
    with just_before(amending, "run_atomic", deliver), pytest.raises(AmendmentClosed):
        answer(dinner)
    settle()
    assert (refunds_of(dinner), audit()) == ([], [])


@pytest.mark.parametrize("end", ["deliver", "withdraw"])
def test_an_answer_and_an_end_at_once_agree(end: str, mei: Person, stall: Stall, lan: Person) -> None:
    reason = {"reason": "打翻了"} if end == "withdraw" else {}
    for key in ("1", "2", "3"):
        order_id = accepted(mei, stall, lan, (stall.fish, 2), key=key)
        propose(order_id, lan)
        stop = partial(getattr(services, end), order_id=order_id, staff_id=lan.id, **reason)
        answered, ended = at_once(partial(answer, order_id), stop)
        assert not isinstance(ended, Exception)
        assert states(order_id) == ["expired" if isinstance(answered, AmendmentClosed) else "accepted"]
    settle()
    assert audit() == []


@pytest.mark.parametrize("refunded_first", [True, False])
def test_cancelled_after_a_swap_the_rest_goes_back(
    refunded_first: bool, dinner: int, stall: Stall, lan: Person
) -> None:
    swap(dinner, lan, replacement=stall.tofu)
    if refunded_first:
        settle()
    services.withdraw(order_id=dinner, staff_id=lan.id, reason="打翻了")
    settle()
    row = order(dinner)
    assert (row.status, row.payment_status) == ("cancelled", "refunded")
    assert [(amount, purpose) for amount, purpose, _ in refunds_of(dinner)] == [
        (Decimal("38.00"), "amend"),
        (Decimal("91.00"), "cancel"),
    ]
    assert audit() == []


def test_after_a_swap_a_second_payment_goes_back_whole(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = placed(mei, stall, (stall.fish, 1), (stall.rice, 1))
    first, second = factories.start_payment(order_id), factories.start_payment(order_id, key="again")
    factories.capture(first)
    services.accept(order_id=order_id, staff_id=lan.id)
    factories.capture(second)
    swap(order_id, lan, replacement=stall.tofu)
    settle()
    assert sorted(refunds_of(order_id)) == [
        (Decimal("38.00"), "amend", "succeeded"),
        (order(order_id).total, "duplicate", "succeeded"),
    ]
    assert audit() == []


def test_a_key_is_replayed_as_the_order_stood_at_first(mei: Person, stall: Stall, lan: Person) -> None:
    first = factories.place(mei, stall, (stall.fish, 2))
    factories.capture(factories.start_payment(first.order_id))
    services.accept(order_id=first.order_id, staff_id=lan.id)
    swap(first.order_id, lan)
    assert factories.place(mei, stall, (stall.fish, 2)).document == first.document


# --- the shop's side ---


def test_the_kitchen_sees_what_is_to_be_cooked(dinner: int, stall: Stall, lan: Person) -> None:
    propose(dinner, lan, replacement=stall.tofu)
    settle()
    assert on_desk(dinner) == [("酸菜鱼", 2, "112.00"), ("米饭", 3, "6.00")]
    answer(dinner)
    settle()
    row = DeskOrder.objects.get(order_id=dinner)
    assert on_desk(dinner) == [("酸菜鱼", 1, "56.00"), ("米饭", 3, "6.00"), ("麻婆豆腐", 1, "18.00")]
    assert (row.version, row.total) == (5, Decimal("129.00"))
    told = list(BoardEvent.objects.filter(subject_id=dinner).order_by("n").values_list("kind", flat=True))
    assert told == ["new_order", "change", "change", "change"]


def test_news_of_an_older_release_is_understood(dinner: int, lan: Person) -> None:
    swap(dinner, lan)
    old = services.snapshot_of(order(dinner))
    del old["net_total"], old["proposal"]
    assert desk.apply(old)
    assert on_desk(dinner) == net(dinner)


def test_a_desk_made_anew_has_the_corrected_lines(dinner: int, stall: Stall, lan: Person) -> None:
    swap(dinner, lan, replacement=stall.tofu)
    settle()
    before = on_desk(dinner)
    DeskOrder.objects.all().delete()
    call_command("desk", "rebuild")
    assert on_desk(dinner) == before
    services.deliver(order_id=dinner, staff_id=lan.id)
    settle()
    assert (on_desk(dinner), audit()) == (before, [])


def test_staff_propose_by_the_api(dinner: int, mei: Person, stall: Stall, lan: Person) -> None:
    body = {"line": 1, "quantity": 1, "replacement": stall.tofu, "reason": "鱼卖完了"}
    path = f"staff/orders/{dinner}/amendments/"
    answered = lan.api.post(path, body)
    assert (answered.status_code, read(answered)["refund"]) == (201, "38.00")
    assert DeskOrder.objects.get(order_id=dinner).version == 4
    assert problem(lan.api.post(path, body)) == (409, "amendment_open")
    for bad in ({"line": 0}, {"quantity": True}, {"replacement": "1"}, {"reason": "忙" * 201}, {"line": None}):
        assert problem(lan.api.post(path, body | bad)) == (400, "validation_error")
    answer(dinner)
    assert problem(lan.api.post(path, {"line": 1, "quantity": 99})) == (400, "validation_error")
    assert problem(works_at(stall.shop_id, "courier").api.post(path, body)) == (403, "permission_denied")
    assert problem(mei.api.post(path, body)) == (404, "not_found")


def test_the_board_lists_what_is_to_be_cooked(dinner: int, stall: Stall, lan: Person) -> None:
    swap(dinner, lan, replacement=stall.tofu)
    desk.rebuild()
    (row,) = read(lan.api.get("staff/orders/"))["results"]
    assert [line["name"] for line in row["lines"]] == ["酸菜鱼", "米饭", "麻婆豆腐"]


# --- the customer's side ---


def test_customers_answer_by_the_api(dinner: int, mei: Person, tao: Person, stall: Stall, lan: Person) -> None:
    proposal = propose(dinner, lan, replacement=stall.tofu)
    assert read(mei.api.get(f"orders/{dinner}/"))["amendments"] == [proposal]
    path = f"orders/{dinner}/amendments/1/"
    assert problem(tao.api.post(path, {"accept": True})) == (404, "not_found")
    assert problem(mei.api.post(path, {})) == (400, "validation_error")
    assert problem(mei.api.post(f"orders/{dinner}/amendments/2/", {"accept": True})) == (404, "not_found")
    for _time in range(2):
        document = read(mei.api.post(path, {"accept": True}))
        assert (document["total"], document["refunded_part"], document["net_total"]) == ("129.00", "38.00", "91.00")
        assert document["amendments"] == [proposal | {"state": "accepted"}]
        assert [cell(line) for line in document["lines"]] == [("酸菜鱼", 2, "112.00"), ("米饭", 3, "6.00")]
    assert problem(mei.api.post(path, {"accept": False})) == (409, "amendment_closed")


def test_whoever_follows_the_order_hears_of_it(dinner: int, lan: Person) -> None:
    propose(dinner, lan)
    assert [(n, kind) for n, kind, _ in services.changes_since(order_id=dinner, seen=3)] == [(4, "update")]


def test_sums_are_of_what_is_left(dinner: int, stall: Stall, lan: Person) -> None:
    settle()
    swap(dinner, lan)
    settle()
    row = DeskOrder.objects.get(order_id=dinner)
    assert row.net == order(dinner).net_total < row.total
    shown: Any = lan.api.get("staff/orders/?status=accepted")
    (document,) = shown.json()["results"]
    assert (document["total"], document["net_total"]) == (str(row.total), str(row.net))
    boss = Client()
    boss.force_login(lan.user)
    got: Any = boss.post("/admin/desk/deskorder/", {"action": "export", "_selected_action": [dinner]})
    (cells,) = list(csv.reader(got.getvalue().decode("utf-8-sig").splitlines()))[1:]
    assert {str(row.total), str(row.net)} <= set(cells)
    assert audit() == []
    DeskOrder.objects.filter(order_id=dinner).update(net_total=row.total)
    assert any("the desk says" in line for line in audit())
