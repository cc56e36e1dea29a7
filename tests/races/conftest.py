"""Who is there."""

from __future__ import annotations

from tests.fixtures import lan, mei, stall, tao

__all__ = ["lan", "mei", "stall", "tao"]
