"""The organisation's own statement, version by version; none is ever changed or removed."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

MAKE = """
CREATE FUNCTION passcodes_it_policy_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'versions of the IT policy are only ever added';
END
$$;
CREATE TRIGGER it_policy_rows_stay BEFORE UPDATE OR DELETE ON passcodes_itpolicy
    FOR EACH ROW EXECUTE FUNCTION passcodes_it_policy_stays();
CREATE TRIGGER it_policy_table_stays BEFORE TRUNCATE ON passcodes_itpolicy
    FOR EACH STATEMENT EXECUTE FUNCTION passcodes_it_policy_stays();
"""
DROP = """
DROP TRIGGER it_policy_table_stays ON passcodes_itpolicy;
DROP TRIGGER it_policy_rows_stay ON passcodes_itpolicy;
DROP FUNCTION passcodes_it_policy_stays();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("passcodes", "0006_codes_and_lost_mode"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="ItPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField(unique=True)),
                ("text", models.TextField()),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "IT policy",
                "verbose_name_plural": "IT policies",
                "ordering": ("-version",),
                "default_permissions": ("add",),
            },
        ),
        migrations.RunSQL(MAKE, DROP),
    ]
