"""The chain over the audit and the vault's signatures under it: only ever added, like the entries."""

from django.db import migrations, models

MAKE = "".join(
    f"""
CREATE TRIGGER {name}_rows_stay BEFORE UPDATE OR DELETE ON devices_{name}
    FOR EACH ROW EXECUTE FUNCTION devices_append_only();
CREATE TRIGGER {name}_table_stays BEFORE TRUNCATE ON devices_{name}
    FOR EACH STATEMENT EXECUTE FUNCTION devices_append_only();
"""
    for name in ("auditlink", "audithead")
)
DROP = "".join(
    f"DROP TRIGGER {name}_table_stays ON devices_{name};"
    f"DROP TRIGGER {name}_rows_stay ON devices_{name};"
    for name in ("auditlink", "audithead")
)


class Migration(migrations.Migration):
    dependencies = [("devices", "0009_inactive_devices_and_what_they_tell")]
    operations = [
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.PositiveBigIntegerField(db_index=True)),
                ("hash", models.BinaryField()),
                ("journal", models.PositiveBigIntegerField()),
                ("at", models.DateTimeField()),
                ("signature", models.BinaryField()),
            ],
            options={"ordering": ("-pk",), "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                ("seq", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("entry", models.PositiveBigIntegerField(unique=True)),
                ("digest", models.BinaryField()),
                ("hash", models.BinaryField()),
            ],
            options={"ordering": ("seq",), "default_permissions": ()},
        ),
        migrations.RunSQL(MAKE, DROP),
    ]
