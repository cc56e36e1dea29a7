"""Adding an address on the checkout page itself, and being told at once whether the shop delivers there."""

from __future__ import annotations

from typing import Any

import pytest

import accounts.services
from accounts.models import Address
from orders import services
from tests.accounts.factories import home_of
from tests.factories import Person, Stall, order, orders_of
from tests.orders.test_pages_checkout import CHECKOUT, add, address_of, change_shop
from tests.support.browsing import Browser, Page

pytestmark = [pytest.mark.once, pytest.mark.data]
AROUND = {"type": "Polygon", "coordinates": [[[116, 39], [117, 39], [117, 40], [116, 40], [116, 39]]]}
OFFICE = {
    "new-contact_name": "梅",
    "new-phone": "13800000009",
    "new-detail": "望京街 10 号",
    "new-latitude": "39.9",
    "new-longitude": "116.4",
}


@pytest.fixture
def browser(stall: Stall, mei: Person) -> Browser:
    """Mei's browser; one fish is in her cart."""
    add(mei, stall, stall.fish)
    return Browser(mei.user)


def send(browser: Browser, stall: Stall, page: Page | None = None, /, **changes: Any) -> Page:
    return browser.submit(page or browser.open(address_of(stall)), CHECKOUT, changes)


def test_a_new_address_is_kept_and_chosen_and_nothing_typed_is_lost(
    stall: Stall, mei: Person, browser: Browser
) -> None:
    page = send(browser, stall, None, **OFFICE, add_address="1", note="少辣", tableware="3")
    assert page.status == 200
    new = Address.objects.get(detail="望京街 10 号")
    assert new.user_id == mei.id
    assert "少辣" in page.text
    send(browser, stall, page)
    (placed,) = map(order, orders_of(mei))
    assert (placed.address_text, placed.tableware) == ("望京街 10 号", 3)


def test_what_is_wrong_is_said_beside_it(stall: Stall, mei: Person, browser: Browser) -> None:
    before = Address.objects.count()
    page = send(browser, stall, None, **{**OFFICE, "new-phone": "nonsense"}, add_address="1", note="少辣")
    assert page.status == 422
    assert "请输入手机号" in page.text
    assert page.form(CHECKOUT).values["new-detail"] == ["望京街 10 号"]
    assert "少辣" in page.text
    assert Address.objects.count() == before


def test_half_a_position_is_refused(stall: Stall, browser: Browser) -> None:
    page = send(browser, stall, None, **{**OFFICE, "new-longitude": ""}, add_address="1")
    assert page.status == 422
    assert "经度和纬度必须同时提供" in page.text


def test_tapped_twice_it_is_one_address(stall: Stall, browser: Browser) -> None:
    page = browser.open(address_of(stall))
    for _tap in range(2):
        assert send(browser, stall, page, **OFFICE, add_address="1").status == 200
    assert Address.objects.filter(detail="望京街 10 号").count() == 1


def test_typed_but_not_saved_nothing_goes_to_the_other_address(stall: Stall, mei: Person, browser: Browser) -> None:
    page = send(browser, stall, None, **OFFICE)
    assert not orders_of(mei)
    send(browser, stall, page)
    assert [order(one).address_text for one in orders_of(mei)] == ["望京街 10 号"]


def test_an_address_that_the_shop_delivers_to_is_chosen_first(stall: Stall, mei: Person, browser: Browser) -> None:
    change_shop(stall, delivery_area=AROUND)
    unplaced = home_of(mei.user, latitude=None, longitude=None, is_default=True).id
    older, _far = home_of(mei.user), home_of(mei.user, latitude=31.0, longitude=121.0)
    newer = home_of(mei.user)

    def chosen() -> list[str]:
        return browser.open(address_of(stall)).form(CHECKOUT).values["address"]

    assert chosen() == [str(newer.id)]
    accounts.services.set_default_address(user_id=mei.id, address_id=older.id)
    assert chosen() == [str(older.id)]
    Address.objects.filter(user_id=mei.id).update(latitude=31, longitude=121)
    accounts.services.set_default_address(user_id=mei.id, address_id=unplaced)
    assert chosen() == [str(unplaced)]


def test_each_address_can_be_edited_and_one_comes_back(stall: Stall, mei: Person, browser: Browser) -> None:
    page = browser.follow(browser.open(address_of(stall)), "编辑")
    assert browser.submit(page, f"/addresses/{mei.address_id}/").path == address_of(stall)


def test_both_forms_give_the_same_examples(stall: Stall, browser: Browser) -> None:
    for path in (address_of(stall), "/addresses/new/"):
        html = browser.open(path).html
        for example in ("如：北京市朝阳区", "街道、楼栋、门牌号", "家、公司、学校"):
            assert f'placeholder="{example}"' in html


def test_both_forms_say_why_coordinates_matter(stall: Stall, browser: Browser) -> None:
    for path in (address_of(stall), "/addresses/new/"):
        assert "部分商家无法确认能否送到" in browser.open(path).text


@pytest.mark.parametrize(
    ("latitude", "longitude", "said"),
    [("39.5", "116.5", "在配送范围内"), ("31", "121", "超出了店铺的配送范围"), ("39.5", "", ""), ("x", "1", "")],
)
def test_the_area_is_told_while_typing(
    stall: Stall, browser: Browser, latitude: str, longitude: str, said: str
) -> None:
    change_shop(stall, delivery_area=AROUND)
    query = f"?new-latitude={latitude}&new-longitude={longitude}"
    text = browser.open(f"{address_of(stall)}area/{query}").text
    assert said in text if said else not text.strip()


def test_the_area_of_a_chosen_address(stall: Stall, mei: Person, tao: Person, browser: Browser) -> None:
    change_shop(stall, delivery_area=AROUND)
    home, others = Address.objects.filter(user_id=mei.id).first(), Address.objects.filter(user_id=tao.id).first()
    assert home is not None
    assert others is not None

    def told(address: object) -> str:
        return browser.open(f"{address_of(stall)}area/?address={address}").text

    Address.objects.filter(pk=home.pk).update(latitude="31", longitude="121")
    assert "超出了店铺的配送范围" in told(home.pk)
    assert "超出了店铺的配送范围" in browser.open(address_of(stall)).text
    Address.objects.filter(pk=home.pk).update(latitude=None, longitude=None)
    assert "没有坐标" in told(home.pk)
    for nothing in (others.pk, "x", "9" * 40, ""):
        assert not told(nothing).strip()


def test_without_a_session_the_page_is_loaded_again(stall: Stall) -> None:
    answer = Browser().client.get(f"{address_of(stall)}area/?address=1")
    assert answer.headers["HX-Refresh"] == "true"
    assert not services.newest_orders(user_id=1, limit=1)
