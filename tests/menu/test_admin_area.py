"""The delivery area in the admin: drawn by a radius, or pasted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

import accounts.services
from accounts.models import User
from menu.geo import contains
from menu.models import Shop
from menu.shop_forms import EXAMPLE
from tests.menu.factories import make_shop
from tests.menu.test_admin import boss, shop
from tests.menu.test_admin_beside import beside, shop_form

__all__ = ["boss", "shop"]
pytestmark = [pytest.mark.once, pytest.mark.data]
PLACE = {"latitude": "39.915", "longitude": "116.455"}
SQUARE = {"type": "Polygon", "coordinates": [[[116.4, 39.9], [116.5, 39.9], [116.5, 40.0], [116.4, 39.9]]]}


def save(client: Client, shop: Shop, **values: Any) -> Any:
    return client.post(f"/admin/menu/shop/{shop.pk}/change/", shop_form(name=shop.name) | values)


def test_no_area_is_an_empty_box(boss: Client, shop: Shop) -> None:
    page = boss.get(f"/admin/menu/shop/{shop.pk}/change/").content.decode()
    assert page.count('name="delivery_area"') == 1
    box = page.partition('name="delivery_area"')[2].partition("</textarea>")[0].partition(">")[2]
    assert box.strip() == ""
    assert save(boss, shop, delivery_area="").status_code == 302
    assert Shop.objects.filter(pk=shop.pk, delivery_area__isnull=True).exists()


def test_a_radius_draws_the_area(boss: Client, shop: Shop) -> None:
    Shop.objects.filter(pk=shop.pk).update(delivery_area=SQUARE)
    sent = PLACE | {"delivery_area": json.dumps(SQUARE), "radius_km": "2.5"}
    assert save(boss, shop, **sent).status_code == 302
    area: Any = Shop.objects.get(pk=shop.pk).delivery_area
    assert len(area["coordinates"][0]) == 33
    assert contains(area, latitude=39.937, longitude=116.455)
    assert not contains(area, latitude=39.938, longitude=116.455)


def test_without_a_radius_the_area_stays(boss: Client, shop: Shop) -> None:
    assert save(boss, shop, **PLACE, delivery_area=json.dumps(SQUARE), radius_km="").status_code == 302
    assert Shop.objects.get(pk=shop.pk).delivery_area == SQUARE


def test_the_example_is_one(boss: Client, shop: Shop) -> None:
    assert save(boss, shop, delivery_area=EXAMPLE).status_code == 302
    assert Shop.objects.get(pk=shop.pk).delivery_area == json.loads(EXAMPLE)


@pytest.mark.parametrize(
    ("sent", "faults"),
    [
        ({"radius_km": "3"}, {"radius_km"}),
        ({"radius_km": "3", "latitude": "39.9"}, {"longitude"}),
        ({"radius_km": "3", "latitude": "99", "longitude": "116"}, {"latitude"}),
        ({"radius_km": "0", **PLACE}, {"radius_km"}),
        ({"radius_km": "51", **PLACE}, {"radius_km"}),
        ({"radius_km": "x", **PLACE}, {"radius_km"}),
        ({"radius_km": "20", "latitude": "0", "longitude": "179.99"}, {"radius_km"}),
        ({"delivery_area": "around the corner"}, {"delivery_area"}),
    ],
)
def test_what_draws_no_area_is_refused(boss: Client, shop: Shop, sent: dict[str, str], faults: set[str]) -> None:
    assert beside(save(boss, shop, **sent)).keys() == faults
    assert Shop.objects.get(pk=shop.pk).delivery_area is None


def test_who_may_only_look_sees_the_page(db_all: object) -> None:
    shop = make_shop()
    accounts.services.ensure_roles()
    lan = User.objects.create_user("lan", is_staff=True)
    lan.user_permissions.set(Permission.objects.filter(codename="view_shop"))
    accounts.services.add_member(user_id=lan.pk, shop_id=shop.pk, role="kitchen")
    client = Client()
    client.force_login(lan)
    assert client.get(f"/admin/menu/shop/{shop.pk}/change/").status_code == 200
