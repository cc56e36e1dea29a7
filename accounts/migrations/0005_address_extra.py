from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_staff_permissions"),
    ]

    operations = [
        migrations.AddField(
            model_name="address",
            name="extra",
            field=models.JSONField(blank=True, editable=False, null=True),
        ),
    ]
