"""Proving who one is: by code, by password, as staff."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from pytest_django import Settings

from accounts import services
from accounts.errors import AccountDisabled, WrongCode, WrongCredentials
from accounts.models import User
from accounts.sms import MemorySender
from tests.accounts.factories import MEI, PASSWORD, SERVER, TAO, Api, customer, problem, staff
from tests.accounts.threads import at_once
from waimai.infra.errors import RateLimited, ServiceUnavailable

pytestmark = pytest.mark.data
Phones = type[MemorySender]


def with_password(phone: str = MEI, password: str = PASSWORD, address: str = SERVER) -> User:
    return services.login_with_password(phone=phone, password=password, address=address)


def with_code(phones: Phones, phone: str = MEI) -> User:
    services.send_code(phone=phone, address=SERVER)
    return services.login_with_code(phone=phone, code=phones.last_code(phone), address=SERVER)


def as_staff(username: str = "lan", password: str = PASSWORD, address: str = SERVER) -> User:
    return services.login_staff(username=username, password=password, address=address)


class CountingHasher(MD5PasswordHasher):
    """Counts how often a password was hashed."""

    algorithm = "counting"
    hashed: ClassVar[int] = 0

    def encode(self, password: str, salt: str) -> str:
        CountingHasher.hashed += 1
        return super().encode(password, salt)


@pytest.fixture
def counting(settings: Settings) -> type[CountingHasher]:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    CountingHasher.hashed = 0
    return CountingHasher


def test_the_code_registers_an_unknown_phone(phones: Phones) -> None:
    user = with_code(phones)
    assert (user.phone, user.nickname, user.is_staff, user.has_usable_password()) == (MEI, "食客0001", False, False)


def test_the_code_finds_a_known_phone(phones: Phones) -> None:
    mei = customer(nickname="梅")
    assert with_code(phones) == mei
    assert User.objects.get().nickname == "梅"


def test_a_wrong_code_registers_nobody(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    with pytest.raises(WrongCode):
        services.login_with_code(phone=TAO, code=phones.last_code(MEI), address=SERVER)
    assert User.objects.count() == 0


def test_one_phone_registers_once(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    code = phones.last_code(MEI)
    answers, _refusals = at_once(4, lambda _n: services.login_with_code(phone=MEI, code=code, address=SERVER))
    assert len(answers) == User.objects.count() == 1


def test_a_disabled_customer_is_refused_by_code(phones: Phones) -> None:
    customer(is_active=False)
    with pytest.raises(AccountDisabled):
        with_code(phones)


def test_phone_and_password() -> None:
    mei = customer()
    assert with_password() == mei


@pytest.mark.parametrize("password", ["", "four-treasures-9", PASSWORD.upper(), f" {PASSWORD}"])
def test_a_wrong_password_is_refused(password: str) -> None:
    customer()
    with pytest.raises(WrongCredentials):
        with_password(password=password)


def test_an_unknown_phone_gets_the_same_answer() -> None:
    with pytest.raises(WrongCredentials):
        with_password()


def test_a_customer_without_password_cannot_log_in_by_one() -> None:
    customer(password=None)
    with pytest.raises(WrongCredentials):
        with_password(password="")


def test_a_disabled_customer_is_told_only_with_the_right_password() -> None:
    customer(is_active=False)
    with pytest.raises(WrongCredentials):
        with_password(password="guess")
    with pytest.raises(AccountDisabled):
        with_password()


def test_an_unknown_phone_costs_as_much_work_as_a_known_one(counting: type[CountingHasher]) -> None:
    customer(MEI)
    customer(TAO, password=None)
    work = {}
    for name, phone in {"known": MEI, "no password": TAO, "unknown": "13911119999"}.items():
        counting.hashed = 0
        with pytest.raises(WrongCredentials):
            with_password(phone=phone, password="guess")
        work[name] = counting.hashed
    assert work == {"known": 1, "no password": 1, "unknown": 1}


def test_a_customer_at_the_staff_door_costs_as_much_work(counting: type[CountingHasher]) -> None:
    customer(username="mei")
    counting.hashed = 0
    with pytest.raises(WrongCredentials):
        as_staff("mei", "guess")
    assert counting.hashed == 1


def test_a_megabyte_of_password_is_not_hashed(counting: type[CountingHasher]) -> None:
    customer()
    counting.hashed = 0
    with pytest.raises(WrongCredentials):
        with_password(password="x" * 1_000_000)
    assert counting.hashed == 0


def test_passwords_are_kept_with_argon2() -> None:
    assert customer().password.startswith("argon2$argon2id$")


def test_an_old_hash_is_renewed_at_login() -> None:
    mei = customer()
    User.objects.update(password=make_password(PASSWORD, hasher="pbkdf2_sha256"))
    assert User.objects.get().password.startswith("pbkdf2_sha256$")
    with_password()
    mei.refresh_from_db()
    assert mei.password.startswith("argon2$")


def test_staff_log_in_by_username() -> None:
    lan = staff()
    assert as_staff() == lan


def test_a_customer_is_refused_at_the_staff_door() -> None:
    customer(username="mei")
    with pytest.raises(WrongCredentials):
        as_staff("mei")


def test_disabled_staff_are_refused() -> None:
    staff(is_active=False)
    with pytest.raises(AccountDisabled):
        as_staff()


def fail(times: int, **changes: Any) -> None:
    for _ in range(times):
        with pytest.raises(WrongCredentials):
            with_password(**{"password": "guess", **changes})


def test_after_ten_failures_an_account_waits() -> None:
    customer()
    fail(10)
    with pytest.raises(RateLimited) as refusal:
        with_password()
    assert 0 < (refusal.value.retry_after or 0) <= 300


def test_failures_from_many_addresses_count_together(settings: Settings) -> None:
    settings.WAIMAI_LOGIN_FAILURES_PER_ACCOUNT = "10/h"
    customer()
    for number in range(10):
        fail(1, address=f"203.0.113.{number}")
    with pytest.raises(RateLimited):
        with_password(address="198.51.100.1")


def test_an_unknown_phone_waits_like_a_known_one() -> None:
    fail(10)
    with pytest.raises(RateLimited):
        with_password()


def test_another_account_need_not_wait() -> None:
    customer(TAO)
    fail(10)
    assert with_password(TAO).phone == TAO


def test_success_does_not_count(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    customer()
    for _ in range(30):
        with_password()


def test_successes_between_do_not_hide_failures() -> None:
    customer()
    fail(5)
    with_password()
    fail(5)
    with pytest.raises(RateLimited):
        with_password()


def test_an_address_has_a_hundred_failures_an_hour(settings: Settings) -> None:
    settings.WAIMAI_LOGIN_FAILURES_PER_ADDRESS = "3/h"
    customer()
    for number in range(3):
        fail(1, phone=f"1391111900{number}")
    with pytest.raises(RateLimited):
        with_password()
    assert with_password(address="198.51.100.1").phone == MEI


def test_wrong_codes_count_against_the_address(phones: Phones, settings: Settings) -> None:
    settings.WAIMAI_LOGIN_FAILURES_PER_ADDRESS = "3/h"
    for number in range(3):
        with pytest.raises(WrongCode):
            services.login_with_code(phone=f"1391111900{number}", code="000000", address=SERVER)
    with pytest.raises(RateLimited):
        with_code(phones)


def test_of_sixteen_guesses_at_once_ten_are_looked_at(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    customer()
    _answers, refusals = at_once(16, lambda _n: with_password(password="guess"))
    kinds = sorted(type(error).__name__ for error in refusals)
    assert kinds == ["RateLimited"] * 6 + ["WrongCredentials"] * 10


def test_a_staff_name_in_other_letters_has_the_same_budget() -> None:
    for name in ["lan", "LAN"] * 5:
        with pytest.raises(WrongCredentials):
            as_staff(name, "guess")
    staff()
    with pytest.raises(RateLimited):
        as_staff()


def test_with_the_cache_down_nobody_logs_in(no_cache: None) -> None:
    customer()
    with pytest.raises(ServiceUnavailable):
        with_password()
    answer = Api().post("auth/login/", {"phone": MEI, "password": PASSWORD})
    assert (problem(answer), answer["Retry-After"]) == ((503, "service_unavailable"), "2")


def test_with_the_cache_down_but_no_limits_people_log_in(no_cache: None, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = False
    customer()
    assert with_password().phone == MEI


def test_limits_can_be_switched_off(settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = False
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    customer()
    fail(12)
    assert with_password().phone == MEI
