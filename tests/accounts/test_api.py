"""The API's door: statuses, shapes, headers, owners."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import services
from accounts.models import Address, User
from accounts.sms import MemorySender
from tests.accounts.factories import MEI, PASSWORD, TAO, Api, address_body, customer, home_of, problem, read, staff

pytestmark = pytest.mark.data


@pytest.fixture
def mei(db_all: object) -> User:
    return customer(MEI, nickname="梅")


@pytest.fixture
def tao(db_all: object) -> User:
    return customer(TAO, password=None)


def test_a_code_is_sent_and_logs_in(phones: type[MemorySender]) -> None:
    sent = Api().post("auth/sms/", {"phone": MEI})
    assert (sent.status_code, read(sent)) == (202, {"expires_in": 300, "resend_after": 60})
    answer = Api().post("auth/login/", {"phone": MEI, "code": phones.last_code(MEI)})
    assert answer.status_code == 200
    body = read(answer)
    assert sorted(body) == ["access", "refresh", "user"]
    assert body["user"] == {
        "id": User.objects.get().pk,
        "phone": MEI,
        "username": None,
        "nickname": "食客0001",
        "is_staff": False,
        "has_password": False,
        "roles": [],
    }


def test_the_access_token_opens_me(mei: User) -> None:
    pair = read(Api().post("auth/login/", {"phone": MEI, "password": PASSWORD}))
    answer = Api().get("me/", Authorization=f"Bearer {pair['access']}")
    assert (answer.status_code, read(answer)["id"]) == (200, mei.pk)


def test_tokens_are_kept_in_no_cache(mei: User) -> None:
    answer = Api().post("auth/login/", {"phone": MEI, "password": PASSWORD})
    assert answer["Cache-Control"] == "no-store"


def test_a_second_code_within_the_minute_is_429(phones: type[MemorySender]) -> None:
    Api().post("auth/sms/", {"phone": MEI})
    answer = Api().post("auth/sms/", {"phone": MEI})
    assert problem(answer) == (429, "rate_limited")
    assert 50 <= int(answer["Retry-After"]) <= 60


def test_a_failing_carrier_is_503(phones: type[MemorySender]) -> None:
    phones.failing = True
    answer = Api().post("auth/sms/", {"phone": MEI})
    assert problem(answer) == (503, "sms_not_sent")
    assert answer["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "phone"),
        ({"phone": "123", "password": "x"}, "phone"),
        ({"phone": MEI}, "code"),
        ({"phone": MEI, "code": "123456", "password": "x"}, "code"),
        ({"phone": MEI, "code": "12345"}, "code"),
        ({"phone": MEI, "code": None}, "code"),
        ({"phone": {"a": 1}, "password": "x"}, "phone"),
        ({"phone": MEI, "password": "x" * 129}, "password"),
        ([], "non_field_errors"),
        ("text", "non_field_errors"),
    ],
)
def test_a_malformed_login_is_400_and_names_the_field(db_all: object, body: Any, field: str) -> None:
    answer = Api().post("auth/login/", body)
    assert problem(answer) == (400, "validation_error")
    assert list(read(answer)["errors"]) == [field]


def test_wrong_proofs_are_401(mei: User) -> None:
    assert problem(Api().post("auth/login/", {"phone": MEI, "password": "guess"})) == (401, "wrong_credentials")
    assert problem(Api().post("auth/login/", {"phone": TAO, "password": "guess"})) == (401, "wrong_credentials")
    assert problem(Api().post("auth/login/", {"phone": MEI, "code": "000000"})) == (401, "wrong_code")


def test_a_disabled_account_is_403(mei: User) -> None:
    services.set_active(user_ids=[mei.pk], active=False)
    assert problem(Api().post("auth/login/", {"phone": MEI, "password": PASSWORD})) == (403, "account_disabled")


def test_the_eleventh_guess_is_429(mei: User) -> None:
    for _ in range(10):
        Api().post("auth/login/", {"phone": MEI, "password": "guess"})
    answer = Api().post("auth/login/", {"phone": MEI, "password": "guess"})
    assert problem(answer) == (429, "rate_limited")
    assert 0 < int(answer["Retry-After"]) <= 300


def test_a_stale_token_in_the_header_does_not_stop_a_login(mei: User) -> None:
    body = {"phone": MEI, "password": PASSWORD}
    assert Api().post("auth/login/", body, Authorization="Bearer stale").status_code == 200


def test_staff_log_in_at_their_own_door(db_all: object) -> None:
    services.ensure_roles()
    lan = staff()
    services.add_member(user_id=lan.pk, shop_id=7, role="courier")
    answer = Api().post("auth/staff/login/", {"username": "lan", "password": PASSWORD})
    assert answer.status_code == 200
    user = read(answer)["user"]
    assert (user["username"], user["is_staff"], user["roles"]) == ("lan", True, [{"shop_id": 7, "role": "courier"}])


def test_customers_are_refused_at_the_staff_door(db_all: object) -> None:
    customer(username="mei")
    answer = Api().post("auth/staff/login/", {"username": "mei", "password": PASSWORD})
    assert problem(answer) == (401, "wrong_credentials")


def test_logout_is_204_twice_and_ends_the_refresh_token(mei: User) -> None:
    refresh = {"refresh": services.issue_tokens(mei).refresh}
    assert [Api().post("auth/logout/", refresh).status_code for _ in range(2)] == [204, 204]
    assert problem(Api().post("auth/refresh/", refresh)) == (401, "invalid_token")


@pytest.mark.parametrize("call", ["auth/refresh/", "auth/logout/"])
def test_a_forged_refresh_token_is_401(db_all: object, call: str) -> None:
    assert problem(Api().post(call, {"refresh": "a.b.c"})) == (401, "invalid_token")
    assert problem(Api().post(call, {})) == (400, "validation_error")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "me/"),
        ("PATCH", "me/"),
        ("POST", "me/password/"),
        ("GET", "addresses/"),
        ("POST", "addresses/"),
        ("GET", "addresses/1/"),
        ("PATCH", "addresses/1/"),
        ("DELETE", "addresses/1/"),
    ],
)
def test_nobody_is_401(db_all: object, method: str, path: str) -> None:
    answer = Api().call(method, path, {})
    assert problem(answer) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_forged_access_token_is_401(db_all: object) -> None:
    assert problem(Api().get("me/", Authorization="Bearer a.b.c")) == (401, "token_not_valid")


def test_the_nickname_changes_and_nothing_else(mei: User) -> None:
    answer = Api(mei).patch("me/", {"nickname": "梅子", "phone": TAO, "is_staff": True, "roles": [], "id": 1})
    assert (answer.status_code, read(answer)["nickname"]) == (200, "梅子")
    mei.refresh_from_db()
    assert (mei.nickname, mei.phone, mei.is_staff) == ("梅子", MEI, False)


def test_patching_nothing_changes_nothing(mei: User) -> None:
    answer = Api(mei).patch("me/", {})
    assert (answer.status_code, read(answer)["nickname"]) == (200, "梅")


def test_a_new_password_comes_with_a_new_pair(mei: User) -> None:
    old = Api(mei)
    body = {"new_password": "eight-treasures-4", "current_password": PASSWORD}
    answer = old.post("me/password/", body)
    assert (answer.status_code, sorted(read(answer))) == (200, ["access", "refresh"])
    assert old.get("me/").status_code == 401
    assert Api().get("me/", Authorization=f"Bearer {read(answer)['access']}").status_code == 200


def test_a_weak_password_is_400(mei: User) -> None:
    answer = Api(mei).post("me/password/", {"new_password": "12345678", "current_password": PASSWORD})
    assert problem(answer) == (400, "validation_error")
    assert list(read(answer)["errors"]) == ["new_password"]


def test_an_address_is_201_and_comes_back(mei: User) -> None:
    answer = Api(mei).post("addresses/", address_body())
    assert answer.status_code == 201
    body = read(answer)
    assert body == address_body(id=body["id"], is_default=True)
    assert read(Api(mei).get(f"addresses/{body['id']}/")) == body


def test_the_least_an_address_needs(mei: User) -> None:
    answer = Api(mei).post("addresses/", {"contact_name": "梅", "phone": MEI, "detail": "建国路 88 号"})
    assert (answer.status_code, read(answer)["region"], read(answer)["latitude"]) == (201, "", None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phone": "1"}, "phone"),
        ({"detail": ""}, "detail"),
        ({"contact_name": None}, "contact_name"),
        ({"latitude": 91}, "latitude"),
        ({"latitude": "nan"}, "latitude"),
        ({"longitude": None}, "longitude"),
        ({"is_default": "maybe"}, "is_default"),
        ({"detail": "路\x00"}, "detail"),
    ],
)
def test_a_malformed_address_is_400_and_names_the_field(mei: User, changes: dict[str, Any], field: str) -> None:
    answer = Api(mei).post("addresses/", address_body(**changes))
    assert problem(answer) == (400, "validation_error")
    assert list(read(answer)["errors"]) == [field]
    assert Address.objects.count() == 0


def test_addresses_are_paged_newest_first(mei: User, tao: User) -> None:
    made = [home_of(mei).id for _ in range(25)]
    home_of(tao)
    first = read(Api(mei).get("addresses/"))
    second = read(Api(mei).get(first["next"].split("/api/v1/")[1]))
    assert (len(first["results"]), len(second["results"])) == (20, 5)
    assert (first["previous"], second["next"]) == (None, None)
    assert [row["id"] for row in first["results"] + second["results"]] == made[::-1]


def test_a_list_of_none(mei: User) -> None:
    assert read(Api(mei).get("addresses/")) == {"next": None, "previous": None, "results": []}


def test_the_number_of_queries_does_not_grow(mei: User, django_assert_max_num_queries: Any) -> None:
    api = Api(mei)
    for _ in range(15):
        home_of(mei)
    with django_assert_max_num_queries(2):
        assert len(read(api.get("addresses/"))["results"]) == 15


def test_an_address_changes_and_goes(mei: User) -> None:
    home = home_of(mei)
    changed = Api(mei).patch(f"addresses/{home.id}/", {"label": "老家", "id": 1})
    assert (changed.status_code, read(changed)["label"], read(changed)["id"]) == (200, "老家", home.id)
    assert Api(mei).delete(f"addresses/{home.id}/").status_code == 204
    assert problem(Api(mei).get(f"addresses/{home.id}/")) == (404, "not_found")


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {"label": "我的"}), ("DELETE", None)])
def test_somebody_elses_address_is_404(mei: User, tao: User, method: str, body: Any) -> None:
    home = home_of(mei)
    assert problem(Api(tao).call(method, f"addresses/{home.id}/", body)) == (404, "not_found")
    assert services.get_address(user_id=mei.pk, address_id=home.id) == home


@pytest.mark.parametrize("number", [0, 2**53, 2**63, 10**30])
def test_an_address_that_never_was_is_404(mei: User, number: int) -> None:
    assert problem(Api(mei).get(f"addresses/{number}/")) == (404, "not_found")


def test_a_key_replays_the_first_answer(mei: User) -> None:
    first = Api(mei).post("addresses/", address_body(), Idempotency_Key="k-1")
    again = Api(mei).post("addresses/", address_body(), Idempotency_Key="k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert read(again) == read(first)
    assert (first.has_header("Idempotent-Replayed"), again["Idempotent-Replayed"]) == (False, "true")
    assert Address.objects.count() == 1


def test_a_key_with_another_body_is_422(mei: User) -> None:
    Api(mei).post("addresses/", address_body(), Idempotency_Key="k-1")
    answer = Api(mei).post("addresses/", address_body(label="公司"), Idempotency_Key="k-1")
    assert problem(answer) == (422, "idempotency_key_reused")
    assert Address.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 65, "two words", "käse"])
def test_a_key_is_visible_ascii(mei: User, key: str) -> None:
    answer = Api(mei).post("addresses/", address_body(), Idempotency_Key=key)
    assert answer.status_code == 400
    assert Address.objects.count() == 0


def test_the_document_names_every_call(db_all: object) -> None:
    answer = Api().get("schema/?format=json")
    paths = read(answer)["paths"]
    calls = {
        (path.removeprefix("/api/v1/"), method)
        for path, methods in paths.items()
        for method in methods
        if path.removeprefix("/api/v1/").split("/")[0] in {"auth", "me", "addresses"}
    }
    assert calls == {
        ("auth/sms/", "post"),
        ("auth/login/", "post"),
        ("auth/staff/login/", "post"),
        ("auth/refresh/", "post"),
        ("auth/logout/", "post"),
        ("auth/live-ticket/", "post"),
        ("auth/wechat/", "post"),
        ("me/wechat/", "post"),
        ("me/data/", "get"),
        ("me/close/", "post"),
        ("me/wechat-phone/", "post"),
        ("me/", "get"),
        ("me/", "patch"),
        ("me/password/", "post"),
        ("addresses/", "get"),
        ("addresses/", "post"),
        ("addresses/{address_id}/", "get"),
        ("addresses/{address_id}/", "patch"),
        ("addresses/{address_id}/", "delete"),
    }


def test_the_document_tells_shapes(db_all: object) -> None:
    document = read(Api().get("schema/?format=json"))
    created = document["paths"]["/api/v1/addresses/"]["post"]
    listed = document["paths"]["/api/v1/addresses/"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    page = document["components"]["schemas"][listed["$ref"].split("/")[-1]]
    assert "201" in created["responses"]
    assert [parameter["name"] for parameter in created["parameters"]] == ["Idempotency-Key"]
    assert set(page["properties"]) == {"next", "previous", "results"}
    assert document["paths"]["/api/v1/auth/login/"]["post"]["security"] == [{}]
