"""The login by WeChat: what WeChat says and doesn't say, codes that work once, our own token, two accounts in one."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts import services, wechat, wechat_http
from accounts.errors import AccountDisabled, PhoneTaken, WeChatUnavailable, WrongWeChatCode
from accounts.models import Address, ClosedAccount, LoginSession, User
from accounts.sms import MemorySender
from orders.services import bind_wechat
from tests import factories
from tests.accounts.factories import MEI, PASSWORD, SERVER, TAO, Api, customer, home_of, problem, read, staff
from tests.accounts.threads import at_once
from tests.factories import Person
from tests.support.server import Server
from waimai.infra import breaker
from waimai.infra.errors import PermissionRefused, RateLimited, Unauthenticated

pytestmark = [pytest.mark.once, pytest.mark.data]
SECRET = "not-a-secret"


@pytest.fixture(autouse=True)
def _wechat(settings: Settings) -> Iterator[None]:
    settings.WAIMAI_WECHAT_APP_ID, settings.WAIMAI_WECHAT_APP_SECRET = "wx-test", SECRET
    settings.WAIMAI_WECHAT_SIMULATOR = True
    wechat.WECHAT.forget()
    yield
    wechat.WECHAT.forget()


class Said:
    """WeChat as a test wants it: what it was asked, and what it says to that."""

    def __init__(self, settings: Settings) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answers: list[Any] = []
        self.seconds, self.status, self.raw = 0.0, 200, b""
        settings.WAIMAI_WECHAT_SIMULATOR = False

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        self.asked.append((parts.path, {name: found[0] for name, found in parse_qs(parts.query).items()}, body))
        time.sleep(self.seconds)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] if self.answers else {}
        data = self.raw or json.dumps(said).encode()
        handler.send_response(self.status)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@contextmanager
def serving(said: Said, settings: Settings) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.answer(self)

        def do_POST(self) -> None:
            said.answer(self)

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.WAIMAI_WECHAT_API_URL = f"http://127.0.0.1:{server.server_address[1]}"
        yield
        server.shutdown()


@pytest.fixture
def said(db_all: object, settings: Settings) -> Iterator[Said]:
    found = Said(settings)
    with serving(found, settings):
        yield found


def login(code: str = "mei") -> User:
    return services.login_with_wechat(code=code, address=SERVER)


# --- logging in, at the simulator ---


def test_a_new_person_is_registered_and_known_again(server: Server) -> None:
    mei = login("mei")
    assert (mei.openid, mei.phone, mei.has_usable_password(), mei.is_staff) == ("o-mei", None, False, False)
    assert (login("again-mei"), login("tao").openid) == (mei, "o-tao")
    assert User.objects.count() == 2


def test_by_the_api(server: Server) -> None:
    answer = Api().post("auth/wechat/", {"code": "mei"})
    tokens = read(answer)
    assert (answer.status_code, set(tokens), answer["Cache-Control"]) == (
        200,
        {"access", "refresh", "user"},
        "no-store",
    )
    caller = Client(headers={"Authorization": f"Bearer {tokens['access']}"})
    assert caller.get("/api/v1/me/").json()["id"] == tokens["user"]["id"]
    assert problem(Api().post("auth/wechat/", {"code": "invalid-1"})) == (401, "wrong_wechat_code")
    assert problem(Api().post("auth/wechat/", {})) == (400, "validation_error")


def test_a_code_works_once(server: Server) -> None:
    login("mei")
    with pytest.raises(WrongWeChatCode):
        login("mei")
    # A real one is long, and another one each time: in development it is always the same person.
    assert login("0a1B" * 8) == login("0c2D" * 8) == User.objects.get(openid="o-devtools")


@pytest.mark.parametrize(
    ("code", "error"), [("invalid", WrongWeChatCode), ("limited", RateLimited), ("busy", WeChatUnavailable)]
)
def test_what_wechat_refuses_is_refused(server: Server, code: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        login(code)
    assert User.objects.count() == 0


def test_somebody_who_is_switched_off_stays_out(server: Server) -> None:
    User.objects.filter(pk=login("mei").pk).update(is_active=False)
    with pytest.raises(AccountDisabled):
        login("again-mei")


def test_two_at_once_are_one_person(server: Server) -> None:
    users, refusals = at_once(4, lambda _number: login("again-mei").pk)
    assert (len(set(users)), refusals) == (1, [])


def test_wrong_codes_count_against_the_address(server: Server, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE, settings.WAIMAI_LOGIN_FAILURES_PER_ADDRESS = True, "2/h"
    for _time in range(2):
        with pytest.raises(WrongWeChatCode):
            login("invalid")
    with pytest.raises(RateLimited):
        login("mei")


def test_neither_right_ones_nor_a_wechat_that_is_away_count(server: Server, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE, settings.WAIMAI_LOGIN_FAILURES_PER_ADDRESS = True, "2/h"
    for _time in range(4):
        login("again-mei")
        with pytest.raises(WeChatUnavailable):
            login("busy")


def test_the_simulator_is_there_only_where_it_is_on(server: Server, settings: Settings) -> None:
    path = "/wechat-simulator/sns/jscode2session?appid=wx-test&secret=not-a-secret&js_code=again-mei"
    assert Client().get(path).json()["openid"] == "o-mei"
    assert Client().get(path.replace("not-a", "a")).json()["errcode"] == 40125
    assert Client().get(path.replace("wx-test", "wx")).json()["errcode"] == 40013
    settings.WAIMAI_WECHAT_SIMULATOR = False
    for each in ("sns/jscode2session", "cgi-bin/token", "wxa/business/getuserphonenumber"):
        assert Client().get(f"/wechat-simulator/{each}").status_code == 404


# --- a server that misbehaves ---


def test_it_is_asked_as_wechat_wants(said: Said) -> None:
    said.answers = [{"openid": "oUpF8", "session_key": "tiihtNczf5v6AKRyjwEUhQ=="}]
    assert login("c-1").openid == "oUpF8"
    asked = {"appid": "wx-test", "secret": SECRET, "js_code": "c-1", "grant_type": "authorization_code"}
    assert said.asked == [("/sns/jscode2session", asked, None)]


def test_a_busy_wechat_is_asked_a_second_time(said: Said) -> None:
    said.answers = [{"errcode": -1, "errmsg": "system error"}, {"openid": "oUpF8", "session_key": "x"}]
    assert login().openid == "oUpF8"
    said.answers = [{"errcode": -1, "errmsg": "system error"}]
    with pytest.raises(WeChatUnavailable):
        login()
    assert len(said.asked) == 4


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b"{", b"\xff", b'{"openid": 7}', b'{"openid": ""}', b"{}"])
def test_nonsense_is_no_answer(said: Said, raw: bytes) -> None:
    said.raw = raw
    with pytest.raises(WeChatUnavailable):
        login()


@pytest.mark.parametrize("status", [307, 404, 500, 503])
def test_neither_is_another_status_and_nobody_is_followed_elsewhere(said: Said, status: int) -> None:
    said.status, said.answers = status, [{"openid": "oUpF8"}]
    with pytest.raises(WeChatUnavailable):
        login()
    assert len(said.asked) == 1


@pytest.mark.parametrize("errcode", [40013, 40125, 99999, "x"])
def test_what_is_our_own_mistake_is_told_to_us(said: Said, errcode: Any, caplog: pytest.LogCaptureFixture) -> None:
    said.answers = [{"errcode": errcode, "errmsg": "?"}]
    with pytest.raises(WeChatUnavailable):
        login()
    assert "wechat" in caplog.text


@pytest.mark.parametrize(("errcode", "error"), [(40163, WrongWeChatCode), (40226, AccountDisabled)])
def test_used_codes_and_risky_people(said: Said, errcode: int, error: type[Exception]) -> None:
    said.answers = [{"errcode": errcode, "errmsg": "?"}]
    with pytest.raises(error):
        login()


def test_nobody_waits_for_longer_than_a_moment(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wechat_http, "CALL_SECONDS", 0.2)
    said.seconds, began = 2, time.monotonic()
    with pytest.raises(WeChatUnavailable):
        login()
    assert time.monotonic() - began < 1.5


def test_a_wechat_that_keeps_failing_is_left_alone(said: Said) -> None:
    said.status = 500
    for _time in range(breaker.FAILURES_TO_OPEN):
        with pytest.raises(WeChatUnavailable):
            login()
    with pytest.raises(WeChatUnavailable) as left:
        login()
    assert len(said.asked) == breaker.FAILURES_TO_OPEN
    assert 1 < (left.value.retry_after or 0) <= breaker.OPEN_SECONDS


def test_wrong_codes_do_not_open_the_circuit(said: Said) -> None:
    said.answers = [{"errcode": 40029, "errmsg": "invalid code"}]
    for _time in range(breaker.FAILURES_TO_OPEN + 1):
        with pytest.raises(WrongWeChatCode):
            login()
    assert len(said.asked) == breaker.FAILURES_TO_OPEN + 1


def test_neither_secret_nor_session_key_is_logged_or_kept(said: Said, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    said.answers = [{"openid": "oUpF8", "session_key": "canary-key"}]
    user = login("canary-code")
    said.status = 500
    with pytest.raises(WeChatUnavailable):
        login("canary-code")
    assert not [word for word in (SECRET, "canary") if word in caplog.text]
    assert "canary" not in str(User.objects.filter(pk=user.pk).values())


# --- the token of our own app ---


def test_one_fetches_the_token_for_all(said: Said) -> None:
    said.answers, said.seconds = [{"access_token": "t-1", "expires_in": 7200}], 0.3
    tokens, refusals = at_once(8, lambda _number: wechat.access_token())
    assert (tokens, refusals, len(said.asked)) == (["t-1"] * 8, [], 1)
    assert wechat.access_token() == "t-1"
    assert len(said.asked) == 1


def test_so_does_one_of_several_processes(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoLock:
        def __enter__(self) -> None:
            """Another process has another lock."""

        def __exit__(self, *_arguments: object) -> None:
            """As above."""

    monkeypatch.setattr(wechat, "_one_fetches", NoLock())
    said.answers, said.seconds = [{"access_token": "t-1", "expires_in": 7200}], 0.3
    tokens, _refusals = at_once(6, lambda _number: wechat.access_token())
    assert (set(tokens), len(said.asked)) == ({"t-1"}, 1)


def test_a_fetch_that_failed_holds_up_nobody(said: Said) -> None:
    said.status = 500
    with pytest.raises(WeChatUnavailable):
        wechat.access_token()
    said.status, said.answers = 200, [{"access_token": "t-1", "expires_in": 7200}]
    began = time.monotonic()
    assert wechat.access_token() == "t-1"
    assert time.monotonic() - began < 2


def test_a_token_is_given_up_before_wechat_does(said: Said) -> None:
    said.answers = [{"access_token": "t-1", "expires_in": 301}, {"access_token": "t-2", "expires_in": 7200}]
    assert wechat.access_token() == "t-1"
    time.sleep(1.2)
    assert wechat.access_token() == "t-2"


def test_without_a_cache_it_works_too(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object, **_named: object) -> None:
        raise ConnectionError

    for name in ("get", "set", "add", "delete"):
        monkeypatch.setattr(cache, name, away)
    said.answers = [{"access_token": "t-1", "expires_in": 7200}]
    assert wechat.access_token() == "t-1"


def test_a_token_that_wechat_takes_no_more_is_fetched_anew(said: Said) -> None:
    phone = {"errcode": 0, "errmsg": "ok", "phone_info": {"purePhoneNumber": MEI, "countryCode": "86"}}
    said.answers = [
        {"access_token": "t-1", "expires_in": 7200},
        {"errcode": 42001, "errmsg": "access_token expired"},
        {"access_token": "t-2", "expires_in": 7200},
        phone,
    ]
    assert wechat.phone_of("p-1") == MEI
    assert [(path, query.get("access_token"), body) for path, query, body in said.asked[1::2]] == [
        ("/wxa/business/getuserphonenumber", "t-1", {"code": "p-1"}),
        ("/wxa/business/getuserphonenumber", "t-2", {"code": "p-1"}),
    ]


# --- a phone for a WeChat ---


def api_of(user: User) -> Api:
    return Api(user)


def test_a_phone_is_bound_and_opens_the_account(server: Server, phones: type[MemorySender]) -> None:
    me = login("mei")
    answer = api_of(me).post("me/wechat-phone/", {"code": f"phone-{MEI}"})
    assert (answer.status_code, read(answer)["phone"]) == (200, MEI)
    services.send_code(phone=MEI, address=SERVER)
    assert services.login_with_code(phone=MEI, code=phones.last_code(MEI), address=SERVER) == me
    # The same once more is harmless, another one is not.
    assert api_of(me).post("me/wechat-phone/", {"code": f"again-phone-{MEI}"}).status_code == 200
    assert problem(api_of(me).post("me/wechat-phone/", {"code": f"phone-{TAO}"})) == (409, "already_bound")
    assert User.objects.get(pk=me.pk).phone == MEI


def test_a_phone_of_somebody_else_is_not_taken_over(server: Server) -> None:
    owner, me = customer(MEI, password=None), login("mei")
    assert problem(api_of(me).post("me/wechat-phone/", {"code": f"phone-{MEI}"})) == (409, "phone_taken")
    assert [User.objects.get(pk=each.pk).phone for each in (owner, me)] == [MEI, None]


def test_of_two_at_once_one_has_the_phone(server: Server) -> None:
    people = [login("mei"), login("tao")]

    def bind(number: int) -> int:
        return services.bind_phone(user_id=people[number].pk, code=f"again-phone-{MEI}", address=SERVER).id

    won, lost = at_once(2, bind)
    assert (len(won), [type(each) for each in lost]) == (1, [PhoneTaken])


def test_a_phone_from_abroad_is_refused(said: Said) -> None:
    said.answers = [
        {"access_token": "t", "expires_in": 7200},
        {"errcode": 0, "phone_info": {"purePhoneNumber": "5551"}},
    ]
    with pytest.raises(WrongWeChatCode):
        wechat.phone_of("p-1")


# --- a WeChat for an account ---


def bind(user: User, code: str = "again-mei", **proof: Any) -> Any:
    return bind_wechat(user_id=user.pk, code=code, address=SERVER, **(proof or {"current_password": PASSWORD}))


def test_a_wechat_is_bound_with_a_proof_and_opens_the_account(server: Server, phones: type[MemorySender]) -> None:
    me = customer(MEI)
    assert problem(api_of(me).post("me/wechat/", {"code": "again-mei"})) == (401, "wrong_credentials")
    wrong = {"code": "again-mei", "current_password": "wrong"}
    assert problem(api_of(me).post("me/wechat/", wrong)) == (401, "wrong_credentials")
    assert User.objects.get(pk=me.pk).openid is None
    services.send_code(phone=MEI, address=SERVER)
    body = {"code": "again-mei", "sms_code": phones.last_code(MEI)}
    answer = api_of(me).post("me/wechat/", body)
    assert (answer.status_code, read(answer)["id"]) == (200, me.pk)
    assert login("again-mei") == me
    assert problem(api_of(me).post("me/wechat/", {"code": "tao", "current_password": PASSWORD})) == (
        409,
        "already_bound",
    )


def test_an_empty_account_makes_way(server: Server) -> None:
    empty, me = login("again-mei"), customer(MEI)
    home_of(empty)
    session = services.issue_tokens(empty)
    bind(me)
    assert login("again-mei") == me
    assert (ClosedAccount.objects.get().user_id, Address.objects.count()) == (empty.pk, 0)
    assert not LoginSession.objects.filter(user=empty).exists()
    with pytest.raises(Unauthenticated):
        services.rotate(session.refresh)


@pytest.mark.parametrize("has", [{"phone": TAO}, {"username": "tao"}, {"is_staff": True}, {"is_active": False}])
def test_an_account_with_another_way_in_keeps_its_wechat(server: Server, has: dict[str, Any]) -> None:
    taken, me = login("again-mei"), customer(MEI)
    User.objects.filter(pk=taken.pk).update(**has)
    api = api_of(me)
    assert problem(api.post("me/wechat/", {"code": "again-mei", "current_password": PASSWORD})) == (409, "wechat_taken")
    assert User.objects.get(pk=taken.pk).openid == "o-mei"


def test_so_does_one_with_an_order(server: Server) -> None:
    ordered, me = login("again-mei"), customer(MEI)
    factories.placed(Person(ordered, home_of(ordered).id), factories.stall())
    api = api_of(me)
    assert problem(api.post("me/wechat/", {"code": "again-mei", "current_password": PASSWORD})) == (409, "wechat_taken")
    assert login("again-mei") == ordered


def test_staff_have_no_way_past_their_second_factor(server: Server) -> None:
    lan = staff()
    with pytest.raises(PermissionRefused):
        bind(lan)
    assert problem(api_of(lan).post("me/wechat-phone/", {"code": f"phone-{MEI}"})) == (403, "permission_denied")


def test_two_accounts_at_once_do_not_share_a_wechat(server: Server) -> None:
    people = [customer(MEI), customer(TAO)]
    won, lost = at_once(2, lambda number: bind(people[number]).id)
    assert (len(won), len(lost)) == (1, 1)
    assert User.objects.filter(openid="o-mei").count() == 1
