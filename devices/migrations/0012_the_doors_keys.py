from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0011_what_users_tell")]
    operations = [
        migrations.CreateModel(
            name="DoorKey",
            fields=[
                ("key", models.CharField(max_length=16, primary_key=True, serialize=False, verbose_name="key id")),
                ("since", models.DateTimeField()),
            ],
            options={"ordering": ("-since",), "default_permissions": ()},
        ),
    ]
