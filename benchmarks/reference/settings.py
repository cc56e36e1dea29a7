"""The product's settings with the reference's routes."""

from __future__ import annotations

from waimai.settings import *  # noqa: F403 - that is what it is for

ROOT_URLCONF = "benchmarks.reference.urls"
