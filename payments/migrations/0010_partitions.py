from __future__ import annotations

from django.db import migrations

from waimai.infra import partitions


class Migration(migrations.Migration):
    """Keep the months of payments and of the ledger apart (MySQL)."""

    # MySQL commits at every ALTER TABLE; a table that is partitioned already is passed over.
    atomic = False
    dependencies = [("payments", "0003_refund_notices")]
    operations = [migrations.RunPython(partitions.partition_app("payments"), migrations.RunPython.noop)]
