"""Forged, altered, stale and misused tokens open no door."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.utils import timezone
from pytest_django import Settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts import services
from accounts.errors import InvalidToken
from accounts.models import User
from tests.accounts.factories import Api, customer, problem
from tests.accounts.threads import at_once

pytestmark = [pytest.mark.data, pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")]


@pytest.fixture
def claims() -> dict[str, Any]:
    """What a good access token of a customer says."""
    access = services.issue_tokens(customer()).access
    return jwt.decode(access, django_settings.SECRET_KEY, algorithms=["HS256"], audience="waimai")


def sign(claims: dict[str, Any], *, key: str = "", algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(claims, key or django_settings.SECRET_KEY, algorithm=algorithm, headers=headers)


def answer(access: str) -> int:
    return Api().get("me/", Authorization=f"Bearer {access}").status_code


def test_s05_the_genuine_token_is_let_in(claims: dict[str, Any]) -> None:
    assert answer(sign(claims)) == 200


def test_s05_no_other_algorithm_and_no_other_key(claims: dict[str, Any]) -> None:
    unsigned = jwt.encode(claims, None, algorithm="none")  # type: ignore[arg-type]  # That is what "none" takes.
    header, body, signature = sign(claims).split(".")
    tokens = {
        "none": unsigned,
        "none, with a signature": f"{unsigned.split('.')[0]}.{body}.{signature}",
        "no signature": f"{header}.{body}.",
        "HS512": sign(claims, algorithm="HS512"),
        "HS384": sign(claims, algorithm="HS384"),
        "another key": sign(claims, key="x" * 64),
        "RS256 said, HS256 done": sign(claims).replace(header, jwt.utils.base64url_encode(b'{"alg":"RS256"}').decode()),
        "kid": sign(claims, key="x" * 64, kid="../../../../dev/null"),
        "kid of SQL": sign(claims, key="x" * 64, kid="' UNION SELECT 'x"),
        "jku": sign(claims, key="x" * 64, jku="http://127.0.0.1:9/keys"),
        "altered": f"{header}.{jwt.utils.base64url_encode(b'{}').decode()}.{signature}",
    }
    assert {name: answer(token) for name, token in tokens.items()} == dict.fromkeys(tokens, 401)


def test_s05_claims_are_checked(claims: dict[str, Any]) -> None:
    past = int(time.time()) - 3600
    changes: dict[str, dict[str, Any]] = {
        "expired": {"exp": past},
        "not yet": {"nbf": int(time.time()) + 3600},
        "another issuer": {"iss": "somebody"},
        "for another audience": {"aud": "somebody"},
        "another type": {"token_type": "refresh"},
        "no type": {"token_type": None},
        "a user who isn't there": {"user_id": "999999"},
        "no number": {"user_id": "1 OR 1=1"},
        "another session": {"sid": "0" * 32},
        "another password": {"hash_password": "0" * 32},
    }
    answers = {name: answer(sign(claims | change)) for name, change in changes.items()}
    assert answers == dict.fromkeys(changes, 401)
    for missing in ("exp", "jti", "token_type", "user_id", "iss", "aud"):
        assert answer(sign({name: value for name, value in claims.items() if name != missing})) == 401, missing


def test_s05_a_refresh_token_is_no_access_token_and_the_other_way_round() -> None:
    pair = services.issue_tokens(customer())
    assert answer(pair.refresh) == 401
    assert problem(Api().post("auth/refresh/", {"refresh": pair.access})) == (401, "invalid_token")


def test_s05_every_refresh_token_is_on_record() -> None:
    pair = services.issue_tokens(customer())
    second = services.rotate(pair.refresh)
    numbers = {
        jwt.decode(token, options={"verify_signature": False})["jti"] for token in (pair.refresh, second.refresh)
    }
    assert set(OutstandingToken.objects.values_list("jti", flat=True)) == numbers


def test_s05_of_twenty_refreshes_with_one_token_one_succeeds_and_nobody_is_logged_out() -> None:
    pair = services.issue_tokens(customer())
    answers, refusals = at_once(20, lambda _n: services.rotate(pair.refresh))
    assert (len(answers), {type(refusal) for refusal in refusals}) == (1, {InvalidToken})
    assert answer(answers[0].access) == 200


def test_s05_a_stolen_token_ends_the_session_of_thief_and_owner() -> None:
    stolen = services.issue_tokens(customer())
    thief = services.rotate(stolen.refresh)
    BlacklistedToken.objects.update(blacklisted_at=timezone.now() - timedelta(minutes=1))
    assert problem(Api().post("auth/refresh/", {"refresh": stolen.refresh})) == (401, "invalid_token")
    assert answer(thief.access) == 401
    assert problem(Api().post("auth/refresh/", {"refresh": thief.refresh})) == (401, "invalid_token")


def test_s05_who_is_switched_off_or_has_a_new_password_refreshes_nothing() -> None:
    mei, tao = customer(), customer("13911110002")
    pairs = [services.issue_tokens(user) for user in (mei, tao)]
    User.objects.filter(pk=mei.pk).update(is_active=False)
    tao.set_password("another-" + "x" * 12)
    tao.save(update_fields=["password"])
    for pair in pairs:
        assert problem(Api().post("auth/refresh/", {"refresh": pair.refresh})) == (401, "invalid_token")
        assert answer(pair.access) == 401


def test_s05_without_the_blacklist_the_system_refuses_to_start(settings: Settings) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "blacklist" not in app]
    assert "accounts.E001" in [message.id for message in run_checks()]
