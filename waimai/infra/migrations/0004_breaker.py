from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("infra", "0003_timer_error"),
    ]

    operations = [
        migrations.CreateModel(
            name="Breaker",
            fields=[
                ("name", models.CharField(max_length=48, primary_key=True, serialize=False, verbose_name="服务")),
                ("held_open", models.BooleanField(default=False, verbose_name="人工断开")),
            ],
            options={
                "verbose_name": "熔断器",
                "verbose_name_plural": "熔断器",
            },
        ),
    ]
