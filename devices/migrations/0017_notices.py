import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0016_groups_by_rule"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="NoMail",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="NoticePlace",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                (
                    "channel",
                    models.CharField(
                        choices=[
                            ("mail", "Mail"),
                            ("slack", "Slack"),
                            ("teams", "Teams"),
                            ("webhook", "Webhook"),
                        ],
                        max_length=16,
                    ),
                ),
                ("host", models.CharField(max_length=253)),
                ("told_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("trouble", models.CharField(blank=True, max_length=200)),
                ("trouble_since", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("name",),
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("sign", "Sign"),
                            ("reminder", "Reminder"),
                            ("act", "Act"),
                            ("opened", "Opened"),
                            ("ended", "Ended"),
                            ("exposed", "Exposed"),
                            ("alarm", "Alarm"),
                            ("trial", "Trial"),
                        ],
                        max_length=16,
                    ),
                ),
                ("about", models.UUIDField(null=True)),
                (
                    "channel",
                    models.CharField(
                        choices=[
                            ("mail", "Mail"),
                            ("slack", "Slack"),
                            ("teams", "Teams"),
                            ("webhook", "Webhook"),
                        ],
                        max_length=16,
                    ),
                ),
                ("place", models.CharField(blank=True, max_length=40)),
                ("once", models.CharField(max_length=120, unique=True)),
                ("title", models.CharField(max_length=200)),
                ("lines", models.JSONField(default=list)),
                ("link", models.CharField(max_length=200)),
                ("until", models.DateTimeField(null=True)),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("sent", "Sent"),
                            ("failed", "Failed"),
                            ("dropped", "Dropped"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "next_try_at",
                    models.DateTimeField(default=django.utils.timezone.now, null=True),
                ),
                ("trouble", models.CharField(blank=True, max_length=200)),
                ("sent_at", models.DateTimeField(null=True)),
                (
                    "device",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-made_at",),
                "default_permissions": ("view", "change"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["failed", "waiting"])),
                        fields=["next_try_at"],
                        name="devices_notices_undone",
                    ),
                    models.Index(fields=["about"], name="devices_notices_about"),
                    models.Index(fields=["-made_at"], name="devices_notices_newest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("person", None), ("place", ""), _connector="XOR"),
                        name="a_notice_goes_to_a_person_or_a_place",
                    )
                ],
            },
        ),
    ]
