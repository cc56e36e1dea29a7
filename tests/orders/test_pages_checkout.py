"""The checkout page: what it shows, what it refuses and how it says so, and that pressing twice is one order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils.translation import override

import menu.services
from accounts.models import Address
from menu.models import OpeningHours, Shop
from menu.services import LineRequest
from orders import checkout_views, services
from orders.delivery_times import delivery_times
from orders.forms import CheckoutForm
from tests.accounts.factories import home_of
from tests.factories import FISH_TOTAL, Person, Stall, at_once, keys_of, order, orders_of, saga_of, stock
from tests.menu.factories import shop_info, span
from tests.support.browsing import Browser, Page
from waimai.infra.errors import RequestInProgress, ServiceUnavailable

pytestmark = pytest.mark.data
CHECKOUT = "/checkout/"


@pytest.fixture
def browser(stall: Stall, mei: Person) -> Browser:
    """Mei's browser; one fish is in her cart."""
    add(mei, stall, stall.fish)
    return Browser(mei.user)


def add(who: Person, stall: Stall, item_id: int, quantity: int = 1) -> None:
    line = LineRequest(item_id=item_id, quantity=quantity)
    services.add_to_cart(user_id=who.id, shop_id=stall.shop_id, line=line)


def address_of(stall: Stall) -> str:
    return f"/shops/{stall.shop_id}/checkout/"


def change_shop(stall: Stall, **terms: Any) -> None:
    Shop.objects.filter(pk=stall.shop_id).update(**terms)
    menu.services.menu_changed(stall.shop_id)


def send(browser: Browser, stall: Stall, page: Page | None = None, **changes: Any) -> Page:
    """Press "place the order"."""
    return browser.submit(page or browser.open(address_of(stall)), CHECKOUT, changes)


# --- what it shows, and the way through ---


def test_a_guest_is_asked_to_log_in_and_comes_back(stall: Stall) -> None:
    page = Browser().open(address_of(stall))
    assert page.path == f"/login/?next={address_of(stall)}"


def test_it_shows_lines_fees_and_total(stall: Stall, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    assert "酸菜鱼 × 1 ¥56.00" in page.text
    assert "商品金额 ¥56.00 打包费 ¥1.00 配送费 ¥6.00 合计 ¥63.00" in page.text
    assert page.form(CHECKOUT).values["shown_total"] == ["63.00"]


def test_the_default_address_is_chosen(stall: Stall, mei: Person, browser: Browser) -> None:
    other = home_of(mei.user, detail="望京街 9 号", is_default=False)
    form = browser.open(address_of(stall)).form(CHECKOUT)
    assert form.values["address"] == [str(mei.address_id)]
    assert form.choices["address"] == [str(mei.address_id), str(other.id)]


def test_without_an_address_it_asks_for_one(stall: Stall, mei: Person, browser: Browser) -> None:
    Address.objects.all().delete()
    page = browser.open(address_of(stall))
    assert "还没有收货地址" in page.text
    text = send(browser, stall, page).text
    assert "请检查标出的内容。" in text
    assert "请先新增地址。" in text
    assert orders_of(mei) == []


def test_with_an_address_the_order_can_be_placed(stall: Stall, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    assert "请先新增地址" not in page.text


def test_no_address_chosen_is_said_in_plain_words(stall: Stall, browser: Browser) -> None:
    assert "请选择收货地址。" in send(browser, stall, None, address="").text


def test_an_order_is_placed_as_it_was_sent(stall: Stall, mei: Person, browser: Browser) -> None:
    page = send(browser, stall, note="少放盐", tableware=3)
    placed = order(orders_of(mei)[0])
    assert page.path == f"/orders/{placed.pk}/"
    assert (placed.total, placed.note, placed.tableware, placed.deliver_at) == (FISH_TOTAL, "少放盐", 3, None)
    assert "待付款" in page.text


def test_placing_empties_the_cart(stall: Stall, browser: Browser) -> None:
    send(browser, stall)
    page = browser.open(address_of(stall))
    assert page.path == f"/shops/{stall.shop_id}/cart/"
    assert "购物车是空的" in page.text


def test_a_time_later_today_can_be_chosen(stall: Stall, mei: Person, browser: Browser) -> None:
    with time_machine.travel(datetime(2026, 3, 2, 10, 7, tzinfo=UTC), tick=True):  # 18:07 in Shanghai
        choices = browser.open(address_of(stall)).form(CHECKOUT).choices["deliver_at"]
    assert choices[0] == ""
    assert choices[1] == "2026-03-02T18:45:00+08:00"  # Half an hour to prepare, then the next quarter
    assert choices[-1] == "2026-03-02T23:45:00+08:00"


def test_times_after_midnight_name_their_day() -> None:
    late = datetime(2026, 3, 2, 23, 45, tzinfo=ZoneInfo("Asia/Shanghai"))
    times = [late, late + timedelta(minutes=30), late + timedelta(days=1, minutes=30)]
    with time_machine.travel(datetime(2026, 3, 2, 15, 7, tzinfo=UTC)), override("zh-hans"):  # 23:07 in Shanghai
        form = CheckoutForm(addresses=[], times=times)
    shown = [label for _value, label in form.fields["deliver_at"].choices[1:]]  # type: ignore[attr-defined]
    assert shown == ["23:45", "明天 00:15", "03-04 00:15"]


def test_the_chosen_time_is_the_orders(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    later = page.form(CHECKOUT).choices["deliver_at"][1:]
    if not later:
        pytest.skip("the shop's day is over in a few minutes")
    send(browser, stall, page, deliver_at=later[-1])
    assert order(orders_of(mei)[0]).deliver_at == datetime.fromisoformat(later[-1])


# --- pressed twice ---


def test_pressed_twice_it_is_one_order(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    first, second = send(browser, stall, page), send(browser, stall, page)
    assert first.path == second.path == f"/orders/{orders_of(mei)[0]}/"
    assert len(orders_of(mei)) == 1


def test_pressed_twice_at_once_it_is_one_order(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    first, second = at_once(lambda: send(browser, stall, page), lambda: send(browser, stall, page))
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    assert first.path == second.path == f"/orders/{orders_of(mei)[0]}/"


def test_pressed_twice_for_the_last_portion_it_is_one_order(stall: Stall, mei: Person, browser: Browser) -> None:
    menu.services.set_stock(item_id=stall.fish, available=1)
    page = browser.open(address_of(stall))
    answers = at_once(lambda: send(browser, stall, page), lambda: send(browser, stall, page))
    assert [one.path for one in answers if isinstance(one, Page)] == [f"/orders/{orders_of(mei)[0]}/"] * 2
    assert stock(stall.fish) == (0, 1, 0)


def test_the_second_click_waits_for_the_first(
    stall: Stall, mei: Person, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser.open(address_of(stall))
    place, tries = services.place, []

    def still_running(checkout: services.Checkout) -> services.Placed:
        tries.append(checkout)
        if len(tries) < 3:
            raise RequestInProgress
        return place(checkout)

    monkeypatch.setattr(services, "place", still_running)
    monkeypatch.setattr(checkout_views, "ASK_AGAIN_SECONDS", 0)
    assert send(browser, stall, page).path == f"/orders/{orders_of(mei)[0]}/"
    assert len(tries) == 3


def test_two_evenings_are_two_orders(stall: Stall, mei: Person, browser: Browser) -> None:
    send(browser, stall)
    add(mei, stall, stall.fish)
    send(browser, stall)
    assert len(orders_of(mei)) == 2


# --- refusals ---


def test_a_changed_price_is_shown_and_can_be_confirmed(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    change_shop(stall, delivery_fee=Decimal(8))
    refused = send(browser, stall, page)
    assert refused.status == 409
    assert "价格有变动" in refused.text
    assert "现在合计 ¥65.00" in refused.text
    assert "配送费 · ¥6.00 → ¥8.00" in refused.text
    assert "酸菜鱼 × 1 ·" not in refused.text
    assert orders_of(mei) == []
    send(browser, stall, refused)
    assert order(orders_of(mei)[0]).total == Decimal("65.00")


def test_what_was_typed_survives_a_refusal(stall: Stall, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    change_shop(stall, delivery_fee=Decimal(8))
    refused = send(browser, stall, page, note="少放盐", tableware=2)
    assert ">\n少放盐</textarea>" in refused.html
    assert refused.form(CHECKOUT).values["tableware"] == ["2"]


def test_a_changed_cart_is_shown_before_it_is_ordered(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    add(mei, stall, stall.rice)
    refused = send(browser, stall, page)
    assert (refused.status, "购物车有变动" in refused.text) == (409, True)
    assert "米饭 × 1 · 新增，¥2.00" in refused.text
    assert "打包费 · ¥1.00 → ¥2.00" in refused.text
    assert orders_of(mei) == []


def test_a_line_that_went_elsewhere_is_named(stall: Stall, mei: Person, browser: Browser) -> None:
    add(mei, stall, stall.rice)
    page = browser.open(address_of(stall))
    view = services.view_cart(user_id=mei.id, shop_id=stall.shop_id)
    rice = next(line.id for line in view.lines if line.item_id == stall.rice)
    services.remove_from_cart(user_id=mei.id, shop_id=stall.shop_id, line_id=rice)
    assert "米饭 × 1 · 已不在购物车里" in send(browser, stall, page).text


@pytest.mark.parametrize("seen", [[""], ["|"], ["1|2"], ["x|<b>|<script>alert(1)</script>"], ["9|1|a"] * 200])
def test_nonsense_about_what_was_seen_does_no_harm(stall: Stall, browser: Browser, seen: list[str]) -> None:
    page = browser.open(address_of(stall))
    change_shop(stall, delivery_fee=Decimal(8))
    refused = send(browser, stall, page, seen=seen)
    assert "现在合计 ¥65.00" in refused.text
    assert "<script>alert" not in refused.html


def test_sold_out_names_the_dish_and_what_is_left(stall: Stall, mei: Person, browser: Browser) -> None:
    add(mei, stall, stall.fish, 2)
    menu.services.set_stock(item_id=stall.fish, available=2)
    refused = send(browser, stall)
    assert refused.status == 409
    assert "酸菜鱼：只剩 2 份" in refused.text
    assert stock(stall.fish) == (2, 0, 0)


def test_after_sold_out_the_smaller_cart_can_be_ordered(stall: Stall, mei: Person, browser: Browser) -> None:
    add(mei, stall, stall.fish, 2)
    menu.services.set_stock(item_id=stall.fish, available=2)
    send(browser, stall)
    line = services.view_cart(user_id=mei.id, shop_id=stall.shop_id).lines[0]
    services.set_cart_quantity(user_id=mei.id, shop_id=stall.shop_id, line_id=line.id, quantity=2)
    assert send(browser, stall).path == f"/orders/{orders_of(mei)[-1]}/"
    assert stock(stall.fish) == (0, 2, 0)


def test_off_sale_is_refused_by_name(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    menu.services.stop_selling(item_ids=[stall.fish])
    refused = send(browser, stall, page)
    assert (refused.status, "“酸菜鱼”已下架。" in refused.text) == (409, True)
    assert orders_of(mei) == []


def test_a_closed_shop_says_so(stall: Stall, mei: Person, browser: Browser) -> None:
    change_shop(stall, is_open=False)
    refused = send(browser, stall)
    assert (refused.status, "店铺已打烊" in refused.text) == (409, True)
    assert orders_of(mei) == []


def test_a_shop_outside_its_hours_says_when_it_opens(stall: Stall, browser: Browser) -> None:
    tomorrow = datetime.now(tz=UTC) + timedelta(days=2)
    OpeningHours.objects.create(shop_id=stall.shop_id, weekday=tomorrow.weekday(), opens="10:30", closes="11:00")
    menu.services.menu_changed(stall.shop_id)
    refused = send(browser, stall)
    assert f"{tomorrow:%m-%d} 10:30 开始营业。" in refused.text


def test_too_far_away_asks_for_another_address(stall: Stall, mei: Person, browser: Browser) -> None:
    square = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    change_shop(stall, delivery_area={"type": "Polygon", "coordinates": [square]})
    refused = send(browser, stall)
    assert (refused.status, "超出配送范围 请换一个地址。" in refused.text) == (409, True)
    assert orders_of(mei) == []


def test_an_address_without_coordinates_can_be_completed(stall: Stall, mei: Person, browser: Browser) -> None:
    square = [[116, 39], [117, 39], [117, 40], [116, 40], [116, 39]]
    change_shop(stall, delivery_area={"type": "Polygon", "coordinates": [square]})
    bare = home_of(mei.user, detail="望京街 9 号", latitude=None, longitude=None)
    refused = send(browser, stall, None, address=bare.id)
    assert (refused.status, "超出配送范围" in refused.text) == (409, False)
    edit = browser.follow(refused, "该地址没有坐标，请编辑地址补上。")
    assert edit.path.startswith(f"/addresses/{bare.id}/")
    page = browser.submit(edit, edit.path.partition("?")[0], {"latitude": "39.9", "longitude": "116.45"})
    assert page.path == address_of(stall)
    assert send(browser, stall, page, address=bare.id).path == f"/orders/{orders_of(mei)[0]}/"


def test_below_the_minimum_says_how_much_is_missing(stall: Stall, mei: Person, browser: Browser) -> None:
    change_shop(stall, minimum_order=Decimal(60))
    refused = send(browser, stall)
    assert (refused.status, "还差 ¥4.00。" in refused.text) == (409, True)
    assert orders_of(mei) == []


def test_somebody_elses_address_is_no_choice(stall: Stall, mei: Person, tao: Person, browser: Browser) -> None:
    refused = send(browser, stall, address=tao.address_id)
    assert "请检查标出的内容" in refused.text
    assert orders_of(mei) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tableware", "-1"),
        ("tableware", "100"),
        ("tableware", "1.5"),
        ("note", "长" * 201),
        ("deliver_at", "2020-01-01T10:00:00+08:00"),
        ("deliver_at", "tomorrow"),
        ("cart_version", "x"),
        ("shown_total", "NaN"),
        ("address", ""),
    ],
)
def test_nonsense_is_refused(stall: Stall, mei: Person, browser: Browser, name: str, value: str) -> None:
    sent: dict[str, Any] = {name: value}
    assert "请检查标出的内容" in send(browser, stall, None, **sent).text
    assert orders_of(mei) == []


def test_an_unknown_outcome_can_be_asked_for_again(
    stall: Stall, mei: Person, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    menu.services.set_stock(item_id=stall.fish, available=5)
    page = browser.open(address_of(stall))

    def unknown(**_sent: Any) -> None:
        raise ServiceUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("menu.services.hold_stock", unknown)
        refused = send(browser, stall, page)
    assert (refused.status, refused.response["Retry-After"]) == (503, "2")
    assert saga_of(orders_of(mei)[0]).step == "reserve"
    assert keys_of(mei) == [f"cart:{stall.shop_id}:1"]


# --- the times on offer ---


def test_times_keep_to_the_opening_hours() -> None:
    shop = shop_info(opening_hours=(span(0, "11:00", "11:31"),), prep_minutes=10)
    times = delivery_times(shop, now=datetime(2026, 3, 2, 2, 0, tzinfo=UTC))  # Monday, 10:00 in Shanghai
    assert [f"{at:%H:%M}" for at in times] == ["11:00", "11:15", "11:30"]


def test_a_quarter_that_is_just_ready_is_on_offer() -> None:
    times = delivery_times(shop_info(), now=datetime(2026, 3, 2, 15, 0, tzinfo=UTC))  # 23:00
    assert [f"{at:%H:%M}" for at in times] == ["23:30", "23:45"]


def test_late_at_night_there_is_only_now() -> None:
    assert delivery_times(shop_info(), now=datetime(2026, 3, 2, 15, 16, tzinfo=UTC)) == []


def test_times_go_by_the_shops_clock() -> None:
    times = delivery_times(shop_info(time_zone="Asia/Urumqi"), now=datetime(2026, 3, 2, 10, 0, tzinfo=UTC))
    assert f"{times[0]:%H:%M %z}" == "16:30 +0600"
