"""Every form of the admin in a real browser: what is typed is stored, what is wrong is answered beside its field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from django.contrib.auth.models import Group, Permission

from accounts.models import User
from menu.models import Category, Item, Shop
from tests import factories
from tests.factories import Person, Stall
from tests.journeys import typed_menu, typed_people
from tests.journeys.test_live_page import session_of
from tests.support.admin_forms import Form, covered, editable
from tests.support.chromium import DESKTOP, PHONE, Visit
from tests.support.server import Server

pytestmark = [
    pytest.mark.once,
    pytest.mark.data,
    pytest.mark.services("chromium"),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]


@pytest.fixture
def boss(stall: Stall) -> Person:
    return Person(User.objects.create_superuser("boss"))


@pytest.fixture
def groups() -> Iterator[list[Form]]:
    """Forms of groups. Those that they make are taken away: groups outlive a test."""
    known = list(Group.objects.values_list("pk", flat=True))
    yield typed_people.groups()
    Group.objects.exclude(pk__in=known).delete()


@pytest.fixture
def menu(stall: Stall) -> list[Form]:
    """Forms of what a shop sells."""
    shop = Shop.objects.get(pk=stall.shop_id)
    fish, tofu, rice = (Item.objects.get(pk=pk) for pk in (stall.fish, stall.tofu, stall.rice))
    return [
        typed_menu.shop(shop),
        *typed_menu.categories(shop),
        *typed_menu.items(shop, fish),
        *typed_menu.choices(tofu, rice),
    ]


@pytest.fixture
def people(stall: Stall, lan: Person, mei: Person, groups: list[Form]) -> list[Form]:
    """Forms of who works there and who orders."""
    shop, hua = Shop.objects.get(pk=stall.shop_id), factories.works_at(stall.shop_id, "kitchen", "hua")
    return [*typed_people.people(lan, shop), *groups, *typed_people.roles(shop, hua), *typed_people.homes(mei)]


def fill_in(server: Server, who: Person, forms: list[Form], *, size: dict[str, int], theirs: str = "") -> None:
    """All of them in one browser; the page at `theirs` is not there."""
    wrong = list[str]()

    def go(page: Any) -> None:
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda got: wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        seen = set[object]()
        for form in forms:
            form.fill_in(page, server.url, look=form.model not in seen)
            seen.add(form.model)
        if theirs:
            page.goto(urljoin(server.url, theirs))

    there = Visit(f"{server.url}/admin/", go, session=session_of(who), size=size, may_complain=bool(theirs))
    there.start()
    there.finish(150)
    assert wrong == ([f"404 {urljoin(server.url, theirs)}"] if theirs else [])
    assert {str(form): form.found() for form in forms} == {str(form): [form.stored] for form in forms}


def test_the_boss_fills_in_every_form(
    server: Server, stall: Stall, boss: Person, menu: list[Form], people: list[Form]
) -> None:
    forms = [typed_menu.new_shop(), *menu, *people]
    assert covered(forms) == editable(boss.user)
    fill_in(server, boss, forms, size=DESKTOP)
    assert Item.objects.get(pk=stall.fish).image
    assert User.objects.get(username="hong").check_password(typed_people.PASSWORD)


def test_a_manager_fills_in_those_of_the_own_shop(server: Server, stall: Stall, lan: Person, menu: list[Form]) -> None:
    lan.user.user_permissions.set(Permission.objects.filter(content_type__app_label="menu"))
    theirs = factories.stall("隔壁酒楼")
    assert covered(menu) == editable(lan.user)
    fill_in(server, lan, menu, size=PHONE, theirs=f"/admin/menu/item/{theirs.fish}/change/")
    assert not Category.objects.filter(shop=theirs.shop_id, name="凉菜").exists()
