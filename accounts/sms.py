"""Senders of text messages. `WAIMAI_SMS_SENDER` names the class; a carrier's own goes beside these."""

from __future__ import annotations

import sys
from typing import ClassVar, NamedTuple, Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string


class SmsSender(Protocol):
    """Hands a login code to a carrier. Called outside any transaction; an exception means it was not sent."""

    def send(self, *, phone: str, code: str) -> None:
        """Send `code` to `phone`, within a few seconds or not at all."""


class ConsoleSender:
    """For development: the message stands in the server's output."""

    def send(self, *, phone: str, code: str) -> None:
        """Write the message to standard output, at once."""
        sys.stdout.write(f"SMS to {phone}: login code {code}\n")
        sys.stdout.flush()


class SentCode(NamedTuple):
    """One message that MemorySender took."""

    phone: str
    code: str


class MemorySender:
    """For tests: keeps what it was given, and can be told to fail."""

    sent: ClassVar[list[SentCode]] = []
    failing: ClassVar[bool] = False

    def send(self, *, phone: str, code: str) -> None:
        """Keep the message. Raises ConnectionError while told to fail."""
        if self.failing:
            raise ConnectionError("the carrier does not answer")
        self.sent.append(SentCode(phone, code))

    @classmethod
    def reset(cls) -> None:
        """Forget every message and work again."""
        cls.sent.clear()
        cls.failing = False

    @classmethod
    def last_code(cls, phone: str) -> str:
        """The newest code sent to `phone`. Raises LookupError when there was none."""
        for message in reversed(cls.sent):
            if message.phone == phone:
                return message.code
        raise LookupError(phone)


def configured_sender() -> SmsSender:
    """The sender the settings name. Raises ImportError when there is no such class."""
    return cast(SmsSender, import_string(settings.WAIMAI_SMS_SENDER)())
