"""Personal data in no log, task or error and not in the admin's log: searched through the whole run, see `canaries`."""

from __future__ import annotations

import logging

import pytest

from tests.support import canaries
from tests.support.canaries import Watch, WatchingHandler

pytestmark = pytest.mark.once


@pytest.fixture
def watch() -> Watch:
    """A watch of this test's own: what it plants must not fail the run."""
    return Watch()


@pytest.mark.parametrize(
    "planted",
    [
        "customer 13911110001 logged in",
        "Bearer eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.x",
        "delivered to 北京市朝阳区建国路 88 号",
        "tried four-treasures-8",
        "openid o-canary-7",
    ],
)
def test_s14_what_is_planted_is_found(watch: Watch, planted: str) -> None:
    watch.look("a log", f"something {planted} something")
    assert len(watch.found) == 1


@pytest.mark.parametrize(
    "harmless",
    [
        "order 384587957137412 is paid",
        "at 1795757883.123 and 0.13911110001",
        "request 4b13911110001cafe",
        "SMS to 13911110001: login code 123456",
        "payment 138000000012",
    ],
)
def test_s14_numbers_of_orders_are_no_telephones(watch: Watch, harmless: str) -> None:
    watch.look("a log", harmless)
    assert watch.found == []


def test_s14_a_record_is_searched_with_its_arguments_and_its_traceback(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("toy")
    logger.propagate = False
    monkeypatch.setattr(logger, "handlers", [WatchingHandler(watch)])
    logger.warning("who: %s", "13911110001")
    try:
        raise ValueError("no address 建国路 88 号")
    except ValueError:
        logger.exception("failed")
    assert [found.partition(" ")[0] for found in watch.found] == ["phone", "address"]


def test_s14_this_run_is_watched() -> None:
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, WatchingHandler)]
    assert [handler.watch for handler in handlers] == [canaries.watch]
