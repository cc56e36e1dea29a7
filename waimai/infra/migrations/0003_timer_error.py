from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("infra", "0002_archive_mark")]

    operations = [
        migrations.AddField(
            model_name="timer",
            name="error",
            # The database knows the default too: the code of before, which still runs during a deploy, names no error.
            field=models.CharField(default="", db_default="", max_length=500),
        ),
    ]
