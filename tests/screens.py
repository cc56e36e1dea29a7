"""Pictures of every page, from a running demo: `python -m tests.screens [address] [--folder docs/screens]`.

Start the system with `bin/up` first. A demo customer logs in, orders, and pays; then the manager looks at the board.
Each page is taken on a phone in Chinese and on a desktop in English.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tests.support import chromium

HERE = Path(__file__).resolve().parent
CUSTOMER = {"phone": "13800000001", "password": "waimai-demo"}  # pragma: allowlist secret
MANAGER = {"username": "admin", "password": "waimai-demo"}  # pragma: allowlist secret
SCREENS = {"phone": (chromium.PHONE, "zh-CN"), "desktop": (chromium.DESKTOP, "en-US")}


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(prog="python -m tests.screens", description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000/")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "docs" / "screens")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, (size, locale) in SCREENS.items():
        with chromium.page(size=size, locale=locale) as page:
            _take_all(page, options.address, options.folder, name)
            _take_staff(page, options.address, options.folder, name)


def _take_all(page: Any, address: str, folder: Path, size: str) -> None:
    def take(what: str, path: str = "") -> None:
        if path:
            page.goto(urljoin(address, path))
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{what}-{size}.png")

    take("login", "/login/?way=password")
    for field, value in CUSTOMER.items():
        page.fill(f"[name={field}]", value)
    page.locator("main form button").last.click()
    page.wait_for_load_state("networkidle")
    take("menu", "/")
    shop = page.url
    page.locator(".item a.button").first.click()
    page.locator("#sheet .order-item").wait_for()
    take("dish")
    page.locator("#sheet button.wide").click()
    page.locator("#cart-bar .count").wait_for()
    page.locator("#cart-bar a").first.click()
    page.locator("#sheet .lines").wait_for()
    take("cart")
    take("checkout", f"{shop}checkout/")
    page.locator("main form.columns button.primary").click()
    page.locator("#order").wait_for()
    take("order")
    page.locator("#order button.primary").first.click()
    page.wait_for_load_state("networkidle")
    take("till")
    page.locator("main button.primary").click()
    page.locator(".state.paid").wait_for(timeout=20_000)
    take("order-paid")
    for what, path in {
        "orders": "/orders/",
        "me": "/me/",
        "close-account": "/me/close/",
        "addresses": "/addresses/",
        "address": "/addresses/new/",
    }.items():
        take(what, path)


def _take_staff(page: Any, address: str, folder: Path, size: str) -> None:
    page.context.clear_cookies()
    page.goto(urljoin(address, "/login/?way=staff&next=/board/"))
    for field, value in MANAGER.items():
        page.fill(f"[name={field}]", value)
    page.locator("main form button").last.click()
    page.locator("[data-order]").first.wait_for(timeout=20_000)
    if page.locator("#cancelled").is_visible():
        page.locator("#cancelled button").click()
    page.screenshot(path=folder / f"board-{size}.png")
    page.wait_for_timeout(1000)  # Buttons rest for a moment after things have moved.
    page.locator("[data-key=a]").first.click()
    page.locator(".ticket.accepted").first.wait_for()
    for what in ("kitchen", "courier", "today", "dishes"):
        page.goto(urljoin(address, f"/board/{what}/"))
        page.locator("#live").wait_for()
        page.screenshot(path=folder / f"{what}-{size}.png")
    for what in ("", "menu/item/", "desk/deskorder/"):
        page.goto(urljoin(address, f"/admin/{what}"))
        page.locator("#main").wait_for()
        page.screenshot(path=folder / f"admin{'-' + what.split('/')[1] if what else ''}-{size}.png")


if __name__ == "__main__":
    main()
