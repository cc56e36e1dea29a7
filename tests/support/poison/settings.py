"""The product's settings, and the poison."""

from __future__ import annotations

from waimai import settings

globals().update({name: value for name, value in vars(settings).items() if name.isupper()})
INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.support.poison"]
