"""A real browser for the few tests that need one: Debian's Chromium, driven by Playwright, talking to nobody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 390, "height": 844}


@contextmanager
def page(*, script: bool = True, locale: str = "zh-CN") -> Iterator[Any]:
    """A page of a fresh browser, the size of a phone."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        context = browser.new_context(viewport=PHONE, locale=locale, java_script_enabled=script)  # type: ignore[arg-type]
        yield context.new_page()
        browser.close()
