"""The first child: migrates every database, seeds the demo and, outside development, collects static files.

One process for both, as importing Django is most of what a second start costs.
"""

from __future__ import annotations

import io
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command


def main() -> None:
    """Prepare the databases; `--demo` adds the demo data."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "waimai.settings")
    django.setup()
    if not settings.DEBUG:
        call_command("collectstatic", interactive=False, verbosity=0, stdout=io.StringIO())
    for command in ["migrate_all", *(["seed_demo"] if "--demo" in sys.argv[1:] else [])]:
        call_command(command, verbosity=0, stdout=io.StringIO())


if __name__ == "__main__":
    main()
