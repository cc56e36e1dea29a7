from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Give the column a default in the database: processes of a release that doesn't know it go on inserting."""

    dependencies = [("payments", "0010_partitions")]

    operations = [
        migrations.AlterField(
            model_name="sandboxnotice",
            name="claims",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
