"""The pages, as a browser without JavaScript uses them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any, TypeAlias

import pytest
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.codes import RESEND_AFTER
from accounts.models import Address, User
from accounts.sms import MemorySender
from tests.accounts.factories import MEI, PASSWORD, TAO, address_body, customer, home_of, staff

pytestmark = [pytest.mark.once, pytest.mark.data]
Response: TypeAlias = Any  # The test client's own kind of response has no public name.


def text(response: Response) -> str:
    """The page's own part, without the header that every page has."""
    return str(response.content.decode()).split("<main", 1)[1]


def fields(response: Response) -> dict[str, str]:
    """What the page's forms would send as they stand: names and values of inputs."""
    found = {}
    for tag in re.findall(r"<input[^>]*>", text(response)):
        attributes = {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        if "name" in attributes:
            found[attributes["name"]] = attributes.get("value", "")
    return found


def is_in(client: Client) -> bool:
    return client.get(reverse("me")).status_code == 200


def page(client: Client, path: str) -> Response:
    return client.get(path)


@pytest.fixture
def mei(db_all: object) -> User:
    return customer(MEI, nickname="梅")


@pytest.fixture
def meis(mei: User) -> Client:
    """Mei's browser, logged in."""
    client = Client()
    client.force_login(mei)
    return client


def test_a_code_logs_in_and_leads_to_the_menu(phones: type[MemorySender]) -> None:
    client = Client()
    sent = client.post("/login/code/", {"phone": MEI, "code": "", "way": "code"})
    assert sent.status_code == 200
    assert fields(sent)["phone"] == MEI
    answer = client.post("/login/", fields(sent) | {"code": phones.last_code(MEI)})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert is_in(client)


def test_the_login_page_posts_to_where_the_buttons_say(db_all: object) -> None:
    body = text(page(Client(), "/login/"))
    assert 'action="/login/"' in body
    assert 'formaction="/login/code/"' in body
    assert "<script" not in body


def test_enter_logs_in_instead_of_sending_another_code(db_all: object) -> None:
    buttons = re.findall(r"<button[^>]*>", text(page(Client(), "/login/")))
    submitting = [button for button in buttons if 'type="submit"' in button]
    first_of_form = next(button for button in submitting if "login_code" in button or "primary" in button)
    assert "formaction" not in first_of_form


def test_a_password_logs_in(mei: User) -> None:
    client = Client()
    answer = client.post("/login/", {"way": "password", "phone": MEI, "password": PASSWORD})
    assert answer.status_code == 302
    assert is_in(client)


def test_staff_log_in_and_go_to_their_board(db_all: object) -> None:
    staff()
    form = fields(page(Client(), "/login/?way=staff&next=/board/"))
    answer = Client().post("/login/", form | {"username": "lan", "password": PASSWORD})
    assert answer["Location"] == "/board/"


@pytest.mark.parametrize("way", ["code", "password", "staff", "telepathy"])
def test_every_way_has_a_page(db_all: object, way: str) -> None:
    answer = page(Client(), f"/login/?way={way}")
    assert answer.status_code == 200
    assert fields(answer)["way"] == ("code" if way == "telepathy" else way)


def test_the_way_to_go_on_survives_a_wrong_password_and_another_way(mei: User) -> None:
    client = Client()
    wrong = client.post("/login/", {"way": "password", "phone": MEI, "password": "guess", "next": "/checkout/?a=1&b=2"})
    assert fields(wrong)["next"] == "/checkout/?a=1&b=2"
    assert "next=%2Fcheckout%2F%3Fa%3D1%26b%3D2" in text(wrong)


@pytest.mark.parametrize("evil", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"])
def test_nobody_is_led_to_another_site(mei: User, evil: str) -> None:
    body = {"way": "password", "phone": MEI, "password": PASSWORD, "next": evil}
    assert Client().post("/login/", body)["Location"] == "/"
    assert "evil" not in text(page(Client(), f"/login/?next={evil}"))


def test_a_wrong_password_is_said_and_not_shown_again(mei: User) -> None:
    client = Client()
    answer = client.post("/login/", {"way": "password", "phone": MEI, "password": "guess-me"})
    assert "账号或密码错误" in text(answer)
    assert "guess-me" not in text(answer)
    assert not is_in(client)


def test_a_malformed_phone_is_said_beside_the_field(db_all: object) -> None:
    answer = Client().post("/login/code/", {"phone": "123"})
    assert "请输入 11 位手机号" in text(answer)


def test_a_second_code_within_the_minute_is_said_with_429(phones: type[MemorySender]) -> None:
    Client().post("/login/code/", {"phone": MEI})
    answer = Client().post("/login/code/", {"phone": MEI})
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    assert f"请求过于频繁，请 {answer['Retry-After']} 秒后再试" in text(answer)


def test_only_after_a_code_was_sent_the_button_waits(meis: Client, phones: type[MemorySender]) -> None:
    waits = f'data-resend-after="{int(RESEND_AFTER.total_seconds())}"'
    for path in ("/login/", "/me/password/", "/me/close/"):
        shown = text(page(meis, path))
        assert (waits in shown, "data-code-sent" in shown) == (True, False), path
    sent = meis.post("/me/password/code/", follow=True)
    assert "data-code-sent" in text(sent)
    assert "data-code-sent" not in text(meis.post("/login/code/", {"phone": MEI}))
    assert "data-code-sent" in text(meis.post("/login/code/", {"phone": TAO}))


def test_who_asks_too_early_can_still_enter_the_first_code(phones: type[MemorySender]) -> None:
    client = Client()
    client.post("/login/code/", {"phone": MEI, "next": "/addresses/"})
    again = client.post("/login/code/", {"phone": MEI, "next": "/addresses/"})
    answer = client.post("/login/", fields(again) | {"code": phones.last_code(MEI)})
    assert answer["Location"] == "/addresses/"


def test_a_disabled_customer_is_told(mei: User) -> None:
    services.set_active(user_ids=[mei.pk], active=False)
    answer = Client().post("/login/", {"way": "password", "phone": MEI, "password": PASSWORD})
    assert "账号已停用" in text(answer)


def test_a_disabled_customers_session_ends(mei: User, meis: Client) -> None:
    services.set_active(user_ids=[mei.pk], active=False)
    assert not is_in(meis)


def test_a_form_without_csrf_token_is_refused(mei: User) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/login/", {"way": "password", "phone": MEI, "password": PASSWORD}).status_code == 403


def test_the_forms_own_csrf_token_lets_it_in(mei: User) -> None:
    client = Client(enforce_csrf_checks=True)
    form = fields(page(client, "/login/?way=password"))
    assert client.post("/login/", form | {"phone": MEI, "password": PASSWORD}).status_code == 302


def test_logging_in_changes_the_session_key_and_keeps_what_a_guest_had(mei: User) -> None:
    client = Client()
    session = client.session
    session["cart"] = {"1": 2}
    session.save()
    before = session.session_key
    client.post("/login/", {"way": "password", "phone": MEI, "password": PASSWORD})
    assert client.session.session_key != before
    assert client.session["cart"] == {"1": 2}


def test_logout_needs_a_post(meis: Client) -> None:
    assert meis.get("/logout/").status_code == 405
    assert is_in(meis)
    assert meis.post("/logout/")["Location"] == "/"
    assert not is_in(meis)


@pytest.mark.parametrize(
    "path", ["/me/", "/me/password/", "/addresses/", "/addresses/new/", "/addresses/1/", "/addresses/1/delete/"]
)
def test_nobody_is_asked_to_log_in_and_brought_back(db_all: object, path: str) -> None:
    answer = Client().get(path)
    assert answer["Location"] == f"/login/?next={path}"


def test_the_profile_shows_and_changes(meis: Client) -> None:
    shown = page(meis, "/me/")
    assert MEI in text(shown)
    assert meis.post("/me/", fields(shown) | {"nickname": "梅子"}).status_code == 302
    assert User.objects.get().nickname == "梅子"


def test_a_password_page_keeps_this_session_and_ends_others(mei: User, meis: Client) -> None:
    other = Client()
    other.force_login(mei)
    answer = meis.post("/me/password/", {"new_password": "eight-treasures-4", "current_password": PASSWORD})
    assert answer.status_code == 302
    assert (is_in(meis), is_in(other)) == (True, False)


def test_a_password_by_code(mei: User, meis: Client, phones: type[MemorySender]) -> None:
    assert meis.post("/me/password/code/").status_code == 302
    meis.post("/me/password/", {"new_password": "eight-treasures-4", "code": phones.last_code(MEI)})
    assert services.login_with_password(phone=MEI, password="eight-treasures-4", address="") == mei


def test_a_wrong_proof_is_said_on_the_password_page(meis: Client) -> None:
    for proof, said in {"guess": "密码或验证码不正确", "": "请填写当前密码或验证码"}.items():
        answer = meis.post("/me/password/", {"new_password": "eight-treasures-4", "current_password": proof})
        assert said in text(answer)
        assert "账号或密码错误" not in text(answer)
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.parametrize("path", ["/me/password/", "/me/close/"])
def test_who_has_no_password_is_not_asked_for_it(db_all: object, path: str) -> None:
    client = Client()
    client.force_login(customer(MEI, password=None))
    assert "current_password" not in fields(page(client, path))
    answer = client.post(path, {"new_password": "eight-treasures-4"})
    assert "请填写验证码" in text(answer)
    client.force_login(customer(TAO))
    assert "current_password" in fields(page(client, path))


def test_a_short_password_is_refused_in_the_readers_language(meis: Client) -> None:
    for language, said in {"zh-hans": "密码太短，至少 8 个字符", "en": "at least 8 characters"}.items():
        body = {"new_password": "a1!", "current_password": PASSWORD}
        assert said in text(meis.post("/me/password/", body, headers={"accept-language": language}))


@pytest.mark.parametrize("blank", ["   ", "\u3000", "\u200b", "\u2060 \u3164"])
def test_a_nickname_that_shows_nothing_is_refused(meis: Client, blank: str) -> None:
    assert 'id="id_nickname_error"' in text(meis.post("/me/", {"nickname": blank}))
    assert User.objects.get().nickname == "梅"


def test_an_address_is_entered_and_one_comes_back_to_checkout(meis: Client) -> None:
    form = fields(page(meis, "/addresses/new/?next=/checkout/"))
    answer = meis.post("/addresses/new/", form | address_body())
    assert answer["Location"] == "/checkout/"
    assert Address.objects.get().is_default


def test_without_next_one_comes_to_the_list(meis: Client) -> None:
    answer = meis.post("/addresses/new/", address_body())
    assert answer["Location"] == "/addresses/"
    assert "建国路 88 号" in text(page(meis, "/addresses/"))


def test_what_is_wrong_is_said_and_the_rest_is_kept(meis: Client) -> None:
    answer = meis.post("/addresses/new/", address_body(phone="1"))
    assert "请输入手机号或带区号的固定电话" in text(answer)
    assert fields(answer)["detail"] == "建国路 88 号"
    assert Address.objects.count() == 0


def test_what_only_the_service_knows_is_said_beside_the_field(meis: Client) -> None:
    answer = meis.post("/addresses/new/", address_body(latitude=""))
    assert answer.status_code == 200
    assert "经度和纬度必须同时提供" in text(answer)


def test_an_address_is_changed(mei: User, meis: Client) -> None:
    home = home_of(mei)
    form = fields(page(meis, f"/addresses/{home.id}/"))
    answer = meis.post(f"/addresses/{home.id}/", form | {"detail": "光华路 9 号"})
    assert answer["Location"] == "/addresses/"
    changed = services.get_address(user_id=mei.pk, address_id=home.id)
    assert (changed.detail, changed.latitude, changed.is_default) == ("光华路 9 号", 39.915, True)


def test_the_address_book_marks_what_has_no_place(mei: User, meis: Client) -> None:
    home_of(mei)
    assert "未定位" not in text(page(meis, "/addresses/"))
    home_of(mei, latitude=None, longitude=None)
    assert text(page(meis, "/addresses/")).count("未定位，部分商家无法确认配送范围") == 1


def test_another_address_becomes_the_default(mei: User, meis: Client) -> None:
    home_of(mei)
    work = home_of(mei)
    assert meis.post(f"/addresses/{work.id}/default/").status_code == 302
    assert services.default_address(user_id=mei.pk) == services.get_address(user_id=mei.pk, address_id=work.id)


def test_an_address_is_deleted_after_a_question(mei: User, meis: Client) -> None:
    home = home_of(mei)
    question = page(meis, f"/addresses/{home.id}/delete/")
    assert "建国路 88 号" in text(question)
    assert Address.objects.count() == 1
    assert meis.post(f"/addresses/{home.id}/delete/", fields(question))["Location"] == "/addresses/"
    assert Address.objects.count() == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", ""), ("post", ""), ("get", "delete/"), ("post", "delete/"), ("post", "default/")],
)
def test_somebody_elses_address_is_404(mei: User, method: str, path: str) -> None:
    home = home_of(mei)
    tao = Client()
    tao.force_login(customer(TAO, password=None))
    answer = getattr(tao, method)(f"/addresses/{home.id}/{path}", address_body())
    assert answer.status_code == 404
    assert services.get_address(user_id=mei.pk, address_id=home.id) == home


def test_what_people_enter_is_escaped(mei: User, meis: Client) -> None:
    home_of(mei, contact_name="<b>梅</b>", label="<script>1</script>")
    body = text(page(meis, "/addresses/"))
    assert "<b>梅" not in body
    assert "&lt;b&gt;梅" in body


def test_pages_about_a_person_are_kept_in_no_cache(meis: Client) -> None:
    for path in ("/me/", "/addresses/", "/login/"):
        assert "no-store" in page(meis, path)["Cache-Control"]
