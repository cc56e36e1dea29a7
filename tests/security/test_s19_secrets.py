"""No secret stands in the repository, and no production process starts with one that everybody knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from tests.accounts.factories import Api, customer, problem, staff
from tests.support.source import ROOT
from waimai.infra import parts

SECRET = "kf93jf0skdPq1Zx8Nw5Tb7Yc2Lm6Hg4R" + "-for-a-test-of-production-"
NO_SECRETS = r"\.(lock|baseline)$"
GOOD = {
    "WAIMAI_DEBUG": "0",
    "WAIMAI_SECRET_KEY": SECRET,
    "WAIMAI_ALLOWED_HOSTS": "shop.example.com",
    "WAIMAI_TRUSTED_PROXIES": "10.0.0.1",
    "WAIMAI_SMS_SENDER": "accounts.sms.MemorySender",
    "WAIMAI_PAYMENT_PROVIDERS": "",
}


def why_not(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], *, debug: bool = False) -> str:
    for name in [name for name in os.environ if name.startswith("WAIMAI_")]:
        monkeypatch.delenv(name)
    for name, value in (GOOD | changes).items():
        monkeypatch.setenv(name, value)
    try:
        parts.refuse_what_is_unsafe(environ.Env(), debug=debug)
    except ImproperlyConfigured as error:
        return str(error)
    return ""


@pytest.mark.once
def test_s19_good_settings_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not(monkeypatch, {}) == ""
    assert why_not(monkeypatch, {"WAIMAI_SECRET_KEY": "x"}, debug=True) == ""


@pytest.mark.once
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"WAIMAI_SECRET_KEY": ""}, "WAIMAI_SECRET_KEY"),
        ({"WAIMAI_SECRET_KEY": "short"}, "WAIMAI_SECRET_KEY"),
        ({"WAIMAI_SECRET_KEY": "a" * 64}, "WAIMAI_SECRET_KEY"),
        ({"WAIMAI_SECRET_KEY": "django-insecure-" + SECRET}, "WAIMAI_SECRET_KEY"),
        ({"WAIMAI_ALLOWED_HOSTS": "*"}, "WAIMAI_ALLOWED_HOSTS"),
        ({"WAIMAI_ALLOWED_HOSTS": "shop.example.com,.example.com"}, "WAIMAI_ALLOWED_HOSTS"),
        ({"WAIMAI_DEMO": "1"}, "WAIMAI_DEMO"),
        ({"WAIMAI_WECHAT_SIMULATOR": "1"}, "WAIMAI_WECHAT_SIMULATOR"),
        ({"WAIMAI_SANDBOX_AUTOPAY": "1"}, "WAIMAI_SANDBOX_AUTOPAY"),
    ],
)
def test_s19_unsafe_settings_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], named: str
) -> None:
    assert named in why_not(monkeypatch, changes)


@pytest.mark.once
def test_s19_every_reason_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = why_not(monkeypatch, {"WAIMAI_ENV": "production", "WAIMAI_SECRET_KEY": "x", "WAIMAI_DEMO": "1"}, debug=True)
    assert all(name in said for name in ("WAIMAI_DEBUG", "WAIMAI_SECRET_KEY", "WAIMAI_DEMO"))


def manage(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WAIMAI_", "DJANGO_"))}
    environment = clean | GOOD | {"WAIMAI_DATA_DIR": str(folder)} | changes
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.once
def test_s19_a_process_with_unsafe_settings_does_not_start(tmp_path: Path) -> None:
    ended = manage(tmp_path, "check", WAIMAI_ALLOWED_HOSTS="*")
    assert (ended.returncode, "WAIMAI_ALLOWED_HOSTS has a wildcard" in ended.stderr) == (1, True)


@pytest.mark.once
def test_s19_the_check_for_production_finds_nothing(tmp_path: Path) -> None:
    ended = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert (ended.returncode, ended.stderr, "no issues" in ended.stdout) == (0, "", True)


@pytest.mark.data
def test_s19_outside_a_demo_its_password_opens_nothing(settings: Settings) -> None:
    customer("13800000001", password="waimai-demo")
    staff("admin", password="waimai-demo", is_superuser=True)
    settings.WAIMAI_DEMO = False
    told = [
        problem(Api().post("auth/login/", {"phone": "13800000001", "password": "waimai-demo"})),
        problem(Api().post("auth/staff/login/", {"username": "admin", "password": "waimai-demo"})),
    ]
    assert told == [(401, "wrong_credentials")] * 2
    settings.WAIMAI_DEMO = True
    assert Api().post("auth/login/", {"phone": "13800000001", "password": "waimai-demo"}).status_code == 200


def found_in(folder: Path, *arguments: str) -> set[tuple[str, str, str]]:
    """What looks like a secret in a folder: file, kind and digest."""
    scan = [sys.executable, "-m", "detect_secrets", "scan", "--exclude-files", NO_SECRETS, *arguments]
    return _known(subprocess.run(scan, cwd=folder, check=True, capture_output=True, text=True).stdout)


def _known(told: str) -> set[tuple[str, str, str]]:
    results = json.loads(told)["results"]
    return {(file, row["type"], row["hashed_secret"]) for file, rows in results.items() for row in rows}


@pytest.mark.once
def test_s19_no_secret_is_in_the_repository() -> None:
    """What only looks like one stands in a baseline: look at it, then
    `.venv/bin/detect-secrets scan --exclude-files '\\.(lock|baseline)$' > .secrets.baseline`.
    """
    looked_at = _known((ROOT / ".secrets.baseline").read_text())
    assert sorted(found_in(ROOT) - looked_at) == []


@pytest.mark.once
def test_s19_a_secret_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text('PASSWORD = "hunter2-' + 'fjeiwo38fjwk"\n')
    assert len(found_in(tmp_path, "--all-files", ".")) == 1
