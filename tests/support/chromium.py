"""A real browser for the few tests that need one: Debian's Chromium, driven by Playwright, talking to nobody else."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

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
DESKTOP = {"width": 1280, "height": 800}
# WCAG 2.2, levels A and AA.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@contextmanager
def page(*, script: bool = True, locale: str = "zh-CN", size: dict[str, int] = PHONE) -> Iterator[Any]:
    """A page of a fresh browser, the size of a phone unless another is named."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        context = browser.new_context(viewport=size, locale=locale, java_script_enabled=script)  # type: ignore[arg-type]
        yield context.new_page()
        browser.close()


class Visit(threading.Thread):
    """What somebody does in a real browser, in a thread of its own: its event loop and the ORM don't go together."""

    def __init__(
        self, url: str, go: Callable[[Any], None], *, session: str = "", may_complain: bool = False, **browser: Any
    ) -> None:
        super().__init__(name="browser")
        self.url, self.session, self.browser, self._go = url, session, browser, go
        # A page that isn't there is an error to the console.
        self.may_complain = may_complain
        self.error: BaseException | None = None
        self.complaints: list[str] = []

    def run(self) -> None:
        """Go there, and note what the console complains of."""
        try:
            with page(**self.browser) as opened:
                opened.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
                if self.session:
                    opened.context.add_cookies(
                        [{"name": "sessionid", "value": self.session, "url": urljoin(self.url, "/")}]
                    )
                opened.goto(self.url)
                self._go(opened)
        except BaseException as error:
            self.error = error

    def finish(self, seconds: float = 50) -> None:
        """Wait for its end; raises what went wrong, complaints of the console included."""
        self.join(seconds)
        assert not self.is_alive(), "the browser doesn't come to an end"
        if self.error is not None:
            raise self.error
        assert self.may_complain or self.complaints == []


def visit(url: str, go: Callable[[Any], None], **how: Any) -> None:
    """Go to a page, do something there, and come back. Raises what went wrong."""
    there = Visit(url, go, **how)
    there.start()
    there.finish()


def look_over(opened: Any) -> None:
    """No page is wider than the screen, or shuts anybody out (axe-core, WCAG 2.2 AA)."""
    from axe_playwright_python.sync_playwright import Axe

    assert not opened.evaluate(TOO_WIDE), f"{opened.url} is too wide"
    found = Axe().run(opened, options=RULES)
    assert found.violations_count == 0, found.generate_report()
