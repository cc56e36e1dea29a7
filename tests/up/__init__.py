"""bin/up and its supervisor."""

from __future__ import annotations
