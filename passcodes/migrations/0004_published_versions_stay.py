"""A published version never changes and never goes, whoever asks; a rollout knows what it replaced."""

from django.db import migrations, models

MAKE = """
CREATE FUNCTION passcodes_published_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a published version never changes';
END
$$;
CREATE TRIGGER published_versions_stay BEFORE UPDATE OR DELETE ON passcodes_policyversion
    FOR EACH ROW WHEN (OLD.published_at IS NOT NULL)
    EXECUTE FUNCTION passcodes_published_stays();
"""
DROP = """
DROP TRIGGER published_versions_stay ON passcodes_policyversion;
DROP FUNCTION passcodes_published_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("passcodes", "0003_clearrequest_look_again_at")]
    operations = [
        migrations.AddField("rollout", "replaced", models.JSONField(default=dict)),
        migrations.RunSQL(MAKE, DROP),
    ]
