"""The API for one's own data: to have all of it, and to leave; also for who has nothing but a WeChat."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from pytest_django import Settings

import accounts.services
from accounts import wechat
from accounts.errors import WeChatUnavailable
from accounts.logins import prove_again
from tests.accounts.factories import PASSWORD, SERVER, Api, problem, staff
from tests.factories import Person, Stall, paid, placed, settle
from tests.support.server import Server

pytestmark = pytest.mark.data
User = get_user_model()


@pytest.fixture
def mei(mei: Person) -> Person:
    """With a password, to prove who she is."""
    mei.user.set_password(PASSWORD)
    mei.user.save()
    return mei


@pytest.fixture
def of_wechat(server: Server, settings: Settings) -> Any:
    settings.WAIMAI_WECHAT_APP_ID, settings.WAIMAI_WECHAT_SIMULATOR = "wx-test", True
    wechat.WECHAT.forget()
    return accounts.services.login_with_wechat(code="mei", address=SERVER)


def test_all_that_is_kept_comes_as_one_document(mei: Person, tao: Person, stall: Stall) -> None:
    mine = paid(mei, stall)
    paid(tao, stall, key="others")
    answer: Any = mei.api.get("me/data/")
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    data = json.loads(answer.getvalue())
    assert (data["profile"]["phone"], [each["id"] for each in data["orders"]]) == (mei.user.phone, [mine])
    assert answer["Content-Type"] == "application/json"


def test_it_has_its_limit(mei: Person, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    for _time in range(3):
        assert mei.api.get("me/data/").status_code == 200
    assert problem(mei.api.get("me/data/")) == (429, "rate_limited")


def test_an_account_is_closed_by_a_proof_only(mei: Person) -> None:
    assert problem(mei.api.post("me/close/", {})) == (401, "wrong_credentials")
    assert problem(mei.api.post("me/close/", {"current_password": "wrong"})) == (401, "wrong_credentials")
    assert problem(mei.api.post("me/close/", {"code": "12345"})) == (400, "validation_error")
    assert problem(mei.api.post("me/close/", {"code": "123456"})) == (401, "wrong_code")
    assert mei.api.post("me/close/", {"current_password": PASSWORD}).status_code == 204
    assert (User.objects.get(pk=mei.id).is_active, mei.api.get("me/").status_code) == (False, 401)


def test_not_while_an_order_is_under_way(mei: Person, stall: Stall) -> None:
    placed(mei, stall)
    settle()
    assert problem(mei.api.post("me/close/", {"current_password": PASSWORD})) == (409, "orders_under_way")


def test_staff_stay() -> None:
    assert problem(Api(staff()).post("me/close/", {"current_password": PASSWORD})) == (403, "permission_denied")


def test_who_has_only_a_wechat_proves_it_by_that(of_wechat: Any) -> None:
    api = Api(of_wechat)
    assert problem(api.post("me/close/", {"wechat_code": "tao"})) == (401, "wrong_wechat_code")
    assert problem(api.post("me/close/", {"wechat_code": "mei"})) == (401, "wrong_wechat_code"), "it was used"
    assert User.objects.get(pk=of_wechat.pk).openid == "o-mei"
    assert api.post("me/close/", {"wechat_code": "again-mei"}).status_code == 204
    closed = User.objects.get(pk=of_wechat.pk)
    assert (closed.openid, closed.is_active) == (None, False)
    # The same WeChat may register anew, and sees nothing of before.
    assert accounts.services.login_with_wechat(code="again-mei", address=SERVER).pk != closed.pk


def test_a_wechat_proves_nothing_of_an_account_without_one(of_wechat: Any, mei: Person) -> None:
    assert problem(mei.api.post("me/close/", {"wechat_code": "again-mei"})) == (401, "wrong_wechat_code")


def test_that_wechat_is_away_counts_against_nobody(
    of_wechat: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATELIMIT_ENABLE = True
    proof = {"user": of_wechat, "address": SERVER, "wechat_code": "again-mei"}

    def away(_code: str) -> str:
        raise WeChatUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(wechat, "openid_of", away)
        for _time in range(30):
            with pytest.raises(WeChatUnavailable):
                prove_again(**proof)
    prove_again(**proof)
