"""Roles, memberships and what they allow."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts import services
from accounts.models import Membership, User
from accounts.staff import PERMISSIONS, ROLES
from tests.accounts.factories import customer, staff
from waimai.infra.errors import NotFound, PermissionRefused, ValidationFailed

pytestmark = pytest.mark.data
NOODLES, DUMPLINGS = 1, 2


@pytest.fixture
def roles(db_all: object) -> None:
    services.ensure_roles()


def member(role: str, shop_id: int = NOODLES, username: str = "lan", **fields: Any) -> User:
    user = staff(username, password=None, **fields)
    services.add_member(user_id=user.pk, shop_id=shop_id, role=role)
    return user


def may(user: User, permission: str, shop_id: int = NOODLES) -> bool:
    try:
        services.require_staff(user_id=user.pk, shop_id=shop_id, permission=permission)
    except PermissionRefused:
        return False
    return True


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (
            "manager",
            "accept_order reject_order deliver_order complete_order cancel_order "
            "view_board amend_order run_shop sell_out",
        ),
        ("front_desk", "accept_order reject_order cancel_order deliver_order view_board amend_order run_shop sell_out"),
        ("kitchen", "accept_order view_board amend_order sell_out"),
        ("courier", "deliver_order complete_order view_board"),
    ],
)
def test_what_each_role_may_do(role: str, allowed: str) -> None:
    lan = member(role)
    assert {permission for permission in PERMISSIONS if may(lan, permission)} == set(allowed.split())
    assert services.permissions_of(user_id=lan.pk, shop_id=NOODLES) == set(allowed.split())


@pytest.mark.usefixtures("roles")
def test_a_shop_one_does_not_work_for_does_not_exist() -> None:
    lan = member("manager")
    with pytest.raises(NotFound):
        services.require_staff(user_id=lan.pk, shop_id=DUMPLINGS, permission="view_board")
    assert services.permissions_of(user_id=lan.pk, shop_id=DUMPLINGS) == frozenset()


@pytest.mark.usefixtures("roles")
def test_a_customer_works_nowhere() -> None:
    mei = customer(password=None)
    with pytest.raises(NotFound):
        services.require_staff(user_id=mei.pk, shop_id=NOODLES, permission="view_board")
    assert services.shops_of_staff(user_id=mei.pk) == frozenset()


@pytest.mark.usefixtures("roles")
def test_a_role_in_one_shop_gives_nothing_in_another() -> None:
    lan = member("manager", NOODLES)
    services.add_member(user_id=lan.pk, shop_id=DUMPLINGS, role="kitchen")
    assert may(lan, "cancel_order", NOODLES)
    assert not may(lan, "cancel_order", DUMPLINGS)


@pytest.mark.usefixtures("roles")
def test_two_roles_in_a_shop_add_up() -> None:
    lan = member("kitchen")
    services.add_member(user_id=lan.pk, shop_id=NOODLES, role="courier")
    assert may(lan, "accept_order")
    assert may(lan, "complete_order")
    assert not may(lan, "reject_order")


@pytest.mark.usefixtures("roles")
def test_a_superuser_may_do_everything_everywhere() -> None:
    boss = User.objects.create_superuser("boss")
    assert may(boss, "cancel_order", 12345)
    assert services.shops_of_staff(user_id=boss.pk) is None
    assert services.permissions_of(user_id=boss.pk, shop_id=12345) == set(PERMISSIONS)
    assert services.has_permission_somewhere(user_id=boss.pk, permission="view_board")


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_who_is_switched_off_or_no_longer_staff_works_nowhere(change: dict[str, bool]) -> None:
    lan = member("manager")
    User.objects.filter(pk=lan.pk).update(**change)
    with pytest.raises(NotFound):
        services.require_staff(user_id=lan.pk, shop_id=NOODLES, permission="view_board")
    assert services.shops_of_staff(user_id=lan.pk) == frozenset()


@pytest.mark.usefixtures("roles")
def test_a_disabled_superuser_may_do_nothing() -> None:
    boss = User.objects.create_superuser("boss", is_active=False)
    with pytest.raises(NotFound):
        services.require_staff(user_id=boss.pk, shop_id=NOODLES, permission="view_board")


@pytest.mark.usefixtures("roles")
def test_a_permission_nobody_declared_is_a_mistake_of_the_program() -> None:
    lan = member("manager")
    with pytest.raises(ValueError, match="fly"):
        services.require_staff(user_id=lan.pk, shop_id=NOODLES, permission="fly")


@pytest.mark.usefixtures("roles")
def test_the_shops_of_somebody() -> None:
    lan = member("kitchen", NOODLES)
    services.add_member(user_id=lan.pk, shop_id=DUMPLINGS, role="courier")
    assert services.shops_of_staff(user_id=lan.pk) == frozenset({NOODLES, DUMPLINGS})
    assert services.shops_of_staff(user_id=lan.pk, permission="complete_order") == frozenset({DUMPLINGS})
    assert services.has_permission_somewhere(user_id=lan.pk, permission="complete_order")
    assert not services.has_permission_somewhere(user_id=lan.pk, permission="reject_order")


@pytest.mark.usefixtures("roles")
def test_a_check_costs_one_query(django_assert_num_queries: Any) -> None:
    lan = member("kitchen")
    with django_assert_num_queries(1):
        services.require_staff(user_id=lan.pk, shop_id=NOODLES, permission="accept_order")


@pytest.mark.usefixtures("roles")
def test_a_member_becomes_staff_and_only_once() -> None:
    mei = customer(password=None)
    for _ in range(2):
        services.add_member(user_id=mei.pk, shop_id=NOODLES, role="courier")
    mei.refresh_from_db()
    assert mei.is_staff
    assert services.roles_of(user_id=mei.pk) == (services.Role(shop_id=NOODLES, role="courier"),)


@pytest.mark.usefixtures("roles")
def test_a_membership_stands_once_in_the_table() -> None:
    lan = member("courier")
    with pytest.raises(IntegrityError):
        Membership.objects.create(user=lan, shop_id=NOODLES, group=Group.objects.get(name="courier"))


@pytest.mark.usefixtures("roles")
def test_roles_are_the_four_and_people_exist() -> None:
    Group.objects.get_or_create(name="juggler")
    lan = staff(password=None)
    with pytest.raises(ValidationFailed):
        services.add_member(user_id=lan.pk, shop_id=NOODLES, role="juggler")
    with pytest.raises(NotFound):
        services.add_member(user_id=999_999, shop_id=NOODLES, role="courier")
    assert Membership.objects.count() == 0


@pytest.mark.usefixtures("roles")
def test_a_membership_wants_staff() -> None:
    mei = customer(password=None)
    with pytest.raises(ValidationError):
        Membership(user=mei, shop_id=NOODLES, group=Group.objects.get(name="courier")).clean()


def test_roles_are_made_once_and_keep_what_operators_add() -> None:
    services.ensure_roles()
    kitchen = Group.objects.get(name="kitchen")
    foreign = Permission.objects.get(codename="view_user")
    kitchen.permissions.add(foreign, Permission.objects.get(codename="cancel_order"))
    services.ensure_roles()
    names = set(kitchen.permissions.values_list("codename", flat=True))
    kitchen.permissions.remove(foreign)
    assert names == {"accept_order", "view_board", "amend_order", "sell_out", "view_user"}
    assert Group.objects.filter(name__in=ROLES).count() == 4


@pytest.mark.usefixtures("roles")
def test_managers_of_older_installations_get_the_menu_too() -> None:
    manager = Group.objects.get(name="manager")
    manager.permissions.remove(*manager.permissions.filter(content_type__app_label="menu"))
    lan = member("manager")
    assert not lan.has_perm("menu.change_item")
    services.ensure_roles()
    lan = User.objects.get(pk=lan.pk)
    assert lan.has_perm("menu.change_item")
    assert not lan.has_perm("menu.add_shop")
    assert not lan.has_perm("menu.delete_shop")


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_who_has_left_manages_no_menu(change: dict[str, bool]) -> None:
    lan = member("manager")
    User.objects.filter(pk=lan.pk).update(**change)
    assert not User.objects.get(pk=lan.pk).has_perm("menu.view_item")
    assert services.shops_by_permission(user_id=lan.pk) == {}


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("role", ["front_desk", "kitchen", "courier"])
def test_other_roles_do_not_manage_menus(role: str) -> None:
    lan = member(role)
    assert lan.get_all_permissions() == set()
    assert services.shops_by_permission(user_id=lan.pk) == {}


@pytest.mark.usefixtures("roles")
def test_a_permission_counts_in_the_shops_of_its_role() -> None:
    lan = member("manager", NOODLES)
    services.add_member(user_id=lan.pk, shop_id=DUMPLINGS, role="courier")
    shops = services.shops_by_permission(user_id=lan.pk)
    assert shops is not None
    assert set(shops.values()) == {frozenset({NOODLES})}
    lan.user_permissions.set(Permission.objects.filter(codename="view_item"))
    assert services.shops_by_permission(user_id=lan.pk) == {**shops, "view_item": {NOODLES, DUMPLINGS}}
    boss = User.objects.create_superuser("boss")
    assert services.shops_by_permission(user_id=boss.pk) is None
