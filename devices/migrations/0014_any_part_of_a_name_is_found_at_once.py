"""A part of a serial or a name is found without reading the whole fleet.

PostgreSQL's own extension for this (pg_trgm) is not everywhere; its index over arrays is.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

CALLED_BY = "serial, name, user_name, udid, asset_tag"
MAKE = f"""
CREATE FUNCTION devices_grams(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(upper(words), first, 3)), '{{}}')
    FROM generate_series(1, length(upper(words)) - 2) AS first
$$;
-- Whoever may write a device's row need not have rights on its words.
CREATE FUNCTION devices_keep_words() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    words text := upper(concat_ws(
        E'\\n', NEW.serial, NEW.name, NEW.user_name, NEW.udid, NEW.asset_tag
    ));
BEGIN
    INSERT INTO devices_devicewords (device_id, text, grams)
    VALUES (NEW.id, words, devices_grams(words))
    ON CONFLICT (device_id) DO UPDATE SET text = EXCLUDED.text, grams = EXCLUDED.grams
    WHERE devices_devicewords.text <> EXCLUDED.text;
    RETURN NULL;
END
$$;
CREATE TRIGGER words_are_kept AFTER INSERT OR UPDATE OF {CALLED_BY} ON devices_device
    FOR EACH ROW EXECUTE FUNCTION devices_keep_words();
UPDATE devices_device SET serial = serial;
"""
DROP = """
DROP TRIGGER words_are_kept ON devices_device;
DROP FUNCTION devices_keep_words();
DROP FUNCTION devices_grams(text);
"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0013_which_tls_a_device_pins")]
    operations = [
        migrations.AddIndex(
            "device", models.Index(fields=("name", "serial"), name="devices_by_name")
        ),
        migrations.CreateModel(
            name="DeviceWords",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="words",
                        serialize=False,
                        to="devices.device",
                    ),
                ),
                ("text", models.TextField()),
                ("grams", django.contrib.postgres.fields.ArrayField(models.TextField())),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddIndex(
            "devicewords",
            django.contrib.postgres.indexes.GinIndex(
                fields=("grams",),
                name="devices_by_gram",
                fastupdate=False,  # names change rarely and are looked for often
            ),
        ),
        migrations.RunSQL(MAKE, DROP),
    ]
