"""Tests that need a server say so loudly when there is none."""

from __future__ import annotations

import pytest

from tests.support import services
from tests.support.system import free_port

pytestmark = pytest.mark.once


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address at which Redis should answer and doesn't."""
    port = free_port()
    monkeypatch.setitem(services.ADDRESSES, "redis", ("127.0.0.1", port))
    return f"redis at 127.0.0.1:{port}"


def test_where_no_server_answers_a_test_is_skipped(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAIMAI_TEST_SERVICES", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"missing here: {closed}"):
        services.require("redis")


def test_where_servers_are_required_it_fails(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAIMAI_TEST_SERVICES", "required")
    with pytest.raises(pytest.fail.Exception, match=f"missing here: {closed}"):
        services.require("redis")


def test_one_line_counts_what_was_skipped() -> None:
    reports = [
        pytest.TestReport("a", ("a", 1, "a"), {}, "skipped", ("a.py", 1, f"Skipped: missing here: {name}"), "setup")
        for name in ("redis at 127.0.0.1:6379", "chromium", "chromium")
    ]
    assert services.skipped_line(reports) == (
        "!!! 3 SERVICE TESTS DID NOT RUN, missing here: chromium; redis at 127.0.0.1:6379 !!!"
    )


def test_other_skips_are_not_counted() -> None:
    report = pytest.TestReport("a", ("a", 1, "a"), {}, "skipped", ("a.py", 1, "Skipped: not on Tuesdays"), "setup")
    assert services.skipped_line([report]) == ""
