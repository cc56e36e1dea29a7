"""Personal data that tests plant, looked for wherever it must not be: logs, tasks, errors, the admin's log.

Every log record, task argument and problem document of the whole run is searched as it comes; what is found fails the
run. The telephones, addresses, passwords and tokens of the people in tests are the canaries.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CANARIES = {
    "phone": re.compile(r"(?<![\w.])1[3-9]\d{9}(?!\w)"),
    "token": re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\."),
    "address": re.compile("建国路 88 号|光华路 9 号"),
    "password": re.compile("four-treasures-8|waimai-demo"),
    "openid": re.compile(r"\bo-canary-\w+"),
}
# In development the code of a login is printed, and that is what it is for.
PRINTED_CODES = re.compile(r"SMS to \d+: login code \d+")
MOST_KEPT = 30
CONTEXT, MISTAKE = 80, 500


@dataclass
class Watch:
    """What was found, where; a few of each."""

    found: list[str] = field(default_factory=list)

    def look(self, where: str, text: str) -> None:
        """Search a text."""
        text = PRINTED_CODES.sub("", text)
        for kind, pattern in CANARIES.items():
            if (hit := pattern.search(text)) and len(self.found) < MOST_KEPT:
                begin = max(0, hit.start() - CONTEXT)
                test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
                self.found.append(f"{kind} in {where}, {test}: …{text[begin : hit.end() + CONTEXT]}…")


class WatchingHandler(logging.Handler):
    """Searches every record of this process, tracebacks included."""

    # What tests' own helpers log: the fake object store, and Django's notes on SQL when a test asks for them.
    OTHERS = ("werkzeug", "botocore", "urllib3", "faker", "asyncio", "django.db.backends", "playwright")

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.INFO)
        self.watch = watch
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Search one record."""
        if not record.name.startswith(self.OTHERS):
            self.watch.look(f"the log of {record.name}", self.format(record))


watch = Watch()


def begin() -> None:
    """Search from now on whatever this process logs, hands to Celery or answers with an error."""
    from celery.signals import before_task_publish
    from django.core.handlers.base import BaseHandler

    before_task_publish.connect(_task, weak=False)
    original: Callable[..., Any] = BaseHandler.get_response

    def get_response(self: Any, request: Any) -> Any:
        response = original(self, request)
        # A form that is shown again holds what its owner wrote.
        if response.get("Content-Type") == "application/problem+json" or response.status_code == MISTAKE:
            where = f"the answer {response.status_code} of {request.path}"
            watch.look(where, response.content.decode(errors="replace"))
        return response

    BaseHandler.get_response = get_response  # type: ignore[method-assign]


def listen() -> None:
    """Hear the log; whoever configures logging anew takes the handler away, so this is said before each test."""
    root = logging.getLogger()
    if not any(isinstance(handler, WatchingHandler) for handler in root.handlers):
        root.addHandler(WatchingHandler(watch))


def _task(sender: object = None, body: object = None, **_more: object) -> None:
    watch.look(f"a message to {sender}", repr(body))
