import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0010_the_audit_is_a_chain"),
        ("passcodes", "0009_configurations_for_users"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Act",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("found", "Found"),
                            ("charter", "Charter"),
                            ("review", "Review"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("asked", "Asked"),
                            ("signed", "Signed"),
                            ("agreed", "Agreed"),
                            ("done", "Done"),
                            ("denied", "Denied"),
                            ("cancelled", "Cancelled"),
                            ("expired", "Expired"),
                            ("stopped", "Stopped"),
                        ],
                        default="draft",
                        max_length=16,
                    ),
                ),
                ("lost_at", models.DateTimeField(null=True)),
                ("change", models.JSONField(default=dict)),
                ("charter", models.PositiveIntegerField(default=0)),
                ("words", models.TextField(max_length=500, verbose_name="in your words")),
                ("asked_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_because", models.CharField(blank=True, max_length=500)),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="acts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="acts",
                        to="devices.device",
                    ),
                ),
                (
                    "of",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reviews",
                        to="passcodes.clearrequest",
                    ),
                ),
            ],
            options={
                "ordering": ("-asked_at",),
                "permissions": (
                    ("keep_charter", "Can ask for and sign changes of the charter, and reviews"),
                    ("deny_act", "Can deny what others have asked for beside clears"),
                ),
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["state", "asked_at"], name="passcodes_acts_by_state")
                ],
            },
        ),
    ]
