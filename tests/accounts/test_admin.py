"""Django's admin of people, addresses and memberships."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import services
from accounts.models import Address, Membership, User
from tests.accounts.factories import MEI, PASSWORD, SERVER, customer, home_of, staff

pytestmark = pytest.mark.data
USERS, ADDRESSES = "/admin/accounts/user/", "/admin/accounts/address/"
NO_INLINES = {
    f"{prefix}-{name}": "0" for prefix in ("memberships", "addresses") for name in ("TOTAL_FORMS", "INITIAL_FORMS")
}


@pytest.fixture
def boss(db_all: object) -> Client:
    services.ensure_roles()
    client = Client()
    client.force_login(User.objects.create_superuser("boss", PASSWORD))
    return client


def act(client: Client, path: str, action: str, *ids: int, **more: str) -> HttpResponse:
    return client.post(path, {"action": action, "_selected_action": list(ids), **more})  # type: ignore[return-value]


@pytest.mark.parametrize("model", ["user", "address", "membership"])
def test_lists_and_searches_open(boss: Client, model: str) -> None:
    home_of(customer())
    lan = staff(password=None)
    services.add_member(user_id=lan.pk, shop_id=1, role="kitchen")
    assert boss.get(f"/admin/accounts/{model}/").status_code == 200
    assert boss.get(f"/admin/accounts/{model}/?q=139").status_code == 200


def test_a_person_is_made_without_a_username(boss: Client) -> None:
    body = {
        "username": "",
        "phone": MEI,
        "nickname": "梅",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    answer = boss.post(f"{USERS}add/", body | NO_INLINES)
    assert answer.status_code == 302
    mei = User.objects.get(phone=MEI)
    assert (mei.username, mei.openid) == (None, None)
    assert services.login_with_password(phone=MEI, password=PASSWORD, address=SERVER) == mei


def test_a_second_person_without_a_username_is_no_clash(boss: Client) -> None:
    customer("13911110009", password=None)
    body = {"phone": MEI, "nickname": "", "usable_password": "false"}
    boss.post(f"{USERS}add/", body | NO_INLINES)
    assert User.objects.filter(username=None).count() == 2


def test_a_person_is_changed_and_keeps_nulls(boss: Client) -> None:
    mei = customer()
    body = {"username": "", "phone": MEI, "nickname": "梅子", "is_active": "on"}
    assert boss.post(f"{USERS}{mei.pk}/change/", body | NO_INLINES).status_code == 302
    mei.refresh_from_db()
    assert (mei.nickname, mei.username, mei.check_password(PASSWORD)) == ("梅子", None, True)


def test_staff_get_a_role_on_their_page(boss: Client) -> None:
    lan = staff(password=None)
    inline = {
        "memberships-TOTAL_FORMS": "1",
        "memberships-0-shop_id": "7",
        "memberships-0-group": str(Group.objects.get(name="courier").pk),
    }
    body = {"username": "lan", "is_active": "on", "is_staff": "on", **NO_INLINES, **inline}
    assert boss.post(f"{USERS}{lan.pk}/change/", body).status_code == 302
    assert services.roles_of(user_id=lan.pk) == (services.Role(shop_id=7, role="courier"),)


@pytest.mark.parametrize(("is_staff", "made"), [(True, 1), (False, 0)])
def test_a_membership_is_for_staff(boss: Client, *, is_staff: bool, made: int) -> None:
    user = User.objects.create_user("lan", is_staff=is_staff)
    body = {"user": str(user.pk), "shop_id": "7", "group": str(Group.objects.get(name="kitchen").pk)}
    boss.post("/admin/accounts/membership/add/", body)
    assert Membership.objects.count() == made


def test_a_membership_of_nobody_is_answered_beside_the_field(boss: Client) -> None:
    body = {"user": "", "shop_id": "7", "group": str(Group.objects.get(name="kitchen").pk)}
    answer = boss.post("/admin/accounts/membership/add/", body)
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == ["user"]


def test_a_membership_offers_roles_only(boss: Client) -> None:
    juggler, _created = Group.objects.get_or_create(name="juggler")
    body = boss.get("/admin/accounts/membership/add/").content.decode()
    assert "kitchen" in body
    assert "juggler" not in body
    juggler.delete()


def test_people_are_switched_off_but_never_deleted(boss: Client) -> None:
    mei = customer(password=None)
    assert boss.post(f"{USERS}{mei.pk}/delete/", {"post": "yes"}).status_code == 403
    act(boss, USERS, "delete_selected", mei.pk, post="yes")
    act(boss, USERS, "switch_off", mei.pk)
    mei.refresh_from_db()
    assert not mei.is_active
    act(boss, USERS, "switch_on", mei.pk)
    mei.refresh_from_db()
    assert mei.is_active


def test_nobody_switches_oneself_off(boss: Client) -> None:
    me = User.objects.get(username="boss")
    act(boss, USERS, "switch_off", me.pk)
    me.refresh_from_db()
    assert me.is_active


def test_deleting_addresses_leaves_a_default(boss: Client) -> None:
    mei = customer(password=None)
    rows = [home_of(mei) for _ in range(3)]
    act(boss, ADDRESSES, "delete_selected", rows[0].id, rows[2].id, post="yes")
    assert services.default_address(user_id=mei.pk) == services.get_address(user_id=mei.pk, address_id=rows[1].id)
    assert Address.objects.count() == 1


def test_an_address_is_changed_but_not_its_owner(boss: Client) -> None:
    mei = customer(password=None)
    home, boss_id = home_of(mei), User.objects.get(username="boss").pk
    body = {
        "contact_name": "梅",
        "phone": MEI,
        "region": "",
        "detail": "光华路 9 号",
        "label": "",
        "latitude": "39.9",
        "longitude": "116.4",
        "user": str(boss_id),
    }
    assert boss.post(f"{ADDRESSES}{home.id}/change/", body).status_code == 302
    changed = services.get_address(user_id=mei.pk, address_id=home.id)
    assert (changed.detail, changed.latitude, changed.region) == ("光华路 9 号", 39.9, "")


def test_half_a_position_is_refused_on_the_form(boss: Client) -> None:
    home = home_of(customer(password=None))
    body = {"contact_name": "梅", "phone": MEI, "detail": "光华路 9 号", "latitude": "39.9", "longitude": ""}
    answer = boss.post(f"{ADDRESSES}{home.id}/change/", body)
    assert answer.status_code == 200
    assert "经度和纬度必须同时提供" in answer.content.decode()


def test_the_default_moves_by_action(boss: Client) -> None:
    mei = customer(password=None)
    home_of(mei)
    work = home_of(mei)
    act(boss, ADDRESSES, "make_default", work.id)
    assert list(Address.objects.filter(is_default=True).values_list("pk", flat=True)) == [work.id]


@pytest.fixture
def our_backend(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = ["accounts.backends.StaffBackend"]


def admin_login(username: str, password: str) -> int:
    body = {"username": username, "password": password}
    return Client(REMOTE_ADDR=SERVER).post(reverse("admin:login"), body).status_code


@pytest.mark.usefixtures("our_backend", "db_all")
def test_staff_log_in_to_the_admin() -> None:
    staff()
    assert admin_login("lan", PASSWORD) == 302


@pytest.mark.usefixtures("our_backend", "db_all")
def test_customers_do_not() -> None:
    customer(username="mei")
    assert admin_login("mei", PASSWORD) == 200


@pytest.mark.usefixtures("our_backend", "db_all")
def test_the_admins_login_shares_the_limits() -> None:
    staff()
    for _ in range(10):
        admin_login("lan", "guess")
    assert admin_login("lan", PASSWORD) == 200


@pytest.mark.usefixtures("our_backend", "db_all")
def test_no_username_or_password_is_nobody() -> None:
    assert not Client().login(username="lan")
    assert not Client().login(token="x")


def test_a_page_from_before_does_not_bring_back_who_left() -> None:
    boss = Client()
    boss.force_login(staff("boss", is_superuser=True))
    mei = customer(MEI)
    url = f"/admin/accounts/user/{mei.pk}/change/"
    page = boss.get(url)
    stale = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    stale |= {"phone": MEI, "nickname": "阿梅", "is_active": "on"}
    services.close_account(user_id=mei.pk, address=SERVER, current_password=PASSWORD)
    assert boss.post(url, stale).status_code == 403
    boss.post("/admin/accounts/user/", {"action": "switch_on", "_selected_action": [mei.pk]})
    mei.refresh_from_db()
    assert (mei.phone, mei.nickname, mei.is_active) == (None, "", False)
    # It can still be looked at.
    assert boss.get(url).status_code == 200
