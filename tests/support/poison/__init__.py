"""An app whose messages and timers are poison; only processes started with its settings have it."""

from __future__ import annotations
