from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import menu.services
from accounts.models import User
from tests import factories
from tests.accounts.factories import Api, problem, read
from tests.factories import (
    Person,
    Stall,
    accepted,
    completed,
    delivering,
    history,
    numbers,
    order,
    paid,
    placed,
    refunds_of,
    relay,
    settle,
    stock,
    works_at,
)
from waimai.infra import ids

pytestmark = pytest.mark.data
ROLES = {
    "manager": {"accept", "reject", "deliver", "complete", "cancel"},
    "front_desk": {"accept", "reject", "deliver", "cancel"},
    "kitchen": {"accept"},
    "courier": {"deliver", "complete"},
}
ACTIONS = {
    "accept": (paid, "accepted"),
    "reject": (paid, "cancelled"),
    "deliver": (accepted, "delivering"),
    "complete": (delivering, "completed"),
    "cancel": (accepted, "cancelled"),
}


def ready_for(action: str, who: Person, at: Stall, by: Person) -> int:
    """An order in a state where staff may do this."""
    state: Any = ACTIONS[action][0]
    return state(who, at) if state is paid else state(who, at, by)


def do(who: Person, order_id: int, action: str, body: Any = None) -> Any:
    return who.api.post(f"staff/orders/{order_id}/{action}/", {"reason": "太忙了"} if body is None else body)


def test_the_board_shows_what_staff_need(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall, note="不要葱", tableware=2)
    relay()
    (it,) = read(lan.api.get("staff/orders/"))["results"]
    (line,) = it.pop("lines")
    assert (line["name"], line["quantity"], line["amount"]) == ("酸菜鱼", 1, "56.00")
    assert it.pop("placed_at") < it.pop("paid_at")
    assert it == {
        "id": order_id,
        "shop": stall.shop_id,
        "shop_name": "川味小馆",
        "status": "paid",
        "payment_status": "paid",
        "total": "63.00",
        "net_total": "63.00",
        "contact": {"name": "梅", "phone": "13911110001", "address": "北京市朝阳区建国路 88 号"},
        "note": "不要葱",
        "tableware": 2,
        "deliver_at": None,
        "promised_at": None,
        "reminded_at": None,
        "allowed_actions": ["accept", "reject", "cancel"],
    }


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", ROLES)
def test_who_may_do_what(role: str, action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = ready_for(action, mei, stall, lan)
    before = history(order_id)
    somebody = works_at(stall.shop_id, role)
    answer = do(somebody, order_id, action)
    if action in ROLES[role]:
        assert (answer.status_code, read(answer)["status"]) == (200, ACTIONS[action][1])
        assert history(order_id) == [*before, ACTIONS[action][1]]
    else:
        assert problem(answer) == (403, "permission_denied")
        assert history(order_id) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_the_boss_may_do_everything(action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = ready_for(action, mei, stall, lan)
    boss = Person(User.objects.create_superuser("boss"))
    assert do(boss, order_id, action).status_code == 200


@pytest.mark.parametrize("action", ACTIONS)
def test_for_staff_of_another_shop_it_is_not_there(action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = ready_for(action, mei, stall, lan)
    before = history(order_id)
    other = works_at(factories.stall("粤味小馆").shop_id, "manager", "wu")
    theirs, none = do(other, order_id, action), do(other, ids.new_id(1), action)
    assert problem(theirs) == (404, "not_found")
    assert theirs.content == none.content
    assert history(order_id) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_customers_do_nothing_on_the_board(action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = ready_for(action, mei, stall, lan)
    assert problem(do(mei, order_id, action)) == (404, "not_found")


@pytest.mark.parametrize("action", ACTIONS)
def test_nobody_does_anything_without_a_login(action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = ready_for(action, mei, stall, lan)
    assert problem(Api().post(f"staff/orders/{order_id}/{action}/", {"reason": "x"})) == (401, "not_authenticated")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_person_who_was_switched_off_does_nothing(action: str, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = ready_for(action, mei, stall, lan)
    assert lan.api.headers
    User.objects.filter(pk=lan.id).update(is_active=False)
    assert do(lan, order_id, action).status_code == 401


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (paid, ["deliver", "complete"]),
        (accepted, ["accept", "reject", "complete"]),
        (delivering, ["accept", "reject", "deliver"]),
        (completed, ["accept", "reject", "deliver", "complete", "cancel"]),
    ],
)
def test_what_does_not_fit_the_state_is_refused(
    state: Callable[..., int], refused: list[str], mei: Person, stall: Stall, lan: Person
) -> None:
    order_id = state(mei, stall) if state is paid else state(mei, stall, lan)
    before = history(order_id)
    for action in refused:
        answer = do(lan, order_id, action)
        assert problem(answer) == (409, "invalid_transition"), action
        assert read(answer)["order_status"] == before[-1]
    assert history(order_id) == before


def test_an_unpaid_order_is_not_the_shops_yet(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = placed(mei, stall)
    assert problem(do(lan, order_id, "accept")) == (409, "invalid_transition")
    assert problem(do(lan, order_id, "cancel")) == (409, "invalid_transition")
    assert order(order_id).status == "pending_payment"


def test_minutes_are_promised(mei: Person, stall: Stall, lan: Person) -> None:
    document = read(do(lan, paid(mei, stall), "accept", {"minutes": 15}))
    assert document["promised_at"] is not None
    assert document["allowed_actions"] == ["deliver", "cancel"]


@pytest.mark.parametrize("minutes", [0, 1441, -1, "15", 1.5, True])
def test_minutes_that_make_no_sense(minutes: Any, mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    answer = do(lan, order_id, "accept", {"minutes": minutes})
    assert (problem(answer), list(read(answer)["errors"])) == ((400, "validation_error"), ["minutes"])
    assert order(order_id).status == "paid"


def test_nothing_needs_to_be_said_to_accept(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    assert lan.api.post(f"staff/orders/{order_id}/accept/").status_code == 200


@pytest.mark.parametrize("action", ["reject", "cancel"])
@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": "忙" * 201}])
def test_a_shop_that_refuses_says_why(
    action: str, body: dict[str, Any], mei: Person, stall: Stall, lan: Person
) -> None:
    order_id = paid(mei, stall)
    answer = do(lan, order_id, action, body)
    assert (problem(answer), list(read(answer)["errors"])) == ((400, "validation_error"), ["reason"])
    assert order(order_id).status == "paid"


def test_a_rejected_order_is_refunded_and_its_customer_reads_why(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    answer = do(lan, order_id, "reject", {"reason": "菜品已销售完，暂时无法接单"})
    assert (read(answer)["payment_status"], read(answer)["allowed_actions"]) == ("refunding", [])
    settle()
    document = read(mei.api.get(f"orders/{order_id}/"))
    assert (document["status"], document["payment_status"]) == ("cancelled", "refunded")
    assert document["timeline"][-1]["reason"] == "菜品已销售完，暂时无法接单"
    assert [status for _, _, status in refunds_of(order_id)] == ["succeeded"]


@pytest.mark.parametrize(("restock", "left"), [(True, (5, 0, 0)), (False, (4, 0, 1)), (None, (4, 0, 1))])
def test_staff_say_whether_portions_go_back(
    restock: bool | None, left: tuple[int, int, int], mei: Person, stall: Stall, lan: Person
) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    order_id = accepted(mei, stall, lan)
    answer = do(lan, order_id, "cancel", {"reason": "打翻了", "restock": restock})
    assert (answer.status_code, stock(stall.fish)) == (200, left)


def test_the_second_of_two_who_accept_is_told(mei: Person, stall: Stall, lan: Person) -> None:
    order_id = paid(mei, stall)
    chef = works_at(stall.shop_id, "kitchen")
    assert do(lan, order_id, "accept").status_code == 200
    assert problem(do(chef, order_id, "accept")) == (409, "invalid_transition")
    assert history(order_id).count("accepted") == 1


# --- the list ---


def test_the_longest_waiting_comes_first_page_by_page(mei: Person, stall: Stall, lan: Person) -> None:
    made = [paid(mei, stall, key=f"k-{n}") for n in range(5)]
    relay()
    pages = []
    url: str | None = "staff/orders/?page_size=2"
    while url:
        page = read(lan.api.get(url))
        pages.append(numbers(page["results"]))
        url = page["next"] and page["next"].partition("/api/v1/")[2]
    assert pages == [made[:2], made[2:4], made[4:]]


def test_orders_paid_at_one_moment_are_none_lost(mei: Person, stall: Stall, lan: Person) -> None:
    from orders.desk.models import DeskOrder

    made = [paid(mei, stall, key=f"k-{n}") for n in range(5)]
    relay()
    DeskOrder.objects.update(paid_at=order(made[0]).paid_at)
    seen: list[int] = []
    url: str | None = "staff/orders/?page_size=2"
    while url:
        page = read(lan.api.get(url))
        seen += numbers(page["results"])
        url = page["next"] and page["next"].partition("/api/v1/")[2]
    assert seen == made


def test_the_list_of_one_state_and_shop(mei: Person, stall: Stall, lan: Person) -> None:
    waiting, cooking = paid(mei, stall, key="k-1"), accepted(mei, stall, lan, key="k-2")
    relay()
    assert numbers(read(lan.api.get("staff/orders/?status=paid"))["results"]) == [waiting]
    assert numbers(read(lan.api.get(f"staff/orders/?status=accepted&shop={stall.shop_id}"))["results"]) == [cooking]
    assert read(lan.api.get("staff/orders/?shop=987654"))["results"] == []


@pytest.mark.parametrize("query", ["", "&status=paid"])
def test_naming_a_shop_opens_nobody_elses(mei: Person, stall: Stall, lan: Person, query: str) -> None:
    elsewhere = factories.stall("别家")
    paid(mei, elsewhere)
    relay()
    assert read(lan.api.get(f"staff/orders/?shop={elsewhere.shop_id}{query}"))["results"] == []


@pytest.mark.parametrize("query", ["status=eaten", "shop=x", "shop=-1", "shop=１"])
def test_a_filter_that_makes_no_sense(query: str, lan: Person) -> None:
    assert problem(lan.api.get(f"staff/orders/?{query}")) == (400, "validation_error")


def test_customers_have_no_board(mei: Person, stall: Stall) -> None:
    assert problem(mei.api.get("staff/orders/")) == (403, "permission_denied")


def test_staff_of_another_shop_see_nothing_of_ours(mei: Person, stall: Stall) -> None:
    paid(mei, stall)
    relay()
    other = works_at(factories.stall("粤味小馆").shop_id, "manager", "wu")
    assert read(other.api.get("staff/orders/"))["results"] == []
