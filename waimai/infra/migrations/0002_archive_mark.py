from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("infra", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ArchiveMark",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("below", models.BigIntegerField()),
            ],
        ),
    ]
