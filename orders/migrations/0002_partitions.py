from __future__ import annotations

from django.db import migrations

from waimai.infra import partitions


class Migration(migrations.Migration):
    """Keep the months of orders, lines and history apart (MySQL)."""

    # MySQL commits at every ALTER TABLE; a table that is partitioned already is passed over.
    atomic = False
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunPython(partitions.partition_app("orders"), migrations.RunPython.noop)]
