"""The staff's doors: a second factor, from where they open, and how often one may knock."""

from __future__ import annotations

import io
import re
from base64 import b32decode

import pytest
import requests
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from accounts import second_factor, services, wechat
from accounts.models import User
from accounts.sms import MemorySender
from tests.accounts.factories import MEI, PASSWORD, SERVER, Api, problem, staff
from tests.fixtures import phones
from tests.support.server import Server
from waimai.infra.ratelimit import Rate

__all__ = ["phones"]
pytestmark = pytest.mark.data


def token_of(device: TOTPDevice, *, later: int = 0) -> str:
    """The token an app shows now, or so many steps of 30 s later."""
    return f"{TOTP(device.bin_key, drift=later).token():06d}"


@pytest.fixture
def device() -> TOTPDevice:
    """Lan's app, taken into use with the token of the step before."""
    staff()
    made = second_factor.enroll("lan")
    assert second_factor.confirm(made, token_of(made, later=-1))
    made.refresh_from_db()
    return made


def by_api(otp: str | None = None) -> tuple[int, str]:
    body = {"username": "lan", "password": PASSWORD} | ({} if otp is None else {"otp": otp})
    answer = Api().post("auth/staff/login/", body)
    return problem(answer) if answer.status_code != 200 else (200, "")


def by_form(path: str, otp: str = "") -> bool:
    client = Client()
    client.post(path, {"way": "staff", "username": "lan", "password": PASSWORD, "otp": otp})
    return "_auth_user_id" in client.session


def test_s17_without_a_device_the_password_is_enough() -> None:
    staff()
    assert by_api() == (200, "")
    assert by_form("/admin/login/")


def test_s17_with_one_every_door_wants_its_token(device: TOTPDevice) -> None:
    assert by_api() == (401, "otp_required")
    assert not by_form("/admin/login/")
    assert not by_form("/login/")
    assert by_api(token_of(device)) == (200, "")


@pytest.mark.parametrize("path", ["/admin/login/", "/login/"])
def test_s17_the_pages_take_it(device: TOTPDevice, path: str) -> None:
    assert 'name="otp"' in Client().get(path, {"way": "staff"}).content.decode()
    assert by_form(path, token_of(device))


def test_s17_a_token_works_once(device: TOTPDevice) -> None:
    token = token_of(device)
    assert by_api(token) == (200, "")
    assert by_api(token) == (401, "wrong_otp")


def test_s17_wrong_tokens_are_slowed_down_and_counted(device: TOTPDevice) -> None:
    wrong = f"{(int(token_of(device)) + 1) % 10**6:06d}"
    assert by_api(wrong) == (401, "wrong_otp")
    # Even the right one comes too soon after a wrong one.
    assert by_api(token_of(device)) == (401, "wrong_otp")
    for _try in range(8):
        by_api(wrong)
    assert by_api(wrong) == (429, "rate_limited")


def test_s17_asking_for_the_token_is_no_failure(device: TOTPDevice) -> None:
    for _try in range(12):
        assert by_api() == (401, "otp_required")


@pytest.mark.parametrize("required", ["", "required"])
def test_s17_the_doors_of_customers_are_no_way_past_it(
    required: str, phones: type[MemorySender], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.WAIMAI_STAFF_OTP = required
    lan = staff(phone=MEI, openid="o-lan")
    if not required:
        made = second_factor.enroll("lan")
        assert second_factor.confirm(made, token_of(made, later=-1))
    assert problem(Api().post("auth/login/", {"phone": MEI, "password": PASSWORD})) == (401, "otp_required")
    services.send_code(phone=MEI, address=SERVER)
    body = {"phone": MEI, "code": phones.last_code(MEI)}
    assert problem(Api().post("auth/login/", body)) == (401, "otp_required")
    monkeypatch.setattr(wechat, "openid_of", lambda _code: "o-lan")
    assert problem(Api().post("auth/wechat/", {"code": "c"})) == (401, "otp_required")
    told = Client().post("/user/user/login", {"code": "c"}, content_type="application/json").json()
    assert (told["code"], told["data"]) == (0, None)
    client = Client()
    page = client.post("/login/", {"way": "password", "phone": MEI, "password": PASSWORD})
    assert "员工请用用户名" in page.content.decode()
    assert "_auth_user_id" not in client.session
    # Whoever works there without one orders lunch as before.
    settings.WAIMAI_STAFF_OTP = ""
    second_factor.remove("lan")
    assert services.login_with_password(phone=MEI, password=PASSWORD, address=SERVER) == lan


def test_s17_nobody_learns_of_a_device_without_the_password(device: TOTPDevice) -> None:
    answer = Api().post("auth/staff/login/", {"username": "lan", "password": "a-guess"})
    assert problem(answer) == (401, "wrong_credentials")


def test_s17_a_second_factor_may_be_required(settings: Settings) -> None:
    staff()
    settings.WAIMAI_STAFF_OTP = "required"
    assert by_api() == (401, "otp_required")
    assert not by_form("/admin/login/")


def test_s17_a_device_is_made_and_removed_by_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    staff()

    class Reader(io.StringIO):
        def readline(self, *_size: int) -> str:  # type: ignore[override]
            device = TOTPDevice.objects.get()
            return token_of(device) + "\n"

    monkeypatch.setattr("sys.stdin", Reader())
    call_command("otp", "enroll", "lan")
    shown = capsys.readouterr().out
    secret = re.search(r"secret=([A-Z2-7]+)", shown)
    assert secret
    assert b32decode(secret.group(1)) == TOTPDevice.objects.get(confirmed=True).bin_key
    assert by_api() == (401, "otp_required")
    call_command("otp", "remove", "lan")
    assert by_api() == (200, "")


def test_s17_a_wrong_first_token_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    staff()
    monkeypatch.setattr("sys.stdin", io.StringIO("nonsense\n"))
    with pytest.raises(CommandError, match="not its token"):
        call_command("otp", "enroll", "lan")
    assert TOTPDevice.objects.count() == 0
    with pytest.raises(CommandError, match="nobody"):
        call_command("otp", "enroll", "nobody")


# --- from where ---


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/api/v1/staff/orders/", "/api/v1/auth/staff/login/"])
def test_s17_the_staffs_side_may_be_open_to_some_networks_only(settings: Settings, path: str) -> None:
    settings.WAIMAI_ADMIN_NETWORKS = ["203.0.113.0/24", "2001:db8::/32"]
    settings.WAIMAI_TRUSTED_PROXIES = ["10.0.0.1"]

    def status(connected: str, forwarded: str = "") -> int:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        return Client(REMOTE_ADDR=connected).get(path, headers=headers).status_code

    inside = [status("203.0.113.9"), status("2001:db8:5::1"), status("10.0.0.1", "203.0.113.9")]
    assert 404 not in inside
    outside = [status("198.51.100.1"), status("2001:db9::1"), status("198.51.100.1", "203.0.113.9")]
    outside.append(status("10.0.0.1", "203.0.113.9, 198.51.100.1"))
    assert outside == [404] * 4
    assert Client(REMOTE_ADDR="198.51.100.1").get("/login/").status_code == 200


def test_s17_the_boards_stream_too(settings: Settings, server: Server) -> None:
    lan = User.objects.create_superuser("lan", PASSWORD)
    settings.WAIMAI_ADMIN_NETWORKS = ["203.0.113.0/24"]
    answer = requests.get(f"{server.url}/api/v1/staff/events/", headers=Api(lan).headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# --- how often ---


def test_s17_one_address_may_knock_so_often(settings: Settings) -> None:
    settings.WAIMAI_RATES = settings.WAIMAI_RATES | {"staff": Rate(0.001, 3)}
    answers = [Client(REMOTE_ADDR="198.51.100.1").get("/admin/login/").status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]
    assert Client(REMOTE_ADDR="198.51.100.2").get("/admin/login/").status_code == 200
