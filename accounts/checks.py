"""System checks: settings without which logins would not be safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from accounts.sms import ConsoleSender, configured_sender

BLACKLIST_APP = "rest_framework_simplejwt.token_blacklist"


@register(Tags.security)
def refresh_tokens_are_used_once(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Rotation needs the blacklist's tables: without them a stolen refresh token would live its 14 days."""
    if apps.is_installed(BLACKLIST_APP):
        return []
    hint = f"Add {BLACKLIST_APP!r} to INSTALLED_APPS and migrate."
    return [
        Error("Refresh tokens could be used twice: no token blacklist is installed.", hint=hint, id="accounts.E001")
    ]


@register(Tags.security)
def sms_sender_exists(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The sender that settings name can be imported and made."""
    try:
        configured_sender()
    except (ImportError, TypeError) as error:
        hint = "WAIMAI_SMS_SENDER is the dotted path of a class with send(*, phone, code)."
        return [Error(f"The SMS sender can't be used: {error}", hint=hint, id="accounts.E002")]
    return []


@register(Tags.security, deploy=True)
def codes_are_not_printed(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """In production login codes must not stand in the log."""
    try:
        printing = not settings.DEBUG and isinstance(configured_sender(), ConsoleSender)
    except (ImportError, TypeError):
        return []  # E002 has said it.
    hint = "Set WAIMAI_SMS_SENDER to a carrier's sender."
    return (
        [checks.Warning("Login codes are printed instead of sent.", hint=hint, id="accounts.W001")] if printing else []
    )
