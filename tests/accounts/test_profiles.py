"""Profiles, passwords and the short form of a person."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import services
from accounts.errors import WrongCode, WrongCredentials
from accounts.models import User
from accounts.services import Profile, UserBrief
from accounts.sms import MemorySender
from tests.accounts.factories import MEI, PASSWORD, SERVER, TAO, customer, staff
from waimai.infra.errors import NotFound, RateLimited, ValidationFailed

pytestmark = pytest.mark.data
NEW = "eight-treasures-4"


def set_password(user: User, new_password: str = NEW, **proof: Any) -> User:
    return services.set_password(user_id=user.pk, new_password=new_password, address=SERVER, **proof)


def test_a_profile_shows_a_customer() -> None:
    mei = customer(nickname="梅")
    assert services.profile_of(mei) == Profile(
        id=mei.pk, phone=MEI, username=None, nickname="梅", is_staff=False, has_password=True, roles=()
    )


def test_a_profile_shows_what_staff_do() -> None:
    services.ensure_roles()
    lan = staff(password=None)
    services.add_member(user_id=lan.pk, shop_id=7, role="kitchen")
    profile = services.profile_of(lan)
    assert (profile.username, profile.has_password) == ("lan", False)
    assert profile.roles == (services.Role(shop_id=7, role="kitchen"),)


def test_a_customers_profile_asks_the_database_nothing(django_assert_num_queries: Any) -> None:
    mei = customer(password=None)
    with django_assert_num_queries(0):
        services.profile_of(mei)


def test_the_nickname_changes() -> None:
    mei = customer(password=None)
    assert services.update_profile(user_id=mei.pk, nickname=" 梅子🍜 ").nickname == "梅子🍜"
    assert User.objects.get().nickname == "梅子🍜"


@pytest.mark.parametrize("nickname", ["", "  ", "梅" * 33])
def test_a_nickname_has_1_to_32_characters(nickname: str) -> None:
    mei = customer(password=None, nickname="梅")
    with pytest.raises(ValidationFailed) as refusal:
        services.update_profile(user_id=mei.pk, nickname=nickname)
    assert list(refusal.value.errors or {}) == ["nickname"]
    assert User.objects.get().nickname == "梅"


def test_nobody_has_no_profile() -> None:
    with pytest.raises(NotFound):
        services.update_profile(user_id=999_999, nickname="x")


def test_the_current_password_proves_a_change() -> None:
    set_password(customer(), current_password=PASSWORD)
    assert User.objects.get().check_password(NEW)


def test_a_code_proves_a_first_password(phones: type[MemorySender]) -> None:
    mei = customer(password=None)
    services.send_code(phone=MEI, address=SERVER)
    set_password(mei, code=phones.last_code(MEI))
    assert services.login_with_password(phone=MEI, password=NEW, address=SERVER) == mei


@pytest.mark.parametrize("proof", [{}, {"current_password": "guess"}, {"current_password": "", "code": ""}])
def test_without_proof_nothing_changes(proof: dict[str, str]) -> None:
    with pytest.raises(WrongCredentials):
        set_password(customer(), **proof)
    assert User.objects.get().check_password(PASSWORD)


def test_a_code_of_somebody_elses_phone_proves_nothing(phones: type[MemorySender]) -> None:
    services.send_code(phone=TAO, address=SERVER)
    with pytest.raises(WrongCode):
        set_password(customer(MEI), code=phones.last_code(TAO))
    assert User.objects.get().check_password(PASSWORD)


def test_staff_without_a_phone_prove_it_by_password_only() -> None:
    with pytest.raises(WrongCode):
        set_password(staff(), code="123456")


def test_guessing_the_current_password_is_limited() -> None:
    mei = customer(password=None)
    for _ in range(10):
        with pytest.raises(WrongCredentials):
            set_password(mei, current_password="guess")
    with pytest.raises(RateLimited):
        set_password(mei, current_password="guess")


@pytest.mark.parametrize("password", ["short", "password123", MEI, "x" * 129])
def test_a_bad_password_is_refused_before_the_code_is_spent(phones: type[MemorySender], password: str) -> None:
    mei = customer(password=None)
    services.send_code(phone=MEI, address=SERVER)
    with pytest.raises(ValidationFailed) as refusal:
        set_password(mei, password, code=phones.last_code(MEI))
    assert list(refusal.value.errors or {}) == ["new_password"]
    set_password(mei, code=phones.last_code(MEI))


def test_many_people_in_one_query(django_assert_num_queries: Any) -> None:
    mei, lan = customer(password=None, nickname="梅"), staff(password=None, nickname="兰")
    with django_assert_num_queries(1):
        found = services.user_brief([mei.pk, lan.pk, mei.pk, 999_999])
    assert found == {
        mei.pk: UserBrief(id=mei.pk, nickname="梅", phone=MEI),
        lan.pk: UserBrief(id=lan.pk, nickname="兰", phone=""),
    }


def test_switching_off_and_on() -> None:
    mei = customer(password=None)
    assert services.set_active(user_ids=[mei.pk, 999_999], active=False) == 1
    assert services.set_active(user_ids=[mei.pk], active=False) == 0
    assert services.set_active(user_ids=[mei.pk], active=True) == 1
    assert User.objects.get().is_active


@pytest.mark.parametrize(
    ("user", "text"),
    [
        (User(pk=5, nickname="梅", phone=MEI), "梅"),
        (User(pk=5, username="lan"), "lan"),
        (User(pk=5, phone=MEI), "139****0001"),
        (User(pk=5, openid="o1"), "#5"),
    ],
)
def test_everybody_can_be_named(user: User, text: str) -> None:
    assert (str(user), user.get_short_name(), user.get_full_name()) == (text, text, text)


def test_many_people_may_have_no_username_and_no_phone() -> None:
    for openid in ("o1", "o2"):
        User.objects.create_user(openid=openid)
    assert User.objects.filter(username=None, phone=None).count() == 2
