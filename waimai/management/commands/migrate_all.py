"""`manage.py migrate_all`: every database, then the rows that the system can't be without."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

import accounts.services
from waimai.infra import sharding


class Command(BaseCommand):
    """Migrates `default` and every shard, makes the bucket map and the staff roles; harmless twice."""

    help = "Migrate every database, then make the bucket map and the staff roles."

    def handle(self, *args: Any, **options: Any) -> None:
        """Databases that are up to date are passed over."""
        for alias in sharding.databases():
            executor = MigrationExecutor(connections[alias])
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                call_command("migrate", database=alias, interactive=False, verbosity=options["verbosity"])
            else:
                self.stdout.write(f"{alias}: up to date")
        try:
            sharding.ensure_bucket_map()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        accounts.services.ensure_roles()
