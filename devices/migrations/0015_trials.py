from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0014_any_part_of_a_name_is_found_at_once")]

    operations = [
        migrations.CreateModel(
            name="Trial",
            fields=[
                (
                    "what",
                    models.CharField(max_length=40, primary_key=True, serialize=False),
                ),
                ("asked_at", models.DateTimeField(null=True)),
                ("asked", models.JSONField(default=dict)),
                ("taken_at", models.DateTimeField(null=True)),
                ("at", models.DateTimeField(null=True)),
                ("works", models.BooleanField(default=False)),
                ("words", models.TextField(blank=True)),
                ("facts", models.JSONField(default=dict)),
            ],
            options={"default_permissions": ()},
        ),
    ]
