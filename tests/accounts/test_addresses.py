"""Addresses: whose they are, and that exactly one is the default."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from accounts import services
from accounts.addresses import ADDRESSES_PER_USER
from accounts.errors import TooManyAddresses
from accounts.models import Address, User
from tests.accounts.factories import MEI, PASSWORD, SERVER, TAO, customer, draft, home_of
from tests.accounts.threads import at_once
from waimai.infra.errors import IdempotencyKeyReused, NotFound, ValidationFailed

pytestmark = pytest.mark.data


@pytest.fixture
def mei(db_all: object) -> User:
    return customer(MEI, password=None)


@pytest.fixture
def tao(db_all: object) -> User:
    return customer(TAO, password=None)


def defaults(user: User) -> list[int]:
    return list(Address.objects.filter(user=user, is_default=True).values_list("pk", flat=True))


def change(user: User, address_id: int, **changes: Any) -> services.AddressInfo:
    return services.change_address(user_id=user.pk, address_id=address_id, changes=changes)


def test_an_address_comes_back_as_entered(mei: User) -> None:
    home = home_of(mei)
    assert services.get_address(user_id=mei.pk, address_id=home.id) == services.AddressInfo(
        id=home.id,
        contact_name="梅",
        phone=MEI,
        region="北京市朝阳区",
        detail="建国路 88 号",
        label="家",
        latitude=39.915,
        longitude=116.455,
        is_default=True,
    )


def test_the_first_address_is_the_default_and_the_second_is_not(mei: User) -> None:
    home, work = home_of(mei), home_of(mei, label="公司")
    assert (home.is_default, work.is_default) == (True, False)
    assert defaults(mei) == [home.id]


def test_a_new_default_takes_the_old_ones_place(mei: User) -> None:
    home_of(mei)
    work = home_of(mei, is_default=True)
    assert work.is_default
    assert defaults(mei) == [work.id]


def test_setting_the_default_moves_it(mei: User) -> None:
    home, work = home_of(mei), home_of(mei)
    assert services.set_default_address(user_id=mei.pk, address_id=work.id).is_default
    assert defaults(mei) == [work.id]
    assert not services.get_address(user_id=mei.pk, address_id=home.id).is_default


def test_setting_the_default_twice_is_harmless(mei: User) -> None:
    home = home_of(mei)
    services.set_default_address(user_id=mei.pk, address_id=home.id)
    assert defaults(mei) == [home.id]


def test_the_default_cannot_just_be_given_up(mei: User) -> None:
    home = home_of(mei)
    home_of(mei)
    with pytest.raises(ValidationFailed) as refusal:
        change(mei, home.id, is_default=False, label="老家")
    assert list(refusal.value.errors or {}) == ["is_default"]
    assert services.get_address(user_id=mei.pk, address_id=home.id).label == "家"
    assert defaults(mei) == [home.id]


def test_saying_no_on_one_that_is_not_the_default_changes_nothing(mei: User) -> None:
    home, work = home_of(mei), home_of(mei)
    change(mei, work.id, is_default=False)
    assert defaults(mei) == [home.id]


def test_the_newest_inherits_from_a_deleted_default(mei: User) -> None:
    home, _work, gym = home_of(mei), home_of(mei), home_of(mei)
    services.delete_address(user_id=mei.pk, address_id=home.id)
    assert defaults(mei) == [gym.id]


def test_deleting_another_leaves_the_default(mei: User) -> None:
    home, work = home_of(mei), home_of(mei)
    services.delete_address(user_id=mei.pk, address_id=work.id)
    assert defaults(mei) == [home.id]


def test_the_last_one_may_go(mei: User) -> None:
    home = home_of(mei)
    services.delete_address(user_id=mei.pk, address_id=home.id)
    assert services.default_address(user_id=mei.pk) is None


def test_the_default_address_of_somebody(mei: User, tao: User) -> None:
    home = home_of(mei)
    assert services.default_address(user_id=mei.pk) == home
    assert services.default_address(user_id=tao.pk) is None


def test_defaults_of_two_people_do_not_meet(mei: User, tao: User) -> None:
    mine, his = home_of(mei), home_of(tao)
    home_of(mei, is_default=True)
    assert mine.id not in defaults(mei)
    assert defaults(tao) == [his.id]


def test_somebody_elses_address_does_not_exist(mei: User, tao: User) -> None:
    home = home_of(mei)
    attempts: list[Callable[[], object]] = [
        lambda: services.get_address(user_id=tao.pk, address_id=home.id),
        lambda: change(tao, home.id, detail="别处 1 号"),
        lambda: services.set_default_address(user_id=tao.pk, address_id=home.id),
        lambda: services.delete_address(user_id=tao.pk, address_id=home.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    assert services.get_address(user_id=mei.pk, address_id=home.id) == home


def test_many_addresses_are_read_in_one_query(mei: User, tao: User, django_assert_num_queries: Any) -> None:
    mine, his = home_of(mei), home_of(tao)
    with django_assert_num_queries(1):
        found = services.get_addresses(owners={mine.id: mei.pk, his.id: mei.pk, 999_999: mei.pk})
    assert found == {mine.id: mine}


def test_a_user_who_does_not_exist_keeps_no_address() -> None:
    with pytest.raises(NotFound):
        services.add_address(user_id=999_999, draft=draft())
    assert Address.objects.count() == 0


def test_some_fields_change_and_others_stay(mei: User) -> None:
    home = home_of(mei)
    changed = change(mei, home.id, detail=" 光华路 9 号 ", label="")
    assert (changed.detail, changed.label, changed.region) == ("光华路 9 号", "", "北京市朝阳区")
    assert services.get_address(user_id=mei.pk, address_id=home.id) == changed


def test_no_changes_are_fine(mei: User) -> None:
    home = home_of(mei)
    assert change(mei, home.id) == home


def test_a_field_that_does_not_exist_is_a_mistake_of_the_program(mei: User) -> None:
    home = home_of(mei)
    with pytest.raises(KeyError):
        change(mei, home.id, user_id=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contact_name", ""),
        ("contact_name", "   "),
        ("contact_name", "梅" * 33),
        ("phone", "12345"),
        ("phone", f"{MEI}\n0"),
        ("detail", ""),
        ("detail", "1"),
        ("detail", "路" * 201),
        ("region", "区" * 101),
        ("label", "家" * 21),
        ("latitude", 90.5),
        ("latitude", float("nan")),
        ("latitude", float("inf")),
        ("latitude", 1e300),
        ("latitude", None),
        ("longitude", -180.1),
        ("longitude", None),
    ],
)
def test_what_is_wrong_is_named(mei: User, field: str, value: object) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        services.add_address(user_id=mei.pk, draft=draft(**{field: value}))
    assert list(refusal.value.errors or {}) == [field]
    assert Address.objects.count() == 0


@pytest.mark.parametrize("phone", [MEI, "010-65880001", "02165880001", "0755-2658000"])
def test_mobiles_and_landlines_can_be_called(mei: User, phone: str) -> None:
    assert home_of(mei, phone=phone).phone == phone


def test_an_address_need_not_have_coordinates(mei: User) -> None:
    home = home_of(mei, latitude=None, longitude=None)
    assert (home.latitude, home.longitude) == (None, None)


def test_coordinates_keep_six_decimals(mei: User) -> None:
    home = home_of(mei, latitude=39.91512349999, longitude=-0.0000004)
    assert Address.objects.get().latitude == Decimal("39.915123")
    assert (home.latitude, home.longitude) == (39.915123, 0)


def test_fifty_addresses_are_enough(mei: User) -> None:
    home_of(mei)
    row = Address.objects.get()
    Address.objects.bulk_create(
        Address(user=mei, contact_name="梅", phone=MEI, detail=row.detail) for _ in range(ADDRESSES_PER_USER - 1)
    )
    with pytest.raises(TooManyAddresses):
        home_of(mei)
    assert Address.objects.count() == ADDRESSES_PER_USER == 50


def test_one_key_makes_one_address(mei: User) -> None:
    first = services.add_address(user_id=mei.pk, draft=draft(), key="k1")
    again = services.add_address(user_id=mei.pk, draft=draft(), key="k1")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.address == first.address
    assert Address.objects.count() == 1


def test_a_key_stands_for_one_address_only(mei: User) -> None:
    services.add_address(user_id=mei.pk, draft=draft(), key="k1")
    with pytest.raises(IdempotencyKeyReused):
        services.add_address(user_id=mei.pk, draft=draft(label="公司"), key="k1")


def test_two_people_may_use_the_same_key(mei: User, tao: User) -> None:
    services.add_address(user_id=mei.pk, draft=draft(), key="k1")
    assert not services.add_address(user_id=tao.pk, draft=draft(), key="k1").replayed
    assert Address.objects.count() == 2


def test_a_refusal_binds_no_key(mei: User) -> None:
    with pytest.raises(ValidationFailed):
        services.add_address(user_id=mei.pk, draft=draft(phone="1"), key="k1")
    assert not services.add_address(user_id=mei.pk, draft=draft(), key="k1").replayed


def test_the_key_of_a_deleted_address_makes_no_second(mei: User) -> None:
    first = services.add_address(user_id=mei.pk, draft=draft(), key="k1")
    services.delete_address(user_id=mei.pk, address_id=first.address.id)
    with pytest.raises(NotFound):
        services.add_address(user_id=mei.pk, draft=draft(), key="k1")
    assert Address.objects.count() == 0


def test_eight_posts_of_one_key_at_once_make_one_address(mei: User) -> None:
    answers, refusals = at_once(8, lambda _n: services.add_address(user_id=mei.pk, draft=draft(), key="k1"))
    assert (len({added.address.id for added in answers}), refusals) == (1, [])
    assert sorted(added.replayed for added in answers) == [False] + [True] * 7
    assert Address.objects.count() == 1


def test_eight_first_addresses_at_once_have_one_default(mei: User) -> None:
    at_once(8, lambda n: services.add_address(user_id=mei.pk, draft=draft(is_default=n % 2 == 0)))
    assert (Address.objects.count(), len(defaults(mei))) == (8, 1)


def test_deleting_and_choosing_at_once_leaves_one_default(mei: User) -> None:
    rows = [home_of(mei) for _ in range(6)]

    def move(number: int) -> None:
        if number % 2:
            services.set_default_address(user_id=mei.pk, address_id=rows[number].id)
        else:
            services.delete_address(user_id=mei.pk, address_id=rows[number].id)

    _answers, refusals = at_once(6, move)
    assert refusals == []
    assert (Address.objects.count(), len(defaults(mei))) == (3, 1)


def test_nothing_is_kept_for_who_has_just_left(db_all: object) -> None:
    mei = customer(MEI)
    services.close_account(user_id=mei.pk, address=SERVER, current_password=PASSWORD)
    # As requests that came in before, and were held up.
    with pytest.raises(NotFound):
        services.add_address(user_id=mei.pk, draft=draft())
    with pytest.raises(NotFound):
        services.update_profile(user_id=mei.pk, nickname="阿梅")
    assert not Address.objects.filter(user=mei).exists()
