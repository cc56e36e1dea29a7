"""The OpenAPI document is true: schemathesis asks a running server what it allows, and much that it forbids."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]  # No stubs here.

import accounts.services
from tests.factories import Person, Stall, paid, placed
from tests.fixtures import lan, mei, stall
from tests.support.server import WebProcess
from waimai import openapi
from waimai.asgi import LIVE_ROUTES

__all__ = ["lan", "mei", "stall"]
pytestmark = [pytest.mark.once, pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(400)]
EXAMPLES = 8
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def run(web: WebProcess, who: Person, folder: Path, *options: str) -> None:
    """All operations as this person. Fails with what schemathesis says."""
    token = accounts.services.issue_tokens(who.user).access
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)]
    command += ["run", f"{web.url}/api/v1/schema/"]
    command += ["--header", f"Authorization: Bearer {token}", "--max-examples", str(EXAMPLES), "--workers", "1"]
    # A stream ends after minutes: tests/journeys/test_live.py listens to them.
    command += ["--exclude-path-regex", "/events/$"]
    command += ["--seed", "7", "--generation-database", "none", "--no-color", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=390, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]


@pytest.mark.parametrize("who", ["mei", "lan"])
def test_the_api_keeps_what_its_document_promises(
    stall: Stall, mei: Person, lan: Person, web_processes: Callable[..., WebProcess], tmp_path: Path, who: str
) -> None:
    placed(mei, stall, key="1")
    paid(mei, stall, key="2")
    wechat = web_processes().url + "/wechat-simulator"
    web = web_processes(WAIMAI_RATE_ENTRY="0", WAIMAI_RATE_LOGIN="0", WAIMAI_WECHAT_API_URL=wechat)
    run(web, {"mei": mei, "lan": lan}[who], tmp_path)


def the_document() -> Any:
    generator: Any = SchemaGenerator
    return generator().get_schema(public=True)


def test_every_example_fits_what_may_be_sent() -> None:
    document = the_document()
    for (method, path), value in openapi.EXAMPLES.items():
        content = document["paths"][path][method]["requestBody"]["content"]["application/json"]
        assert content["example"] == value
        schema = content["schema"] | {"components": document["components"]}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)


def test_every_stream_is_in_the_document() -> None:
    paths = the_document()["paths"]
    served = {re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route.pattern) for route, _handler in LIVE_ROUTES}
    for path in (each for each in served if each.startswith("/api/")):
        assert "text/event-stream" in paths[path]["get"]["responses"]["200"]["content"]
