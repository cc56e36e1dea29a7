from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

import menu.services
from orders import saga, services
from orders.states import Status
from tests.accounts.factories import Api, problem, read
from tests.factories import (
    Person,
    Stall,
    completed,
    crash_before,
    neighbour_of,
    numbers,
    order,
    orders_of,
    paid,
    place,
    placed,
    start_payment,
)
from tests.support.browsing import Browser
from waimai.infra import ids
from waimai.infra.sharding import forget_bucket_map

pytestmark = pytest.mark.data


def listed(who: Person, query: str = "") -> list[int]:
    return numbers(read(who.api.get(f"orders/{query}"))["results"])


def statements(who: Person, path: str) -> int:
    """How many statements an answer takes, on all databases."""
    forget_bucket_map()  # Read again by the first call, or it might come due between the two.
    assert who.api.get(path).status_code == 200  # Logged in, maps and menus read.
    captures = [CaptureQueriesContext(connections[alias]) for alias in ("default", "orders_0", "orders_1")]
    for capture in captures:
        capture.__enter__()
    who.api.get(path)
    for capture in captures:
        capture.__exit__(None, None, None)
    return sum(len(capture) for capture in captures)


def test_the_newest_comes_first(mei: Person, stall: Stall) -> None:
    made = [placed(mei, stall, key=f"k-{n}") for n in range(3)]
    assert listed(mei) == made[::-1]


def test_what_was_refused_while_it_was_placed_is_in_no_list(mei: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=0)
    with pytest.raises(menu.services.SoldOut):
        place(mei, stall, key="k-1")
    made = placed(mei, stall, (stall.tofu, 2), key="k-2")
    services.cancel(order_id=made, user_id=mei.id)
    (refused,) = set(orders_of(mei)) - {made}
    assert (listed(mei), listed(mei, "?status=cancelled")) == ([made], [made])
    browser = Browser(mei.user)
    for tab in ("", "cancelled"):
        html = browser.open(f"/orders/?show={tab}").html
        assert (f"/orders/{made}/" in html, f"/orders/{refused}/" in html) == (True, False)
    # It is kept, so it is told to who asks for it, or for everything.
    assert read(mei.api.get(f"orders/{refused}/"))["status"] == "cancelled"
    assert str(refused) in "".join(services.my_data(user_id=mei.id))


def test_nobody_sees_someone_elses(mei: Person, tao: Person, stall: Stall) -> None:
    placed(mei, stall)
    assert listed(tao) == []


def test_neighbours_on_one_shard_are_kept_apart(mei: Person, stall: Stall) -> None:
    neighbour = neighbour_of(mei, same_shard=True)
    mine, theirs = placed(mei, stall), placed(neighbour, stall)
    assert (listed(mei), listed(neighbour)) == ([mine], [theirs])


@pytest.mark.parametrize("status", Status.values)
def test_a_list_of_one_state(status: str, mei: Person, stall: Stall, lan: Person) -> None:
    states = {
        "pending_payment": placed(mei, stall, key="k-1"),
        "paid": paid(mei, stall, key="k-2"),
        "completed": completed(mei, stall, lan, key="k-3"),
    }
    assert listed(mei, f"?status={status}") == [order_id for name, order_id in states.items() if name == status]


def test_a_state_that_is_none(mei: Person) -> None:
    answer = mei.api.get("orders/?status=eaten")
    assert (problem(answer), list(read(answer)["errors"])) == ((400, "validation_error"), ["status"])


def test_an_order_that_is_still_being_placed_is_not_listed(mei: Person, stall: Stall) -> None:
    import menu.services

    menu.services.set_stock(item_id=stall.fish, available=5)
    with crash_before(saga, "reserve"):
        place(mei, stall)
    assert listed(mei) == []


def test_pages_follow_each_other(mei: Person, stall: Stall) -> None:
    made = [placed(mei, stall, key=f"k-{n}") for n in range(5)][::-1]
    pages = []
    url: str | None = "orders/?page_size=2"
    while url:
        page = read(mei.api.get(url))
        pages.append(numbers(page["results"]))
        url = page["next"] and page["next"].partition("/api/v1/")[2]
    assert pages == [made[:2], made[2:4], made[4:]]


def test_an_order_made_meanwhile_moves_nothing(mei: Person, stall: Stall) -> None:
    made = [placed(mei, stall, key=f"k-{n}") for n in range(4)][::-1]
    first = read(mei.api.get("orders/?page_size=2"))
    placed(mei, stall, key="k-9")
    second = read(mei.api.get(first["next"].partition("/api/v1/")[2]))
    assert numbers(second["results"]) == made[2:]


def test_fifty_orders_take_as_many_statements_as_one(mei: Person, tao: Person, stall: Stall) -> None:
    placed(tao, stall)
    for number in range(50):
        placed(mei, stall, (stall.fish, 1), (stall.rice, 2), key=f"k-{number}")
    one = statements(tao, "orders/?page_size=100")
    assert len(listed(mei, "?page_size=100")) == 50
    # A page that isn't full has looked at the last two months first, and then at all.
    assert statements(mei, "orders/?page_size=100") == one <= 6


def test_one_order_takes_few_statements_however_many_lines(mei: Person, stall: Stall) -> None:
    small, large = placed(mei, stall, key="k-1"), placed(mei, stall, *[(stall.fish, 1)] * 20, key="k-2")
    assert statements(mei, f"orders/{small}/") == statements(mei, f"orders/{large}/") <= 5


def test_the_timeline_has_every_change_oldest_first(mei: Person, stall: Stall, lan: Person) -> None:
    timeline = read(mei.api.get(f"orders/{completed(mei, stall, lan)}/"))["timeline"]
    assert [(change["status"], change["actor"]) for change in timeline] == [
        ("pending_payment", "customer"),
        ("paid", "payment"),
        ("accepted", "staff"),
        ("delivering", "staff"),
        ("completed", "staff"),
    ]
    moments = [datetime.fromisoformat(change["at"]) for change in timeline]
    assert moments == sorted(moments)


def test_the_customer_reads_no_numbers_of_staff(mei: Person, stall: Stall, lan: Person) -> None:
    document = read(mei.api.get(f"orders/{completed(mei, stall, lan)}/"))
    assert set(document["timeline"][2]) == {"status", "at", "actor", "reason"}
    assert "user_id" not in document


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_programs_read_the_same_in_every_language(language: str, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    document = read(mei.api.get(f"orders/{order_id}/", Accept_Language=language))
    assert (document["status"], document["total"], document["id"]) == ("pending_payment", "63.00", order_id)


# --- what is someone else's is not there ---


def calls(order_id: int, payment_id: int) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"orders/{order_id}/", None),
        ("POST", f"orders/{order_id}/pay/", {"provider": "sandbox"}),
        ("POST", f"orders/{order_id}/cancel/", {}),
        ("POST", f"orders/{order_id}/remind/", None),
        ("POST", f"orders/{order_id}/reorder/", None),
        ("POST", f"payments/sandbox/{payment_id}/", {"outcome": "success"}),
    ]


@pytest.mark.parametrize("number", range(6))
def test_someone_elses_order_and_payment_are_not_found(number: int, mei: Person, tao: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    method, path, body = calls(order_id, start_payment(order_id))[number]
    before = order(order_id)
    answer = tao.api.call(method, path, body, Idempotency_Key="p-9")
    assert problem(answer) == (404, "not_found")
    assert (order(order_id).status, order(order_id).version) == (before.status, before.version)


@pytest.mark.parametrize("number", range(6))
def test_an_order_that_never_was_answers_alike(number: int, mei: Person, tao: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    method, path, body = calls(order_id, start_payment(order_id))[number]
    nobodys = ids.new_id(ids.bucket_of(order_id))
    other = path.replace(str(order_id), str(nobodys)) if str(order_id) in path else f"payments/sandbox/{nobodys}/"
    theirs = tao.api.call(method, path, body, Idempotency_Key="p-9")
    none = tao.api.call(method, other, body, Idempotency_Key="p-9")
    assert (theirs.status_code, theirs.content) == (none.status_code, none.content)


@pytest.mark.parametrize("number", range(6))
def test_nobody_does_anything_without_a_login(number: int, mei: Person, stall: Stall) -> None:
    order_id = placed(mei, stall)
    method, path, body = calls(order_id, start_payment(order_id))[number]
    assert problem(Api().call(method, path, body)) == (401, "not_authenticated")


@pytest.mark.parametrize("number", ["0", "1", "9007199254740993", "99999999999999999999999"])
def test_numbers_of_nobodys_making_are_not_found(number: str, mei: Person) -> None:
    assert problem(mei.api.get(f"orders/{number}/")) == (404, "not_found")


def test_staff_read_a_customers_order_on_the_board_only(mei: Person, stall: Stall, lan: Person) -> None:
    assert problem(lan.api.get(f"orders/{paid(mei, stall)}/")) == (404, "not_found")


def test_an_unknown_order_is_not_found_by_the_service(mei: Person) -> None:
    from waimai.infra.errors import NotFound

    with pytest.raises(NotFound):
        services.get_order(order_id=ids.new_id(5), user_id=mei.id)
