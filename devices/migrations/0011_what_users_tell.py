"""What the channel of a user tells of what is theirs, apart from what the device tells."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("devices", "0010_the_audit_is_a_chain"),
    ]

    operations = [
        migrations.CreateModel(
            name="UserTold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("enrollment", models.UUIDField()),
                ("subject", models.CharField(choices=[("information", "DeviceInformation"), ("profiles", "ProfileList"), ("restrictions", "Restrictions")], max_length=16)),
                ("asked_at", models.DateTimeField()),
                ("heard_at", models.DateTimeField()),
                ("facts", models.JSONField()),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="told", to="devices.deviceuser")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("user", "subject"), name="one_newest_answer_a_user_and_subject")],
            },
        ),
    ]
