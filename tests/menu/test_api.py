"""The API of shops and menus, open to everyone."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client

from menu import services
from tests.menu.factories import make_dish, make_shop

pytestmark = pytest.mark.data


def get(path: str, **headers: str) -> Any:
    return Client(headers=headers).get(f"/api/v1/{path}")


def test_a_shop_tells_its_terms() -> None:
    shop = make_shop(notice="下雨，送得慢", latitude=Decimal("39.915"), longitude=Decimal("116.455"), phone="010-1")
    assert get(f"shops/{shop.pk}/").json() == {
        "id": shop.pk,
        "name": "川味小馆",
        "is_open": True,
        "opens_at": None,
        "opening_hours": [],
        "time_zone": "Asia/Shanghai",
        "notice": "下雨，送得慢",
        "phone": "010-1",
        "address": "",
        "latitude": 39.915,
        "longitude": 116.455,
        "delivery_fee": "6.00",
        "packing_fee": "1.00",
        "minimum_order": "20.00",
        "prep_minutes": 30,
        "delivery_area": None,
    }


@pytest.mark.parametrize(
    ("now", "is_open", "opens_at"),
    [
        ("2026-01-05T11:59:59+08:00", True, None),
        ("2026-01-05T14:00:00+08:00", False, "2026-01-12T02:00:00+00:00"),
    ],
)
def test_a_shop_is_open_by_the_clock(now: str, is_open: bool, opens_at: str | None) -> None:
    shop = make_shop()
    shop.opening_hours.create(weekday=0, opens=dt.time(10), closes=dt.time(14))
    services.menu_changed(shop.pk)
    with time_machine.travel(dt.datetime.fromisoformat(now), tick=False):
        answer = get(f"shops/{shop.pk}/").json()
    assert (answer["is_open"], answer["opens_at"]) == (is_open, opens_at)
    assert answer["opening_hours"] == [{"weekday": 0, "opens": "10:00", "closes": "14:00"}]


def test_shops_come_in_pages() -> None:
    shops = [make_shop(f"店{number}") for number in range(25)]
    first = get("shops/").json()
    assert [one["id"] for one in first["results"]] == [shop.pk for shop in reversed(shops)][:20]
    assert first["previous"] is None
    second = Client().get(first["next"]).json()
    assert [one["id"] for one in second["results"]] == [shop.pk for shop in reversed(shops)][20:]
    assert second["next"] is None


@pytest.mark.parametrize("path", ["shops/404/", "shops/404/menu/"])
def test_an_unknown_shop_is_a_problem_document(path: str) -> None:
    answer = get(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


def test_the_menu_is_the_prepared_document() -> None:
    shop = make_shop()
    make_dish(shop)
    answer = get(f"shops/{shop.pk}/menu/")
    document = services.menu_document(shop.pk)
    assert (answer.status_code, answer["Content-Type"], answer.content) == (200, "application/json", document.body)
    assert answer["ETag"] == document.etag
    assert sorted(answer["Cache-Control"].split(", ")) == ["no-cache", "public"]


@pytest.mark.parametrize("shape", ["{}", "W/{}", '"other", {}', "*"])
def test_a_copy_at_hand_is_not_sent_again(shape: str) -> None:
    shop = make_shop()
    make_dish(shop)
    etag = services.menu_document(shop.pk).etag
    answer = get(f"shops/{shop.pk}/menu/", if_none_match=shape.format(etag))
    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)


def test_after_an_edit_the_copy_is_stale() -> None:
    shop = make_shop()
    dish = make_dish(shop)
    make_dish(shop, "酸辣汤")
    old = get(f"shops/{shop.pk}/menu/")["ETag"]
    services.stop_selling(item_ids=[dish.pk])
    answer = get(f"shops/{shop.pk}/menu/", if_none_match=old)
    assert answer.status_code == 200
    assert [item["name"] for item in answer.json()["categories"][0]["items"]] == ["酸辣汤"]


@pytest.mark.parametrize("path", ["shops/", "shops/{}/", "shops/{}/menu/"])
def test_a_stale_token_is_no_reason_to_refuse(path: str) -> None:
    shop = make_shop()
    assert get(path.format(shop.pk), authorization="Bearer stale").status_code == 200


@pytest.mark.parametrize("path", ["shops/", "shops/{}/", "shops/{}/menu/"])
def test_nothing_is_changed_here(path: str) -> None:
    answer = Client().post("/api/v1/" + path.format(make_shop().pk), {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_the_menu_is_in_the_openapi_document() -> None:
    paths = get("schema/?format=json").json()["paths"]
    operation = paths["/api/v1/shops/{shop_id}/menu/"]["get"]
    assert {"200", "304"} <= set(operation["responses"])
    assert "If-None-Match" in [parameter["name"] for parameter in operation["parameters"]]
