"""The demo people of the contract."""

from __future__ import annotations

import pytest

from accounts import demo, services
from accounts.models import Address, Membership, User
from tests.accounts.factories import SERVER

pytestmark = pytest.mark.data
SHOP = 3
WEST, EAST, SOUTH, NORTH = 116.40, 116.50, 39.88, 39.96


@pytest.fixture
def seeded(db_all: object) -> None:
    demo.seed(SHOP)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("username", ["admin", "kitchen", "courier", "manager", "frontdesk"])
def test_staff_log_in_with_the_password_of_the_contract(username: str) -> None:
    assert services.login_staff(username=username, password="waimai-demo", address=SERVER).is_staff


@pytest.mark.usefixtures("seeded")
def test_customers_log_in_with_the_password_of_the_contract() -> None:
    for number in range(1, 6):
        phone = f"1380000000{number}"
        assert services.login_with_password(phone=phone, password="waimai-demo", address=SERVER).phone == phone


@pytest.mark.usefixtures("seeded")
def test_each_customer_has_a_default_address_inside_the_delivery_area() -> None:
    found = [services.default_address(user_id=user.pk) for user in User.objects.filter(phone__isnull=False)]
    assert len(found) == 5
    for address in found:
        assert address is not None
        assert SOUTH < (address.latitude or 0) < NORTH
        assert WEST < (address.longitude or 0) < EAST


@pytest.mark.usefixtures("seeded")
def test_staff_work_in_the_shop() -> None:
    roles = set(Membership.objects.values_list("user__username", "shop_id", "group__name"))
    assert roles == {
        ("kitchen", SHOP, "kitchen"),
        ("courier", SHOP, "courier"),
        ("manager", SHOP, "manager"),
        ("frontdesk", SHOP, "front_desk"),
    }
    assert User.objects.get(username="admin").is_superuser


@pytest.mark.usefixtures("seeded")
def test_twice_is_harmless() -> None:
    User.objects.filter(username="kitchen").update(nickname="王师傅")
    before = list(User.objects.order_by("pk").values())
    demo.seed(SHOP)
    assert list(User.objects.order_by("pk").values()) == before
    assert (Address.objects.count(), Membership.objects.count()) == (5, 4)


def test_a_demo_of_before_gets_the_new_people(db_all: object) -> None:
    demo.seed(SHOP)
    User.objects.filter(username__in=("manager", "frontdesk")).delete()
    demo.seed(SHOP)
    manager = User.objects.get(username="manager")
    assert manager.has_perm("menu.change_item")
    assert not manager.is_superuser
