"""Guessing passwords and codes is slow, for one guesser and for many, and locks nobody else out."""

from __future__ import annotations

from typing import ClassVar

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client
from pytest_django import Settings

from accounts import services
from accounts.models import SmsCode, User
from tests.accounts.factories import MEI, PASSWORD, TAO, Api, customer, problem, staff
from waimai.infra.ratelimit import Rate

pytestmark = pytest.mark.data
HOME, GUESSER = "203.0.113.7", "198.51.100."


class CountingHasher(Argon2PasswordHasher):
    """Weak and quick, and it counts."""

    time_cost, memory_cost, parallelism = 1, 8, 1
    work: ClassVar[int] = 0

    def encode(self, password: str, salt: str) -> str:
        CountingHasher.work += 1
        return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        CountingHasher.work += 1
        return super().verify(password, encoded)


def log_in(address: str, password: str = "a-guess", phone: str = MEI) -> tuple[int, str]:
    answer = Api(address=address).post("auth/login/", {"phone": phone, "password": password})
    return problem(answer) if answer.status_code != 200 else (200, "")


def log_in_staff(address: str, password: str = "a-guess") -> tuple[int, str]:
    answer = Api(address=address).post("auth/staff/login/", {"username": "lan", "password": password})
    return problem(answer) if answer.status_code != 200 else (200, "")


def log_in_admin(address: str, password: str = "a-guess") -> bool:
    client = Client(REMOTE_ADDR=address)
    client.post("/admin/login/", {"username": "lan", "password": password})
    return "_auth_user_id" in client.session


def test_s06_one_guesser_has_ten_tries() -> None:
    customer()
    answers = [log_in(f"{GUESSER}1") for _try in range(12)]
    assert answers == [(401, "wrong_credentials")] * 10 + [(429, "rate_limited")] * 2
    assert log_in(f"{GUESSER}1", PASSWORD) == (429, "rate_limited")


def test_s06_a_guesser_does_not_lock_the_owner_out() -> None:
    customer()
    for _try in range(12):
        log_in(f"{GUESSER}1")
    assert log_in(HOME, PASSWORD) == (200, "")


def test_s06_many_guessers_together_have_fifty_tries_and_the_owner_comes_in_from_where_they_live(
    settings: Settings,
) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    customer()
    assert log_in(HOME, PASSWORD) == (200, "")
    answers = [log_in(f"{GUESSER}{number // 5}") for number in range(60)]
    assert answers.count((401, "wrong_credentials")) == 50
    assert log_in(f"{GUESSER}99", PASSWORD) == (429, "rate_limited")
    assert log_in(HOME, PASSWORD) == (200, "")
    assert log_in(f"{GUESSER}99", PASSWORD, TAO) == (401, "wrong_credentials")


def test_s06_a_crowd_at_ones_door_does_not_keep_one_out(settings: Settings) -> None:
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"phone": Rate(0.001, 3)}
    customer()
    assert log_in(HOME, PASSWORD) == (200, "")
    answers = [log_in(f"{GUESSER}{number}") for number in range(4)]
    assert answers == [(401, "wrong_credentials")] * 2 + [(429, "rate_limited")] * 2
    assert log_in(HOME, PASSWORD) == (200, "")


def test_s06_staff_and_the_admin_share_one_budget() -> None:
    staff()
    for _try in range(5):
        assert log_in_staff(f"{GUESSER}1") == (401, "wrong_credentials")
        assert not log_in_admin(f"{GUESSER}1")
    assert not log_in_admin(f"{GUESSER}1", PASSWORD)
    assert log_in_staff(f"{GUESSER}1", PASSWORD) == (429, "rate_limited")
    assert log_in_admin(HOME, PASSWORD)
    assert log_in_staff(HOME, PASSWORD) == (200, "")


def test_s06_one_address_has_a_hundred_tries_an_hour_whoever_it_guesses(settings: Settings) -> None:
    settings.WAIMAI_LOGIN_FAILURES_PER_ADDRESS = "6/h"
    answers = [log_in(f"{GUESSER}1", phone=f"1391111{number:04}") for number in range(8)]
    assert answers == [(401, "wrong_credentials")] * 6 + [(429, "rate_limited")] * 2


def test_s06_a_code_has_five_tries() -> None:
    customer()
    services.send_code(phone=MEI, address=HOME)
    right = SmsCode.objects.get()
    for _try in range(5):
        Api(address=HOME).post("auth/login/", {"phone": MEI, "code": "000000"})
    right.refresh_from_db()
    assert right.attempts_left == 0


def test_s06_whoever_is_asked_for_the_work_and_the_answer_are_the_same(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    customer()
    customer("13911110003", password=None)
    customer("13911110004", is_active=False)
    User.objects.create_user("mei", PASSWORD, phone="13911110005")
    work, answers = [], []
    for number, phone in enumerate((MEI, "13911119999", "13911110003", "13911110004", "13911110005")):
        CountingHasher.work = 0
        answers.append(log_in(f"{GUESSER}{number}", phone=phone))
        work.append(CountingHasher.work)
    for number, username in enumerate(("lan", "mei", "nobody")):
        CountingHasher.work = 0
        body = {"username": username, "password": "a-guess"}
        answers.append(problem(Api(address=f"{GUESSER}{number}").post("auth/staff/login/", body)))
        work.append(CountingHasher.work)
    assert set(answers) == {(401, "wrong_credentials")}
    assert work == [1] * 8
