"""Who of the staff may do what, written down as a table; a new route or model that isn't in it fails by itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import NoReverseMatch, reverse
from pytest_django import Settings

from accounts.models import User
from orders.desk.models import DeskOrder
from tests import factories
from tests.accounts.factories import Api
from tests.factories import Person, Stall, paid, settle
from tests.fixtures import lan, mei, stall
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
# The models of the admin for which a role in a shop is enough; others are for superusers, or need Django's permission.
SEEN_BY_ROLES = {"desk.DeskOrder"}
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


def test_s02_the_admin_opens_to_roles_what_the_table_says(mei: Person, stall: Stall) -> None:
    paid(mei, stall)
    settle()
    wrong = {}
    for role in (*ROLES, "customer"):
        who = mei if role == "customer" else factories.works_at(stall.shop_id, role)
        client = Client()
        client.force_login(who.user)
        for model in admin.site._registry:
            for name, path in admin_pages(model, 1).items():
                status = client.get(path).status_code
                seen = status == 200
                if seen != (role != "customer" and model._meta.label in SEEN_BY_ROLES and name == "list"):
                    wrong[f"{role} {model._meta.label} {name}"] = status
                posted = client.post(path, {"action": "delete_selected", "_selected_action": ["1"]}).status_code
                if posted not in {302, 403, 404} and model._meta.label not in SEEN_BY_ROLES:
                    wrong[f"{role} POST {model._meta.label} {name}"] = posted
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
