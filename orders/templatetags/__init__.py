"""Template tags of the orders pages."""

from __future__ import annotations
