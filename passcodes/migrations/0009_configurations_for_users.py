"""Withheld configurations that go to users of Macs and Shared iPads, each on a channel of their own."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("devices", "0011_what_users_tell"),
        ("passcodes", "0008_signatures"),
    ]

    operations = [
        migrations.AddField(
            model_name="withheldconfiguration",
            name="for_users",
            field=models.BooleanField(default=False, help_text="On Macs and Shared iPads, where each user has a channel of their own.", verbose_name="it goes to users, not to devices"),
        ),
        migrations.AddField(
            model_name="withheldconfiguration",
            name="users",
            field=models.ManyToManyField(blank=True, related_name="configurations", to="devices.deviceuser"),
        ),
        migrations.AddField(
            model_name="release",
            name="user",
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="releases", to="devices.deviceuser"),
        ),
        migrations.RemoveConstraint(
            model_name="release",
            name="one_way_of_a_configuration_to_a_device",
        ),
        migrations.AddConstraint(
            model_name="release",
            constraint=models.UniqueConstraint(condition=models.Q(("user", None), models.Q(("state", "ended"), _negated=True)), fields=("configuration", "device"), name="one_way_of_a_configuration_to_a_device"),
        ),
        migrations.AddConstraint(
            model_name="release",
            constraint=models.UniqueConstraint(condition=models.Q(("user__isnull", False), models.Q(("state", "ended"), _negated=True)), fields=("configuration", "user"), name="one_way_of_a_configuration_to_a_user"),
        ),
    ]
