"""What is typed into the admin's forms of people, what is wrong at first, and what is stored."""

from __future__ import annotations

from decimal import Decimal

from django.contrib.auth.models import Group

from accounts.models import Address, Membership, User
from menu.models import Shop
from tests.factories import Person
from tests.support.admin_forms import Form

PASSWORD = "eight-lanterns-5"  # pragma: allowlist secret


def people(lan: Person, shop: Shop) -> list[Form]:
    """A new colleague; Lan gets another shop's role, a group and a permission of her own."""
    return [
        Form(
            User,
            typed={
                "username": "hong",
                "phone": "13911110007",
                "nickname": "小红",
                "is_staff": True,
                "password1": PASSWORD,
                "password2": PASSWORD,
                "memberships-0-shop_id": str(shop.pk),
                "memberships-0-group": "courier",
            },
            wrong=("phone", "123", "手机号"),
            stored={
                "username": "hong",
                "phone": "13911110007",
                "nickname": "小红",
                "is_staff": True,
                "memberships__shop_id": shop.pk,
                "memberships__group__name": "courier",
            },
            again=("password1", "password2"),
        ),
        Form(
            User,
            row=lan.user,
            typed={
                "phone": "13911110008",
                "nickname": "阿兰",
                "groups": {"组": "kitchen"},
                "user_permissions": {"菜单 · 商品": "可查看"},
                "memberships-0-group": "front_desk",
            },
            wrong=("phone", "13911110007", "已存在"),
            stored={
                "phone": "13911110008",
                "nickname": "阿兰",
                "is_staff": True,
                "is_superuser": False,
                "groups__name": "kitchen",
                "user_permissions__codename": "view_item",
                "memberships__shop_id": shop.pk,
                "memberships__group__name": "front_desk",
            },
        ),
    ]


def groups() -> list[Form]:
    """A new one, and the kitchen's."""
    return [
        Form(
            Group,
            typed={"name": "floor", "permissions": {"菜单 · 店铺": "可查看"}},
            wrong=("name", "kitchen", "已存在"),
            stored={"name": "floor", "permissions__codename": "view_shop"},
        ),
        Form(
            Group,
            row=Group.objects.create(name="hall"),
            typed={"name": "garden", "permissions": {"菜单 · 分类": "可修改"}},
            wrong=("name", "", "必填"),
            stored={"name": "garden", "permissions__codename": "change_category"},
        ),
    ]


def roles(shop: Shop, hua: Person) -> list[Form]:
    """Hua works in another shop as well; where she cooked, she becomes a courier."""
    return [
        Form(
            Membership,
            typed={"user": "hua", "shop_id": str(shop.pk + 1), "group": "front_desk"},
            wrong=("user", "", "必填"),
            stored={"user": hua.id, "group__name": "front_desk", "shop_id": shop.pk + 1},
        ),
        Form(
            Membership,
            row=Membership.objects.get(user=hua.user),
            typed={"shop_id": str(shop.pk), "group": "courier"},
            wrong=("shop_id", "", "必填"),
            stored={"user": hua.id, "group__name": "courier", "shop_id": shop.pk},
        ),
    ]


def homes(mei: Person) -> list[Form]:
    """Customers enter their own; somebody mends it for them."""
    return [
        Form(
            Address,
            row=Address.objects.get(pk=mei.address_id),
            typed={
                "contact_name": "梅女士",
                "phone": "13911110009",
                "region": "北京市",
                "detail": "光华路 9 号",
                "label": "公司",
                "latitude": "39.95",
                "longitude": "116.5",
            },
            wrong=("latitude", "", "同时提供"),
            stored={
                "contact_name": "梅女士",
                "phone": "13911110009",
                "region": "北京市",
                "detail": "光华路 9 号",
                "label": "公司",
                "latitude": Decimal("39.95"),
                "longitude": Decimal("116.5"),
                "is_default": True,
                "user": mei.id,
            },
        )
    ]
