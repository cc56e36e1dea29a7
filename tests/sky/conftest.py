"""Who is there, and a telephone with the published client on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from accounts import wechat
from tests.fixtures import lan, mei, phones, stall, tao
from tests.sky.client import SkyClient
from tests.support.server import Server

__all__ = ["lan", "mei", "phones", "stall", "tao"]


@pytest.fixture
def wechat_answers(server: Server, settings: Settings) -> Iterator[Server]:
    """WeChat's simulator on our own web process, and a circuit that nothing has failed on yet."""
    settings.WAIMAI_WECHAT_SIMULATOR = True
    settings.WAIMAI_WECHAT_APP_ID, settings.WAIMAI_WECHAT_APP_SECRET = "wx-test", "not-a-secret"
    wechat.WECHAT.forget()
    yield server
    wechat.WECHAT.forget()


@pytest.fixture
def phone(wechat_answers: Server) -> SkyClient:
    """A telephone whose owner has logged in."""
    return SkyClient(wechat_answers.url).login("again-mei")
