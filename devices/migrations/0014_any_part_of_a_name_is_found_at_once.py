"""A part of a serial or a name is found without reading the whole fleet.

PostgreSQL's own extension for this (pg_trgm) is not everywhere; its index over arrays is.
"""

import django.contrib.postgres.indexes
from django.db import migrations, models

from devices.models.grams import Grams

MAKE = """
CREATE FUNCTION devices_grams(VARIADIC texts text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(upper(one), first, 3)), '{}')
    FROM unnest(texts) AS one, generate_series(1, length(upper(one)) - 2) AS first
$$
"""
DROP = "DROP FUNCTION devices_grams(VARIADIC text[])"


class Migration(migrations.Migration):
    dependencies = [("devices", "0013_which_tls_a_device_pins")]
    operations = [
        migrations.RunSQL(MAKE, DROP),
        migrations.AddIndex(
            "device",
            django.contrib.postgres.indexes.GinIndex(
                Grams("serial", "name", "user_name", "udid", "asset_tag"),
                name="devices_by_gram",
                fastupdate=False,  # names change rarely and are looked for often
            ),
        ),
        migrations.AddIndex(
            "device", models.Index(fields=("name", "serial"), name="devices_by_name")
        ),
    ]
