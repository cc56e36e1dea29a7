"""Token pairs: issue, rotate, revoke; what ends them."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.conf import settings as django_settings
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken

from accounts import services
from accounts.backends import TokenAuthentication
from accounts.errors import InvalidToken
from accounts.models import LoginSession, SmsCode, User
from tests.accounts.factories import MEI, PASSWORD, SERVER, TAO, Api, customer, read
from tests.accounts.threads import at_once

pytestmark = pytest.mark.data


def claims(token: str) -> dict[str, object]:
    return jwt.decode(token, django_settings.SECRET_KEY, algorithms=["HS256"], audience="waimai")


def is_let_in(access: str) -> bool:
    return Api().get("me/", Authorization=f"Bearer {access}").status_code == 200


def test_a_pair_lives_half_an_hour_and_fourteen_days() -> None:
    pair = services.issue_tokens(customer())
    lives = []
    for token in (pair.access, pair.refresh):
        found = claims(token)
        lives.append(int(str(found["exp"])) - int(str(found["iat"])))
    assert lives == [30 * 60, 14 * 24 * 3600]


def test_a_login_is_noted() -> None:
    mei = customer()
    services.issue_tokens(mei)
    mei.refresh_from_db()
    assert mei.last_login is not None


def test_rotation_gives_a_pair_that_works() -> None:
    mei = customer()
    pair = services.rotate(services.issue_tokens(mei).refresh)
    assert is_let_in(pair.access)
    assert is_let_in(services.rotate(pair.refresh).access)


def test_a_refresh_token_works_once() -> None:
    first = services.issue_tokens(customer())
    services.rotate(first.refresh)
    with pytest.raises(InvalidToken):
        services.rotate(first.refresh)


def test_a_second_use_within_ten_seconds_does_not_end_the_new_pair() -> None:
    first = services.issue_tokens(customer())
    second = services.rotate(first.refresh)
    with pytest.raises(InvalidToken):
        services.rotate(first.refresh)
    assert is_let_in(services.rotate(second.refresh).access)


def spent_long_ago(refresh: str) -> None:
    spent = BlacklistedToken.objects.filter(token__jti=claims(refresh)["jti"])
    assert spent.update(blacklisted_at=timezone.now() - timedelta(seconds=11)) == 1


def test_a_later_second_use_ends_the_whole_session() -> None:
    mei = customer()
    first, other = services.issue_tokens(mei), services.issue_tokens(mei)
    second = services.rotate(first.refresh)
    third = services.rotate(second.refresh)
    spent_long_ago(first.refresh)
    with pytest.raises(InvalidToken):
        services.rotate(first.refresh)
    assert [is_let_in(pair.access) for pair in (first, second, third)] == [False] * 3
    with pytest.raises(InvalidToken):
        services.rotate(third.refresh)
    assert (LoginSession.objects.get(ended_at__isnull=False).end, is_let_in(other.access)) == ("reuse", True)


def test_all_tokens_of_a_login_carry_its_session() -> None:
    first = services.issue_tokens(customer())
    second = services.rotate(first.refresh)
    tokens = (first.access, first.refresh, second.access, second.refresh)
    assert {claims(token)["sid"] for token in tokens} == {LoginSession.objects.get().pk}


def test_logout_ends_the_access_token_too() -> None:
    pair = services.issue_tokens(customer())
    assert is_let_in(pair.access)
    services.revoke(pair.refresh)
    assert not is_let_in(pair.access)


def test_a_token_from_before_there_were_sessions_gets_one_when_it_is_spent() -> None:
    mei = customer()
    old = RefreshToken.for_user(mei)
    assert is_let_in(str(old.access_token))
    pair = services.rotate(str(old))
    assert claims(pair.access)["sid"] == LoginSession.objects.get().pk


def test_a_session_of_somebody_else_is_worth_nothing() -> None:
    mei, tao = customer(), customer(TAO)
    token = RefreshToken.for_user(mei)
    services.issue_tokens(tao)
    token["sid"] = LoginSession.objects.get().pk
    assert not is_let_in(str(token.access_token))


def test_the_api_asks_once_who_is_there(django_assert_num_queries: Any) -> None:
    mei = customer()
    pair = services.issue_tokens(mei)
    request = APIRequestFactory().get("/", headers={"Authorization": f"Bearer {pair.access}"})
    with django_assert_num_queries(1):
        found = TokenAuthentication().authenticate(Request(request))
    assert found is not None
    assert found[0] == mei


def test_of_two_refreshes_at_once_exactly_one_wins() -> None:
    mei = customer()
    for _ in range(5):
        pair = services.issue_tokens(mei)
        answers, refusals = at_once(2, lambda _n, token=pair.refresh: services.rotate(token))  # type: ignore[misc]
        assert (len(answers), [type(error) for error in refusals]) == (1, [InvalidToken])


def test_of_sixteen_refreshes_at_once_exactly_one_wins() -> None:
    pair = services.issue_tokens(customer())
    answers, refusals = at_once(16, lambda _n: services.rotate(pair.refresh))
    assert (len(answers), len(refusals)) == (1, 15)
    assert BlacklistedToken.objects.count() == 1
    assert OutstandingToken.objects.count() == 2  # Nothing was issued for the losers.


def test_refresh_and_logout_at_once_never_both_keep_the_token() -> None:
    pair = services.issue_tokens(customer())
    at_once(2, lambda n: services.revoke(pair.refresh) if n else services.rotate(pair.refresh))
    with pytest.raises(InvalidToken):
        services.rotate(pair.refresh)


def test_logout_ends_the_refresh_token() -> None:
    pair = services.issue_tokens(customer())
    services.revoke(pair.refresh)
    with pytest.raises(InvalidToken):
        services.rotate(pair.refresh)


def test_logout_twice_is_harmless() -> None:
    pair = services.issue_tokens(customer())
    services.revoke(pair.refresh)
    services.revoke(pair.refresh)
    assert BlacklistedToken.objects.count() == 1


def test_logout_of_one_device_leaves_the_other() -> None:
    mei = customer()
    phone, tablet = services.issue_tokens(mei), services.issue_tokens(mei)
    services.revoke(phone.refresh)
    assert is_let_in(services.rotate(tablet.refresh).access)


def test_an_access_token_refreshes_nothing() -> None:
    pair = services.issue_tokens(customer())
    with pytest.raises(InvalidToken):
        services.rotate(pair.access)


def test_a_refresh_token_opens_no_door() -> None:
    assert not is_let_in(services.issue_tokens(customer()).refresh)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_nonsense_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        services.rotate(token)
    with pytest.raises(InvalidToken):
        services.revoke(token)


def test_a_token_signed_by_somebody_else_is_refused() -> None:
    forged = jwt.encode(claims(services.issue_tokens(customer()).refresh), "x" * 50, algorithm="HS256")
    with pytest.raises(InvalidToken):
        services.rotate(forged)


def test_a_token_we_signed_but_never_issued_is_refused() -> None:
    never = claims(services.issue_tokens(customer()).refresh) | {"jti": "0" * 32}
    with pytest.raises(InvalidToken):
        services.rotate(jwt.encode(never, django_settings.SECRET_KEY, algorithm="HS256"))


def test_after_half_an_hour_access_ends_and_refresh_goes_on() -> None:
    pair = services.issue_tokens(customer())
    with time_machine.travel(timezone.now() + timedelta(minutes=33)):  # The leeway is two.
        assert not is_let_in(pair.access)
        assert is_let_in(services.rotate(pair.refresh).access)


def test_after_fourteen_days_refresh_ends() -> None:
    pair = services.issue_tokens(customer())
    with time_machine.travel(timezone.now() + timedelta(days=14, minutes=3)), pytest.raises(InvalidToken):
        services.rotate(pair.refresh)


def test_a_disabled_user_is_out_at_once() -> None:
    mei = customer()
    pair = services.issue_tokens(mei)
    assert services.set_active(user_ids=[mei.pk], active=False) == 1
    assert not is_let_in(pair.access)
    with pytest.raises(InvalidToken):
        services.rotate(pair.refresh)


def test_a_changed_password_ends_every_token_made_before() -> None:
    mei = customer()
    pair = services.issue_tokens(mei)
    services.set_password(user_id=mei.pk, new_password="eight-treasures-4", current_password=PASSWORD, address=SERVER)
    assert not is_let_in(pair.access)
    with pytest.raises(InvalidToken):
        services.rotate(pair.refresh)


def test_tokens_made_after_the_change_work() -> None:
    mei = customer()
    changed = services.set_password(
        user_id=mei.pk, new_password="eight-treasures-4", current_password=PASSWORD, address=SERVER
    )
    assert is_let_in(services.rotate(services.issue_tokens(changed).refresh).access)


def test_a_user_who_is_gone_refreshes_nothing() -> None:
    mei = customer()
    pair = services.issue_tokens(mei)
    User.objects.all().delete()
    with pytest.raises(InvalidToken):
        services.rotate(pair.refresh)


def test_what_has_expired_is_purged_and_nothing_else() -> None:
    mei = customer()
    old, young = services.issue_tokens(mei), services.issue_tokens(mei)
    services.rotate(old.refresh)
    past = timezone.now() - timedelta(hours=2)
    OutstandingToken.objects.filter(jti=claims(old.refresh)["jti"]).update(expires_at=past)
    SmsCode.objects.create(phone=MEI, code_hash="x", sent_at=past, expires_at=past)
    long_past = past - timedelta(days=14)
    LoginSession.objects.filter(pk=claims(old.refresh)["sid"]).update(renewed_at=long_past)
    assert services.purge_expired() == 3
    assert services.purge_expired() == 0
    assert LoginSession.objects.count() == 1
    assert (BlacklistedToken.objects.count(), OutstandingToken.objects.count(), SmsCode.objects.count()) == (0, 2, 0)
    assert is_let_in(services.rotate(young.refresh).access)


def test_a_purge_takes_no_more_than_a_batch() -> None:
    mei = customer()
    for _ in range(3):
        services.issue_tokens(mei)
    OutstandingToken.objects.update(expires_at=timezone.now() - timedelta(hours=2))
    assert [services.purge_expired(batch=2) for _ in range(3)] == [2, 1, 0]


def test_the_api_rotates_once() -> None:
    pair = services.issue_tokens(customer())
    first = Api().post("auth/refresh/", {"refresh": pair.refresh})
    second = Api().post("auth/refresh/", {"refresh": pair.refresh})
    assert (first.status_code, sorted(read(first))) == (200, ["access", "refresh"])
    assert (second.status_code, read(second)["code"]) == (401, "invalid_token")


def test_many_claims_are_judged_in_one_query_each_on_its_own(
    django_assert_num_queries: Any,
) -> None:
    mei, tao, eve = customer(), customer(TAO), customer("13800000009")
    tokens = [services.issue_tokens(user) for user in (mei, tao, eve)]
    good, of_tao, of_eve = (services.read_access(f"Bearer {pair.access}") for pair in tokens)
    assert good is not None
    assert of_tao is not None
    assert of_eve is not None
    User.objects.filter(pk=eve.pk).update(is_active=False)
    foreign = dataclasses.replace(good, user_id=tao.pk)
    old_password = dataclasses.replace(of_tao, made_with="of another password")
    # What is known of nobody must not match what a claim leaves out.
    nothing = dataclasses.replace(good, session="no such session", made_with="")
    with django_assert_num_queries(1):
        assert services.valid_claims([good, of_tao, of_eve, foreign, old_password, nothing]) == {good, of_tao}
