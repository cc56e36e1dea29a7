"""System checks."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from pytest_django import Settings

from accounts import checks

BLACKLIST = "rest_framework_simplejwt.token_blacklist"


def ids(*, deploy: bool = False) -> list[str | None]:
    found = run_checks(include_deployment_checks=deploy)
    return [message.id for message in found if (message.id or "").startswith("accounts.")]


def test_as_it_ships_there_is_nothing_to_say() -> None:
    assert ids() == []


def test_a_missing_blacklist_is_an_error(settings: Settings) -> None:
    settings.INSTALLED_APPS = [name for name in django_settings.INSTALLED_APPS if name != BLACKLIST]
    found = checks.refresh_tokens_are_used_once(None)
    assert [(message.id, message.is_serious()) for message in found] == [("accounts.E001", True)]
    assert BLACKLIST in str(found[0].hint)


@pytest.mark.parametrize("path", ["accounts.sms.Pigeon", "nowhere.Sender", "nodots"])
def test_a_sender_that_cannot_be_made_is_an_error(settings: Settings, path: str) -> None:
    settings.WAIMAI_SMS_SENDER = path
    assert ids(deploy=True) == ["accounts.E002"]


def test_printing_codes_in_production_is_warned_of(settings: Settings) -> None:
    settings.DEBUG = False
    assert ids() == []
    assert ids(deploy=True) == ["accounts.W001"]


def test_a_real_sender_in_production_is_fine(settings: Settings) -> None:
    settings.DEBUG = False
    settings.WAIMAI_SMS_SENDER = "accounts.sms.MemorySender"
    assert ids(deploy=True) == []
