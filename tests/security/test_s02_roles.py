"""Who of the staff may do what, written down as a table; a new route or model that isn't in it fails by itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import NoReverseMatch, reverse
from pytest_django import Settings

import menu.services
from accounts.models import User
from menu.models import Item, StockAdjustment
from orders.desk.models import DeskOrder
from tests import factories
from tests.accounts.factories import Api
from tests.factories import Person, Stall, paid, settle
from tests.fixtures import lan, mei, stall
from tests.menu.factories import make_group
from tests.security.routes import Route, routes

__all__ = ["lan", "mei", "stall"]
pytestmark = pytest.mark.data
STAFF = "/api/v1/staff/"
ROLES = ("manager", "front_desk", "kitchen", "courier")
# The calls of the staff's side, by their last word.
MAY: dict[str, set[str]] = {
    "orders": set(ROLES),
    "accept": {"manager", "front_desk", "kitchen"},
    "reject": {"manager", "front_desk"},
    "cancel": {"manager", "front_desk"},
    "deliver": {"manager", "front_desk", "courier"},
    "complete": {"manager", "courier"},
    "amendments": {"manager", "front_desk", "kitchen"},
}
# The pages of the admin for which a role in a shop is enough; others are for superusers, or need Django's permission.
LOOKED_AT = {"list", "change", "history"}
EDITED = LOOKED_AT | {"add", "delete"}
OPEN_TO: dict[str, dict[str, set[str]]] = {
    "desk.DeskOrder": dict.fromkeys(ROLES, LOOKED_AT),
    "menu.Shop": {"manager": LOOKED_AT},
    "menu.Category": {"manager": EDITED},
    "menu.Item": {"manager": EDITED},
    "menu.OptionGroup": {"manager": EDITED},
    "menu.Stock": {"manager": LOOKED_AT},
    "menu.StockAdjustment": {"manager": LOOKED_AT},
}
NOBODYS = {401, 403, 404}


def staff_routes() -> list[Route]:
    return [route for route in routes() if route.pattern.startswith(STAFF)]


def action_of(route: Route) -> str:
    return route.pattern.rstrip("/").rpartition("/")[2]


def ask(api: Api, route: Route, order_id: int) -> int:
    path = route.path({"order_id": order_id}).removeprefix("/api/v1/")
    if route.parameters:
        return api.post(path, {"reason": "太忙了", "minutes": 20, "line": 1, "quantity": 1}).status_code
    return api.get(path).status_code


def admin_pages(model: type[Any], key: object) -> dict[str, str]:
    """Every page of a model in the admin."""
    base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pages = {"list": reverse(f"{base}_changelist")}
    for name, arguments in {"add": [], "change": [key], "delete": [key], "history": [key]}.items():
        try:
            pages[name] = reverse(f"{base}_{name}", args=arguments)
        except NoReverseMatch:
            continue
    return pages


@pytest.mark.once
def test_s02_every_call_of_staff_is_in_the_table() -> None:
    assert {action_of(route) for route in staff_routes()} == set(MAY)


@pytest.mark.once
def test_s02_a_careless_call_of_staff_is_found(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.security.open_door"
    assert {action_of(route) for route in staff_routes()} - set(MAY) == {"burn"}


def test_s02_a_role_may_what_the_table_says_in_its_own_shop(mei: Person, stall: Stall) -> None:
    other_shop = factories.stall("隔壁")
    people = {role: factories.works_at(stall.shop_id, role) for role in ROLES}
    neighbour = factories.works_at(other_shop.shop_id, "manager", "neighbour")
    boss = Api(User.objects.create_superuser("boss"))
    order_id = paid(mei, stall)
    wrong = {}
    for route in staff_routes():
        action = action_of(route)
        expected: dict[str, tuple[Api, bool, set[int]]] = {
            "anonymous": (Api(), False, {401}),
            "customer": (mei.api, False, {403, 404}),
            "neighbour": (neighbour.api, not route.parameters, {404}),
            **{role: (people[role].api, role in MAY[action], {403}) for role in ROLES},
            "boss": (boss, True, set()),
        }
        for who, (api, allowed, refusals) in expected.items():
            status = ask(api, route, order_id)
            if status in NOBODYS if allowed else status not in refusals:
                wrong[f"{who} {action}"] = status
    assert wrong == {}


def test_s02_the_board_shows_a_shops_own_orders_only(mei: Person, stall: Stall, lan: Person) -> None:
    other_shop = factories.stall("隔壁")
    neighbour = factories.works_at(other_shop.shop_id, "manager", "neighbour")
    order_id = paid(mei, stall)
    settle()
    assert [row["id"] for row in lan.api.get("staff/orders/").json()["results"]] == [order_id]  # type: ignore[attr-defined]
    assert neighbour.api.get("staff/orders/").json()["results"] == []  # type: ignore[attr-defined]
    assert neighbour.api.get(f"staff/orders/?shop={stall.shop_id}").json()["results"] == []  # type: ignore[attr-defined]


def a_row_of_each(stall: Stall, order_id: int) -> dict[str, object]:
    """Keys of rows of this shop, by the labels of their models; of all other models some number."""
    fish = Item.objects.get(pk=stall.fish)
    menu.services.set_stock(item_id=fish.pk, available=9, reason="收货")
    made = make_group(fish, "辣度", {"微辣": "0"})[0].group
    return {
        "desk.DeskOrder": order_id,
        "menu.Shop": stall.shop_id,
        "menu.Category": fish.category_id,
        "menu.Item": fish.pk,
        "menu.OptionGroup": made.pk,
        "menu.Stock": fish.pk,
        "menu.StockAdjustment": StockAdjustment.objects.filter(item=fish).latest("pk").pk,
    }


def test_s02_the_admin_opens_to_roles_what_the_table_says(mei: Person, stall: Stall) -> None:
    order_id = paid(mei, stall)
    settle()
    rows = a_row_of_each(stall, order_id)
    wrong = {}
    neighbour = factories.works_at(factories.stall("隔壁").shop_id, "manager", "neighbour")
    people = {role: factories.works_at(stall.shop_id, role) for role in ROLES}
    for who, person in (people | {"customer": mei, "neighbour": neighbour}).items():
        client = Client()
        client.force_login(person.user)
        for model in admin.site._registry:
            label = model._meta.label
            open_to = OPEN_TO.get(label, {}).get("manager" if who == "neighbour" else who, set())
            for name, path in admin_pages(model, rows.get(label, 1)).items():
                seen = name in open_to and (who != "neighbour" or name in {"list", "add"})
                status = client.get(path).status_code
                if (status == 200) != seen:
                    wrong[f"{who} {label} {name}"] = status
                if seen:
                    continue
                posted = client.post(path, {"action": "delete_selected", "_selected_action": ["1"]}).status_code
                if posted not in {302, 403, 404}:
                    wrong[f"{who} POST {label} {name}"] = posted
    assert wrong == {}


def test_s02_a_superuser_sees_every_list(stall: Stall) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    lists = {model._meta.label: client.get(admin_pages(model, 1)["list"]).status_code for model in admin.site._registry}
    assert lists == dict.fromkeys(lists, 200)


def test_s02_an_order_of_another_shop_is_not_in_the_admin(mei: Person, stall: Stall, lan: Person) -> None:
    neighbour = factories.works_at(factories.stall("隔壁").shop_id, "manager", "neighbour")
    order_id = paid(mei, stall)
    settle()
    pages = admin_pages(DeskOrder, order_id)
    seen = {}
    for who in (lan, neighbour):
        client = Client()
        client.force_login(who.user)
        listed = str(order_id) in client.get(pages["list"]).content.decode()
        assert listed == (who is lan)
        seen[str(who.user.username)] = {name: client.get(path).status_code for name, path in pages.items()}
    assert seen["lan"]["change"] == 200
    assert 200 not in {status for name, status in seen["neighbour"].items() if name != "list"}


@pytest.mark.parametrize("left", ["is_active", "is_staff"])
def test_s02_who_has_left_may_nothing(mei: Person, stall: Stall, lan: Person, left: str) -> None:
    order_id = paid(mei, stall)
    settle()
    client = Client()
    client.force_login(lan.user)
    User.objects.filter(pk=lan.id).update(**{left: False})
    statuses = {action_of(route): ask(lan.api, route, order_id) for route in staff_routes()}
    assert set(statuses.values()) <= NOBODYS
    assert client.get(reverse("admin:desk_deskorder_changelist")).status_code == 302
