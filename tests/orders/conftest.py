"""Who is there."""

from __future__ import annotations

from tests.fixtures import lan, mei, phones, stall, tao

__all__ = ["lan", "mei", "phones", "stall", "tao"]
