"""Measurements, each a script that prints its figures; nothing here is part of the product or of its tests."""

from __future__ import annotations
