"""Audit entries are only ever added: nobody updates, deletes or truncates them, whoever they are."""

from django.db import migrations

MAKE = """
CREATE FUNCTION devices_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are only ever added';
END
$$;
CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON devices_auditentry
    FOR EACH ROW EXECUTE FUNCTION devices_append_only();
CREATE TRIGGER audit_table_stays BEFORE TRUNCATE ON devices_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION devices_append_only();
"""
DROP = """
DROP TRIGGER audit_table_stays ON devices_auditentry;
DROP TRIGGER audit_rows_stay ON devices_auditentry;
DROP FUNCTION devices_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0002_initial")]
    operations = [migrations.RunSQL(MAKE, DROP)]
