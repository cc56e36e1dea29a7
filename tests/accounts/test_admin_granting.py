"""What groups and people may do, as boxes in the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts import services
from accounts.models import User
from tests.accounts.factories import staff
from tests.accounts.test_admin import NO_INLINES

pytestmark = pytest.mark.data
LAN = {"username": "lan", "is_active": "on", "is_staff": "on", **NO_INLINES}


@pytest.fixture
def boss(db_all: object) -> Client:
    services.ensure_roles()
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def permission(name: str) -> Permission:
    app, _dot, codename = name.partition(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)


def boxes(page: str, name: str) -> dict[int, bool]:
    """Every box of that name, and whether it is ticked."""
    found = re.findall(rf'<input type="checkbox" name="{name}" value="(\d+)"( checked)?>', page)
    return {int(value): bool(ticked) for value, ticked in found}


def keep(client: Client, path: str, **more: Any) -> tuple[int, str]:
    answer = client.post(path, more)
    return answer.status_code, answer.content.decode()


def test_a_group_shows_what_it_may(boss: Client) -> None:
    kitchen = Group.objects.get(name="kitchen")
    page = boss.get(f"/admin/auth/group/{kitchen.pk}/change/").content.decode()
    ticked = {pk for pk, there in boxes(page, "permissions").items() if there}
    assert ticked == set(kitchen.permissions.values_list("pk", flat=True))
    assert re.search(r"<legend>用户与员工 · 店铺员工</legend>", page)
    assert "可修改" in page
    assert "Can " not in page


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("menu.change_item", True),
        ("menu.add_option", True),
        ("accounts.run_shop", True),
        ("orders.change_saga", True),
        ("orders.delete_order", False),
        ("payments.add_ledgerentry", False),
        ("sessions.view_session", False),
        ("otp_totp.change_totpdevice", False),
    ],
)
def test_what_the_admin_never_asks_for_is_not_offered(boss: Client, name: str, *, there: bool) -> None:
    page = boss.get("/admin/auth/group/add/").content.decode()
    assert (permission(name).pk in boxes(page, "permissions")) is there
    status, _page = keep(boss, "/admin/auth/group/add/", name="floor", permissions=[permission(name).pk])
    # Groups outlive a test.
    made = bool(Group.objects.filter(name="floor").delete()[0])
    assert (status, made) == ((302, True) if there else (200, False))


def test_the_unusual_that_somebody_holds_stays(boss: Client) -> None:
    lan, unusual = staff(password=None), permission("sessions.view_session")
    lan.user_permissions.add(unusual)
    path = f"/admin/accounts/user/{lan.pk}/change/"
    offered = boxes(boss.get(path).content.decode(), "user_permissions")
    assert [pk for pk, ticked in offered.items() if ticked] == [unusual.pk]
    wanted = {unusual.pk, permission("menu.view_item").pk}
    assert keep(boss, path, **LAN, user_permissions=[*wanted])[0] == 302
    assert set(lan.user_permissions.values_list("pk", flat=True)) == wanted
    assert keep(boss, path, **LAN)[0] == 302
    assert not lan.user_permissions.exists()


def test_somebody_joins_groups_and_leaves_them(boss: Client) -> None:
    lan, kitchen, courier = staff(password=None), *(Group.objects.get(name=name) for name in ("kitchen", "courier"))
    path = f"/admin/accounts/user/{lan.pk}/change/"
    keep(boss, path, **LAN, groups=[kitchen.pk])
    assert list(lan.groups.all()) == [kitchen]
    keep(boss, path, **LAN, groups=[courier.pk])
    assert list(lan.groups.all()) == [courier]


@pytest.mark.parametrize("right", ["view_user", None])
def test_who_may_only_look_at_people_grants_nothing(boss: Client, right: str | None) -> None:
    lan, watcher = staff(password=None), User.objects.create_user("watcher", is_staff=True)
    if right:
        watcher.user_permissions.add(permission(f"accounts.{right}"))
    client = Client()
    client.force_login(watcher)
    path = f"/admin/accounts/user/{lan.pk}/change/"
    shown = client.get(path)
    assert shown.status_code == (200 if right else 403)
    assert boxes(shown.content.decode(), "user_permissions") == {}
    status, _page = keep(client, path, **LAN, user_permissions=[permission("menu.view_item").pk])
    assert status == 403
    assert not lan.user_permissions.exists()
