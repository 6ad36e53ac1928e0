"""What people have signed stays as it is; and what the vault says of it."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

MAKE = """
CREATE FUNCTION passcodes_signatures_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was signed is never changed or deleted';
END
$$;
CREATE TRIGGER signatures_stay BEFORE UPDATE OR DELETE ON passcodes_signature
    FOR EACH ROW EXECUTE FUNCTION passcodes_signatures_stay();
CREATE TRIGGER signatures_stay_whole BEFORE TRUNCATE ON passcodes_signature
    FOR EACH STATEMENT EXECUTE FUNCTION passcodes_signatures_stay();
"""
DROP = """
DROP TRIGGER signatures_stay_whole ON passcodes_signature;
DROP TRIGGER signatures_stay ON passcodes_signature;
DROP FUNCTION passcodes_signatures_stay();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0009_inactive_devices_and_what_they_tell'),
        ('passcodes', '0007_it_policy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Signature',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ('request', models.UUIDField(db_index=True)),
                ('kind', models.CharField(choices=[('ask', 'Ask'), ('yes', 'Yes'), ('no', 'No'), ('witness', 'Witness')], max_length=16)),
                ('statement', models.BinaryField()),
                ('assertion', models.JSONField()),
                ('at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='VaultSays',
            fields=[
                ('about', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('said', models.JSONField(default=dict)),
                ('document', models.BinaryField(default=bytes)),
                ('signature', models.BinaryField(default=bytes)),
                ('at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'vault says',
                'default_permissions': (),
            },
        ),
        migrations.RemoveConstraint(
            model_name='clearrequest',
            name='one_open_clear_request_per_device',
        ),
        migrations.RemoveIndex(
            model_name='clearrequest',
            name='passcodes_live_requests',
        ),
        migrations.AlterField(
            model_name='clearrequest',
            name='state',
            field=models.CharField(choices=[('draft', 'Draft'), ('requested', 'Requested'), ('approved', 'Approved'), ('armed', 'Armed'), ('sent', 'Sent'), ('cleared', 'Cleared'), ('denied', 'Denied'), ('cancelled', 'Cancelled'), ('expired', 'Expired'), ('failed', 'Failed'), ('unconfirmed', 'Unconfirmed'), ('void', 'Void'), ('reprotected', 'Reprotected'), ('exposed', 'Exposed')], default='requested', max_length=16),
        ),
        migrations.AddIndex(
            model_name='clearrequest',
            index=models.Index(condition=models.Q(('state__in', ['approved', 'armed', 'draft', 'requested', 'sent', 'cleared', 'exposed'])), fields=['state', 'requested_at'], name='passcodes_live_requests'),
        ),
        migrations.AddConstraint(
            model_name='clearrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['approved', 'armed', 'draft', 'requested', 'sent'])), fields=('device',), name='one_open_clear_request_per_device'),
        ),
        migrations.AddField(
            model_name='signature',
            name='person',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.RunSQL(MAKE, DROP),
    ]
