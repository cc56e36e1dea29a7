"""Who may do what in which shop. A role is a Django group, a membership gives a person a role in one shop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.models import Membership, User
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, PermissionRefused, ValidationFailed
from waimai.infra.sharding import DEFAULT

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

PERMISSIONS: tuple[str, ...] = tuple(str(codename) for codename, _name in Membership._meta.permissions)
ROLES: dict[str, tuple[str, ...]] = {
    "manager": PERMISSIONS,
    "front_desk": (
        "accept_order",
        "reject_order",
        "cancel_order",
        "deliver_order",
        "view_board",
        "amend_order",
        "run_shop",
        "sell_out",
    ),
    "kitchen": ("accept_order", "view_board", "amend_order", "sell_out"),
    "courier": ("deliver_order", "complete_order", "view_board"),
}
ROLE_NAMES: dict[str, StrOrPromise] = {
    "manager": _("店长"),
    "front_desk": _("前台"),
    "kitchen": _("厨房"),
    "courier": _("骑手"),
}
# The app whose admin pages keep to the shops of a role. Django's permissions that a role brings count there only: on
# other pages they would count for every shop.
BY_SHOP = "menu"
EDITED = ("category", "item", "setmealcomponent", "optiongroup", "option", "openinghours")
# Django's permissions of the roles, all of that app.
DJANGO_PERMISSIONS: dict[str, tuple[str, ...]] = {
    "manager": (
        *(f"{verb}_{model}" for model in EDITED for verb in ("view", "add", "change", "delete")),
        *("view_shop", "change_shop", "view_stock", "view_stockadjustment"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """A person's role in a shop."""

    shop_id: int
    role: str


def role_name(group: Group) -> str:
    """What people call a role; a group that is none by its own name."""
    return str(ROLE_NAMES.get(group.name, group.name))


def ensure_roles() -> None:
    """Make the four groups. Ours are the permissions of a membership; what an operator adds from elsewhere stays."""
    # Django makes permissions after `migrate`; a freshly emptied database may not have them yet.
    for app in ("accounts", BY_SHOP):
        create_permissions(apps.get_app_config(app), verbosity=0, using=DEFAULT)
    known = {row.codename: row for row in _permission_rows()}
    for name, codenames in ROLES.items():
        group, _created = Group.objects.get_or_create(name=name)
        others = group.permissions.exclude(pk__in=[row.pk for row in known.values()])
        group.permissions.set([*others, *(known[codename] for codename in codenames)])
        group.permissions.add(*_of_app(BY_SHOP).filter(codename__in=DJANGO_PERMISSIONS.get(name, ())))


def add_member(*, user_id: int, shop_id: int, role: str) -> None:
    """Give a person a role in a shop; the person becomes staff. Harmless twice. Raises ValidationFailed, NotFound."""
    group = Group.objects.filter(name=role).first() if role in ROLES else None
    if group is None:
        raise ValidationFailed(errors={"role": [f"{role!r}: {', '.join(ROLES)}"]})

    def body() -> None:
        if not User.objects.filter(pk=user_id).exists():
            raise NotFound
        User.objects.filter(pk=user_id).update(is_staff=True)
        Membership.objects.get_or_create(user_id=user_id, shop_id=shop_id, group=group)

    run_atomic(DEFAULT, body)


def require_staff(*, user_id: int, shop_id: int, permission: str) -> None:
    """Pass if the person may do this in this shop; a superuser may do everything.

    Raises NotFound for somebody who doesn't work there (as for any shop that isn't theirs), PermissionRefused for a
    role that lacks the permission, ValueError for a permission that doesn't exist.
    """
    if shop_id in _shops(user_id, permission):
        return
    if _is_superuser(user_id):
        return
    if not _active_memberships(user_id).filter(shop_id=shop_id).exists():
        raise NotFound
    raise PermissionRefused


def has_permission_somewhere(*, user_id: int, permission: str) -> bool:
    """Whether the person may do this in any shop at all. Raises ValueError for a permission that doesn't exist."""
    return bool(_shops(user_id, permission)) or _is_superuser(user_id)


def shops_of_staff(*, user_id: int, permission: str | None = None) -> frozenset[int] | None:
    """The shops this person works for (and has the permission in, if one is named); None means every shop."""
    if _is_superuser(user_id):
        return None
    if permission is not None:
        return _shops(user_id, permission)
    return frozenset(_active_memberships(user_id).values_list("shop_id", flat=True))


def permissions_of(*, user_id: int, shop_id: int) -> frozenset[str]:
    """Everything this person may do in this shop; empty for somebody who doesn't work there."""
    if _is_superuser(user_id):
        return frozenset(PERMISSIONS)
    groups = _active_memberships(user_id).filter(shop_id=shop_id).values("group_id")
    return frozenset(_permission_rows().filter(group__in=groups).values_list("codename", flat=True))


def shops_by_permission(*, user_id: int) -> Mapping[str, frozenset[int]] | None:
    """For each of Django's permissions for menus (`change_item`) the shops where the person has it; None: all in all.

    What a role brings counts in the shops of that role; what somebody holds besides, wherever he or she works.
    """
    if _is_superuser(user_id):
        return None
    members, wanted = _active_memberships(user_id), Q(group__permissions__content_type__app_label=BY_SHOP)
    found: defaultdict[str, set[int]] = defaultdict(set)
    for codename, shop in members.filter(wanted).values_list("group__permissions__codename", "shop_id"):
        found[codename].add(shop)
    besides = _of_app(BY_SHOP).filter(Q(user=user_id) | Q(group__user=user_id)).values_list("codename", flat=True)
    everywhere = set(members.values_list("shop_id", flat=True))
    for codename in set(besides):
        found[codename] |= everywhere
    return {codename: frozenset(shops) for codename, shops in found.items()}


def permissions_by_role(user: User) -> set[str]:
    """Django's permissions for menus (`menu.change_item`) that the person's roles bring, in one shop or another."""
    groups = _active_memberships(user.pk).values("group_id")
    rows = _of_app(BY_SHOP).filter(group__in=groups).values_list("codename", flat=True)
    return {f"{BY_SHOP}.{codename}" for codename in rows}


def couriers_of(*, shop_id: int) -> dict[int, str]:
    """Those who may bring this shop's orders, by number, with the names that the shop knows them by."""
    groups = Group.objects.filter(permissions__in=_permission_rows().filter(codename="complete_order"))
    rows = Membership.objects.filter(shop_id=shop_id, group__in=groups, user__is_active=True, user__is_staff=True)
    people = User.objects.filter(pk__in=rows.values("user_id")).order_by("pk")
    return {person.pk: str(person) for person in people}


def roles_of(*, user_id: int) -> tuple[Role, ...]:
    """The person's roles, by shop."""
    rows = Membership.objects.filter(user_id=user_id).order_by("shop_id", "group__name")
    return tuple(Role(shop_id=shop, role=role) for shop, role in rows.values_list("shop_id", "group__name"))


def _shops(user_id: int, permission: str) -> frozenset[int]:
    if permission not in PERMISSIONS:
        raise ValueError(permission)
    groups = Group.objects.filter(permissions__in=_permission_rows().filter(codename=permission))
    return frozenset(_active_memberships(user_id).filter(group__in=groups).values_list("shop_id", flat=True))


def _active_memberships(user_id: int) -> QuerySet[Membership]:
    return Membership.objects.filter(user_id=user_id, user__is_active=True, user__is_staff=True)


def _is_superuser(user_id: int) -> bool:
    return User.objects.filter(pk=user_id, is_active=True, is_superuser=True).exists()


def _of_app(label: str) -> QuerySet[Permission]:
    return Permission.objects.filter(content_type__app_label=label)


def _permission_rows() -> QuerySet[Permission]:
    return _of_app("accounts").filter(content_type__model="membership")
