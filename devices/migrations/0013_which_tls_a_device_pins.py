from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0012_the_doors_keys")]
    operations = [
        migrations.AddField(
            model_name=model,
            name="pins",
            field=models.CharField(blank=True, default="", max_length=64),
            preserve_default=False,
        )
        for model in ("device", "enrollmentlink", "identityrenewal")
    ]
