"""The staff's screens without JavaScript: what stands on them, what their buttons do, and for whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

import menu.services
from menu.models import Item, Shop
from menu.services import LineRequest
from orders import services
from orders.desk import screens
from orders.desk import services as desk
from orders.desk.models import BoardEvent, DeskOrder, PickupCounter
from orders.models import Order
from payments.models import Refund
from tests.factories import (
    Person,
    Stall,
    accepted,
    at_once,
    audit,
    delivering,
    order,
    paid,
    placed,
    refunds_of,
    relay,
    settle,
    works_at,
)
from tests.factories import (
    stall as make_stall,
)
from tests.menu.factories import make_group, make_set_meal
from tests.support.browsing import Browser, Page
from waimai.infra.clock import db_now
from waimai.infra.sharding import DEFAULT

pytestmark = pytest.mark.data


@pytest.fixture
def kai(stall: Stall) -> Person:
    """A courier."""
    who = works_at(stall.shop_id, "courier", "kai")
    who.user.nickname = "阿凯"
    who.user.save()
    return who


@pytest.fixture
def board(lan: Person) -> Browser:
    """The manager's browser."""
    lan.user.nickname = "小兰"
    lan.user.save()
    return Browser(lan.user)


def shown(browser: Browser, path: str = "/board/") -> Page:
    page = browser.open(path)
    assert page.status == 200, page.text
    return page


def board_events(order_id: int) -> list[dict[str, Any]]:
    rows = BoardEvent.objects.filter(subject_id=order_id).order_by("n")
    return [desk.board_event_document(row) for row in rows]


def press(browser: Browser, order_id: int, action: str, **values: Any) -> Page:
    """Press a button of a card on the board."""
    page, path = shown(browser), f"/board/orders/{order_id}/{action}/"
    if action in {"reject", "cancel"}:
        # The reasons to touch; one's own words have a form of their own.
        token = next(form for form in page.forms if form.action.endswith(path)).values["csrfmiddlewaretoken"]
        sent = browser.client.post(path, {"csrfmiddlewaretoken": token, **values}, follow=True)
        return Page(sent, path)
    return browser.submit(page, path, values)


def number(order_id: int) -> int | None:
    return DeskOrder.objects.get(order_id=order_id).number


# --- what is seen ---


def test_a_card_says_all_the_shop_needs(stall: Stall, mei: Person, board: Browser, kai: Person) -> None:
    mild = make_group(_item(stall.fish), "辣度", {"微辣": "0"}, least=1)[0]
    mei.user.nickname = "阿梅"
    mei.user.save()
    asked = LineRequest(item_id=stall.fish, quantity=2, option_ids=(mild.pk,))
    order_id = paid(mei, stall, key="k", lines=(asked,), note="不要香菜", tableware=3)
    settle()
    text = shown(board).text
    wanted = (
        "#001",
        "2 × 酸菜鱼",
        "微辣",
        "备注：不要香菜",
        "餐具 3 份",
        "等待 0 分钟",
        "梅 (阿梅) 13911110001",
        "建国路 88 号",
    )
    assert [words for words in wanted if words not in text] == []
    assert order(order_id).status == "paid"


def _item(item_id: int) -> Any:
    return Item.objects.get(pk=item_id)


def test_set_meals_are_multiplied_out(stall: Stall, mei: Person, board: Browser, lan: Person) -> None:
    meal = make_set_meal(_shop(stall), [(_item(stall.fish), 1), (_item(stall.rice), 2)], "双人餐", "60.00")
    paid(mei, stall, (meal.pk, 3))
    settle()
    page = shown(board)
    assert "3 × 双人餐" in page.text
    assert "3 × 酸菜鱼" in page.text
    assert "6 × 米饭" in page.text


def _shop(stall: Stall) -> Any:
    return Shop.objects.get(pk=stall.shop_id)


def test_each_stands_in_its_column_oldest_first(
    stall: Stall, mei: Person, tao: Person, board: Browser, lan: Person
) -> None:
    first, second = paid(mei, stall, key="1"), paid(tao, stall, key="2")
    cooking, away = accepted(mei, stall, lan, key="3"), delivering(tao, stall, lan, key="4")
    settle()
    html = shown(board).html
    columns = [html.index(f'id="column-{status}"') for status in ("paid", "accepted", "delivering")]
    places = [html.index(f'data-order="{each}"') for each in (first, second, cooking, away)]
    assert columns[0] < places[0] < places[1] < columns[1] < places[2] < columns[2] < places[3]


def test_numbers_are_counted_per_shop_and_day_each_once(stall: Stall, mei: Person, tao: Person) -> None:
    other = make_stall("面馆")
    mine = [paid(mei, stall, key=str(n)) for n in range(3)]
    theirs = paid(tao, other, key="other")
    settle()
    assert [number(each) for each in mine] == [1, 2, 3]
    assert number(theirs) == 1
    desk.rebuild()
    assert [number(each) for each in mine] == [1, 2, 3]
    PickupCounter.objects.all().delete()
    assert number(mine[0]) == 1


def test_two_that_are_paid_at_once_get_two_numbers(stall: Stall, mei: Person, tao: Person) -> None:
    numbers = [paid(who, stall, key="k") for who in (mei, tao)]
    snapshots = [services.snapshot_of(order(each)) for each in numbers]
    assert at_once(*(lambda snapshot=each: desk.apply(snapshot) for each in snapshots)) == [True, True]
    assert sorted(number(each) or 0 for each in numbers) == [1, 2]


def test_what_was_reminded_and_cancelled_is_told(
    stall: Stall, mei: Person, tao: Person, board: Browser, lan: Person
) -> None:
    order_id = paid(mei, stall, key="1")
    services.remind(order_id=order_id, user_id=mei.id)
    gone = paid(tao, stall, key="2")
    services.cancel(order_id=gone, user_id=tao.id, reason="点错了")
    rejected = paid(tao, stall, key="3")
    desk.reject(order_id=rejected, staff_id=lan.id, reason="太忙")
    settle()
    page = shown(board)
    assert "催单" in page.text
    told = page.html.split('id="cancellations"', 1)[1]
    assert ("点错了" in told, "太忙" in told) == (True, False)


# --- what is done ---


def test_an_order_all_the_way(stall: Stall, mei: Person, board: Browser, kai: Person) -> None:
    order_id = paid(mei, stall)
    settle()
    press(board, order_id, "accept", minutes=45)
    promised, paid_at = order(order_id).promised_at, order(order_id).paid_at
    assert promised is not None
    assert paid_at is not None
    assert promised - paid_at > timedelta(minutes=44)
    page = press(board, order_id, "deliver", courier=kai.id)
    assert "骑手：阿凯" in page.text
    assert order(order_id).courier_id == kai.id
    page = press(board, order_id, "complete")
    assert "#001" not in page.text
    settle()
    assert (order(order_id).status, audit()) == ("completed", [])


@pytest.mark.parametrize("action", ["reject", "cancel"])
def test_a_reason_is_a_touch_or_ones_own_words(
    stall: Stall, mei: Person, board: Browser, lan: Person, action: str
) -> None:
    order_id = paid(mei, stall) if action == "reject" else accepted(mei, stall, lan)
    settle()
    page = press(board, order_id, action, own_reason="  ")
    assert "请说明原因" in page.text
    press(board, order_id, action, reason="dishes_gone")
    settle()
    assert services.last_change(order_id).reason == "dishes_gone"
    assert [amount for amount, _purpose, status in refunds_of(order_id) if status == "succeeded"] != []


def test_who_presses_second_hears_who_was_first(stall: Stall, mei: Person, board: Browser, kai: Person) -> None:
    order_id = paid(mei, stall)
    settle()
    seen = shown(board)
    colleague = works_at(stall.shop_id, "front_desk", "fei")
    colleague.user.nickname = "小飞"
    colleague.user.save()
    desk.accept(order_id=order_id, staff_id=colleague.id)
    page = board.submit(seen, f"/board/orders/{order_id}/accept/", {"minutes": 30})
    assert "没有执行：订单已由 小飞 于" in page.text
    assert "改为“已接单”" in page.text


def test_a_customer_who_was_faster_is_named_as_one(stall: Stall, mei: Person, board: Browser) -> None:
    order_id = paid(mei, stall)
    settle()
    seen = shown(board)
    services.cancel(order_id=order_id, user_id=mei.id)
    page = board.submit(seen, f"/board/orders/{order_id}/accept/", {"minutes": 30})
    assert "订单已由 顾客 于" in page.text


def test_only_a_courier_of_the_shop_brings_it(stall: Stall, mei: Person, board: Browser, lan: Person) -> None:
    stranger = works_at(make_stall("面馆").shop_id, "courier", "stranger")
    order_id = accepted(mei, stall, lan)
    settle()
    page = press(board, order_id, "deliver", courier=stranger.id)
    assert "请选择本店的骑手" in page.text
    assert order(order_id).status == "accepted"


def test_what_waits_is_never_hidden_by_what_is_on_its_way(
    stall: Stall, mei: Person, tao: Person, lan: Person, board: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screens, "MOST_CARDS", 2)
    for number in range(3):
        delivering(mei, stall, lan, key=f"away {number}")
    new = paid(tao, stall, key="new")
    settle()
    page = shown(board)
    assert page.has_form(f"/board/orders/{new}/accept/")
    assert 'data-new="1"' in page.html
    assert "还有 1 单没有显示" in page.text


def test_ones_own_reason_has_a_form_of_its_own(stall: Stall, mei: Person, board: Browser) -> None:
    order_id = paid(mei, stall)
    settle()
    forms = [form for form in shown(board).forms if form.action.endswith(f"/{order_id}/reject/")]
    assert [("own_reason" in form.values, any("name" in b for b in form.buttons)) for form in forms] == [
        (False, True),
        (True, False),
    ]


def test_times_are_those_of_the_shops_clock(stall: Stall, mei: Person, lan: Person, board: Browser) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(time_zone="Europe/London")
    menu.services.menu_changed(stall.shop_id)
    order_id = accepted(mei, stall, lan)
    settle()
    promised = order(order_id).promised_at
    assert promised is not None
    there = promised.astimezone(ZoneInfo("Europe/London"))
    assert f"承诺 {there:%H:%M} 送达" in shown(board).text


# --- swapping ---


def test_the_shop_asks_and_the_customer_decides(stall: Stall, mei: Person, board: Browser, lan: Person) -> None:
    order_id = accepted(mei, stall, lan, (stall.fish, 2), (stall.rice, 1))
    settle()
    wish = {"line": 1, "quantity": 1, "replacement": stall.tofu, "reason": "鱼卖完了"}
    page = board.submit(shown(board), f"/board/orders/{order_id}/amend/", wish)
    assert "等顾客答复：1 份酸菜鱼换成麻婆豆腐" in page.text
    assert not page.has_form(f"/board/orders/{order_id}/amend/")
    services.answer_amendment(order_id=order_id, user_id=mei.id, n=1, accept=True)
    settle()
    page = shown(board)
    assert "1 × 酸菜鱼" in page.text
    assert "1 × 麻婆豆腐" in page.text
    assert f"¥{order(order_id).net_total}" in page.text
    kitchen = shown(Browser(works_at(stall.shop_id, "kitchen", "chef").user), "/board/kitchen/")
    assert "1 × 麻婆豆腐" in kitchen.text
    assert audit() == []


def test_an_agreed_swap_makes_a_ticket_that_says_so(stall: Stall, mei: Person, board: Browser, lan: Person) -> None:
    order_id = accepted(mei, stall, lan, (stall.fish, 2), (stall.rice, 1))
    settle()
    printed = board.submit(shown(board), "/board/tickets/next/")
    assert "酸菜鱼 × 2" in printed.text
    board.submit(shown(board), f"/board/orders/{order_id}/amend/", {"line": 1, "quantity": 1})
    settle()
    assert "待打印" not in shown(board).text
    services.answer_amendment(order_id=order_id, user_id=mei.id, n=1, accept=True)
    settle()
    printed = board.submit(shown(board), "/board/tickets/next/")
    assert "更正单，请以此为准" in printed.text
    assert "酸菜鱼 × 1" in printed.text
    assert "补打" not in printed.text


def test_what_can_not_be_swapped_says_why(stall: Stall, mei: Person, board: Browser, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    page = board.submit(shown(board), f"/board/orders/{order_id}/amend/", {"line": 1, "quantity": "many"})
    assert "请选择商品和份数" in page.text
    page = board.submit(shown(board), f"/board/orders/{order_id}/amend/", {"line": 1, "quantity": 1})
    assert order(order_id).refunded_part == 0
    assert not DeskOrder.objects.get().proposal
    courier = Browser(works_at(stall.shop_id, "courier", "kai").user)
    assert not shown(courier).has_form(f"/board/orders/{order_id}/amend/")


# --- the kitchen, the courier ---


def test_the_kitchen_sees_dishes_longest_waiting_first(stall: Stall, mei: Person, tao: Person, lan: Person) -> None:
    meal = make_set_meal(_shop(stall), [(_item(stall.tofu), 1), (_item(stall.rice), 2)], "双人餐", "60.00")
    accepted(mei, stall, lan, (stall.fish, 2), key="1", note="少盐")
    settle()  # Of orders on two shards, either may be heard of first.
    accepted(tao, stall, lan, (meal.pk, 2), (stall.fish, 1), key="2")
    paid(tao, stall, (stall.tofu, 5), key="not yet")
    settle()
    page = shown(Browser(works_at(stall.shop_id, "kitchen", "chef").user), "/board/kitchen/")
    assert page.text.index("3 × 酸菜鱼") < page.text.index("2 × 麻婆豆腐") < page.text.index("4 × 米饭")
    assert "#001 #002" in page.text
    assert "备注：少盐" in page.text
    assert "5 ×" not in page.text


def test_the_kitchen_sees_later_what_is_for_later(stall: Stall, mei: Person, tao: Person, lan: Person) -> None:
    soon, tonight = accepted(mei, stall, lan, key="1"), accepted(tao, stall, lan, (stall.tofu, 2), key="2")
    settle()
    now, zone = db_now(DEFAULT), ZoneInfo("Asia/Shanghai")
    # The shop needs half an hour or so.
    DeskOrder.objects.filter(order_id=soon).update(deliver_at=now + timedelta(minutes=10))
    DeskOrder.objects.filter(order_id=tonight).update(deliver_at=now + timedelta(hours=6))
    page = shown(Browser(works_at(stall.shop_id, "kitchen", "chef").user), "/board/kitchen/")
    begin = page.text.index("稍后（预约）")
    assert page.text.index("酸菜鱼") < begin < page.text.index("麻婆豆腐")
    assert f"{(now + timedelta(hours=6)).astimezone(zone):%H:%M} 前送达" in page.text[begin:]


def test_an_order_for_a_time_is_accepted_without_minutes(stall: Stall, mei: Person, board: Browser) -> None:
    order_id = paid(mei, stall)
    settle()
    DeskOrder.objects.filter(order_id=order_id).update(deliver_at=db_now(DEFAULT) + timedelta(hours=6))
    page = shown(board)
    assert 'name="minutes"' not in page.html
    board.submit(page, f"/board/orders/{order_id}/accept/")
    assert order(order_id).status == "accepted"


@pytest.mark.parametrize(
    ("role", "doors", "buttons"),
    [
        ("manager", {"骑手", "菜品状态"}, {"打烊", "今日售罄"}),
        ("kitchen", {"菜品状态"}, {"今日售罄"}),
        ("courier", {"骑手"}, set()),
    ],
)
def test_nobody_is_offered_what_they_may_not_do(stall: Stall, role: str, doors: set[str], buttons: set[str]) -> None:
    browser = Browser(works_at(stall.shop_id, role, "somebody").user)
    frame = browser.open("/board/").html
    assert {name for name in ("骑手", "菜品状态") if f">{name}</a>" in frame} == doors
    dishes = browser.open("/board/dishes/").html
    assert {name for name in ("打烊", "今日售罄") if f">{name}</button>" in dishes} == buttons


def test_the_day_can_be_looked_through(stall: Stall, mei: Person, tao: Person, lan: Person, board: Browser) -> None:
    over = accepted(mei, stall, lan, key="1")
    settle()
    desk.cancel(order_id=over, staff_id=lan.id, reason="客人电话取消")
    going = paid(tao, stall, (stall.tofu, 2), key="2")
    settle()
    yesterday = paid(mei, stall, key="3")
    settle()
    DeskOrder.objects.filter(order_id=yesterday).update(business_date="2026-01-01")
    page = shown(board, "/board/today/")
    assert page.text.index("#002") < page.text.index("#001")
    assert "已取消 · 已退款" in page.text
    assert "#003" not in page.text
    assert page.has_form(f"/board/orders/{over}/ticket/")
    assert not page.has_form(f"/board/orders/{going}/ticket/")
    DeskOrder.objects.filter(order_id=going).update(phone="13766665555")
    for wanted, there, not_there in (("002", "#002", "#001"), ("66665555", "#002", "#001"), ("1", "#001", "#002")):
        found = shown(board, f"/board/today/?q={wanted}").text
        assert there in found, wanted
        assert not_there not in found, wanted
    # Nothing to find by is nothing asked.
    assert "#001" in shown(board, "/board/today/?q=abc").text


def test_another_shops_day_is_not_shown(stall: Stall, mei: Person) -> None:
    paid(mei, stall)
    settle()
    stranger = Browser(works_at(make_stall("面馆").shop_id, "courier", "stranger").user)
    assert "#001" not in shown(stranger, "/board/today/").text
    assert stranger.open(f"/board/today/?shop={stall.shop_id}").status == 404


def test_a_customer_is_shown_the_staffs_door(mei: Person, stall: Stall) -> None:
    page = Browser(mei.user).open("/board/")
    assert page.status == 403
    assert page.links["员工登录"] == "/login/?way=staff&next=/board/"


def test_who_sits_there_can_leave(board: Browser) -> None:
    page = board.open("/board/")
    assert "小兰 · 退出" in page.html
    board.submit(page, "/logout/")
    assert board.open("/board/").path.startswith("/login/")


def test_a_ready_made_reason_speaks_the_customers_language(stall: Stall, mei: Person, board: Browser) -> None:
    order_id = paid(mei, stall)
    settle()
    assert 'value="too_far">超出配送范围</button>' in shown(board).html
    press(board, order_id, "reject", reason="too_far")
    seen = {
        language: mei.api.get(f"orders/{order_id}/", Accept_Language=language).content.decode()
        for language in ("zh-hans", "en")
    }
    assert "超出配送范围" in seen["zh-hans"]
    assert "超出配送范围" not in seen["en"]
    assert "too_far" not in seen["en"]
    # And in words to the provider, and to programs at the shop.
    assert list(Refund.objects.of_order(order_id).values_list("reason", flat=True)) == ["超出配送范围"]
    settle()
    events = board_events(order_id)
    assert [event["reason"] for event in events if event["reason"]] == ["超出配送范围"]


def test_an_order_that_is_not_the_shops_yet_is_no_fault(stall: Stall, mei: Person, board: Browser) -> None:
    page, unpaid = shown(board), placed(mei, stall)
    token = page.form("/logout/").values["csrfmiddlewaretoken"]
    sent = board.client.post(f"/board/orders/{unpaid}/accept/", {"csrfmiddlewaretoken": token})
    assert sent.status_code == 404


def test_a_courier_takes_and_brings(stall: Stall, mei: Person, tao: Person, lan: Person, kai: Person) -> None:
    mine, others = accepted(mei, stall, lan, key="1"), accepted(tao, stall, lan, key="2")
    settle()
    browser = Browser(kai.user)
    page = browser.submit(shown(browser, "/board/courier/"), f"/board/orders/{mine}/deliver/")
    assert page.path == "/board/courier/"
    desk.deliver(order_id=others, staff_id=lan.id)
    settle()
    page = shown(browser, "/board/courier/")
    assert page.has_form(f"/board/orders/{mine}/complete/")
    assert str(others) not in page.html
    assert "https://uri.amap.com/marker?position=116.455000%2C39.915000" in page.html
    assert f"tel:{order(mine).phone}" in page.html
    browser.submit(page, f"/board/orders/{mine}/complete/")
    assert order(mine).status == "completed"


# --- dishes and opening ---


def test_a_dish_is_sold_out_and_back_at_a_touch(stall: Stall, lan: Person, board: Browser) -> None:
    page = shown(board, "/board/dishes/")
    page = board.submit(page, f"/board/dishes/{stall.fish}/", {"hours": 1})
    assert "已售罄" in page.text
    assert "恢复" in page.text
    assert not menu.services.get_menu(stall.shop_id).items[stall.fish].in_stock
    board.submit(page, f"/board/dishes/{stall.fish}/", {"hours": 0})
    assert menu.services.get_menu(stall.shop_id).items[stall.fish].in_stock
    board.submit(shown(board, "/board/dishes/"), f"/board/dishes/{stall.fish}/", {"hours": ""})
    back_at = menu.services.get_menu(stall.shop_id).items[stall.fish].back_at
    assert back_at is not None


def test_the_shop_closes_and_opens_at_a_touch(stall: Stall, board: Browser) -> None:
    page = board.submit(shown(board, "/board/dishes/"), f"/board/shops/{stall.shop_id}/", {"open": 0})
    assert "已打烊" in page.text
    assert not menu.services.get_shop(stall.shop_id).is_open
    board.submit(page, f"/board/shops/{stall.shop_id}/", {"open": 1})
    assert menu.services.get_shop(stall.shop_id).is_open


# --- for whom ---


def test_nobody_sees_another_shop(stall: Stall, mei: Person, board: Browser) -> None:
    other = make_stall("面馆")
    theirs = paid(mei, other)
    settle()
    assert str(theirs) not in shown(board).html
    assert board.open(f"/board/?shop={other.shop_id}").status == 404
    assert board.open("/board/?shop=nonsense").status == 404
    token = shown(board, "/board/dishes/").form(f"/board/shops/{stall.shop_id}/").values["csrfmiddlewaretoken"][0]
    for path in (
        f"/board/orders/{theirs}/accept/",
        f"/board/orders/{theirs}/ticket/",
        f"/board/shops/{other.shop_id}/",
        f"/board/dishes/{other.fish}/",
    ):
        answer = board.client.post(path, {"csrfmiddlewaretoken": token, "open": "0", "hours": "1"})
        assert answer.status_code == 404, path
    assert order(theirs).status == "paid"
    assert menu.services.get_shop(other.shop_id).is_open


def test_several_shops_are_seen_together_or_one_by_one(stall: Stall, mei: Person, tao: Person, lan: Person) -> None:
    import accounts.services

    other = make_stall("面馆")
    accounts.services.add_member(user_id=lan.id, shop_id=other.shop_id, role="front_desk")
    one, two = paid(mei, stall), paid(tao, other)
    settle()
    browser = Browser(lan.user)
    both = shown(browser)
    assert (str(one) in both.html, str(two) in both.html) == (True, True)
    only = shown(browser, f"/board/?shop={other.shop_id}")
    assert (str(one) in only.html, str(two) in only.html) == (False, True)


@pytest.mark.parametrize(
    ("role", "has", "lacks"),
    [
        ("manager", {"accept", "reject"}, set()),
        ("front_desk", {"accept", "reject"}, set()),
        ("kitchen", {"accept"}, {"reject"}),
        ("courier", set(), {"accept", "reject"}),
    ],
)
def test_each_role_has_its_buttons_and_no_others(
    stall: Stall, mei: Person, role: str, has: set[str], lacks: set[str]
) -> None:
    order_id = paid(mei, stall)
    settle()
    who = works_at(stall.shop_id, role, f"the-{role}")
    browser = Browser(who.user)
    page = shown(browser)
    for action in has | lacks:
        assert page.has_form(f"/board/orders/{order_id}/{action}/") == (action in has)
    token = browser.client.cookies["csrftoken"].value if "csrftoken" in browser.client.cookies else ""
    for action in lacks:
        client = Client()
        client.force_login(who.user)
        answer = client.post(f"/board/orders/{order_id}/{action}/", {"reason": "x", "csrfmiddlewaretoken": token})
        assert answer.status_code == 302
    assert order(order_id).status == "paid"


def test_customers_and_strangers_stay_outside(stall: Stall, mei: Person) -> None:
    works_nowhere = works_at(stall.shop_id, "courier", "gone")
    works_nowhere.user.memberships.all().delete()
    for path in ("/board/", "/board/kitchen/", "/board/courier/", "/board/dishes/"):
        assert Client().get(path).headers["Location"].startswith("/login/?way=staff&next=/board/")
        assert Browser(mei.user).open(path).status == 403
        assert Browser(works_nowhere.user).open(path).status == 403


def test_a_screen_that_was_logged_out_goes_to_the_login(stall: Stall) -> None:
    answer = Client().get("/board/", headers={"HX-Request": "true"})
    assert answer.headers["HX-Refresh"] == "true"


def test_a_number_of_no_order_is_nobodys(stall: Stall, board: Browser) -> None:
    client = board.client
    token = shown(board, "/board/dishes/").form(f"/board/shops/{stall.shop_id}/").values["csrfmiddlewaretoken"][0]
    for path in ("/board/orders/5/accept/", "/board/orders/5/dance/", "/board/dishes/99999/"):
        assert client.post(path, {"csrfmiddlewaretoken": token, "hours": "1"}).status_code == 404


def test_the_board_asks_no_more_for_more_orders(
    stall: Stall, mei: Person, tao: Person, board: Browser, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    paid(mei, stall, key="first")
    relay()
    shown(board)
    with CaptureQueriesContext(connection) as few:
        shown(board)
    for n in range(8):
        paid(tao, stall, key=str(n))
    relay()
    with CaptureQueriesContext(connection) as many:
        shown(board)
    assert len(many) == len(few)
    assert Order.objects.on(mei.shard).exists()
