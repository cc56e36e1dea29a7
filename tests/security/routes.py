"""Every route of the product, read from the URLconf, so that a new one can't be forgotten by these tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
REGEX_GROUP = re.compile(r"\(\?P<\w+>[^)]*\)|[\^$\\]|\.\*")


@dataclass(frozen=True)
class Route:
    """One address: `/api/v1/orders/<int:order_id>/pay/`."""

    pattern: str
    view: Any

    @property
    def parameters(self) -> list[str]:
        """The names in it, in order."""
        return PARAMETER.findall(self.pattern)

    def path(self, values: dict[str, Any] | None = None) -> str:
        """The address with values for its names, 1 for those that have none."""
        known = values or {}
        return REGEX_GROUP.sub("", PARAMETER.sub(lambda found: str(known.get(found.group(1), 1)), self.pattern))


def routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[Route]:
    """All of them, in order."""
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, path)
        elif isinstance(pattern, URLPattern):
            yield Route(path, pattern.callback)
