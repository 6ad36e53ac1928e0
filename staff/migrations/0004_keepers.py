"""Keeping the charter is a role of its own. Who could as an admin still can: nobody is locked out."""

from django.db import migrations


def make_admins_keepers(apps, schema_editor):
    alias = schema_editor.connection.alias
    admins = apps.get_model("staff", "User").objects.using(alias).filter(groups__name="admin")
    if not admins.exists():
        return  # a new house gives the role to whom it wants
    keepers, _ = apps.get_model("auth", "Group").objects.using(alias).get_or_create(name="keeper")
    for admin in admins:
        admin.groups.add(keepers)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("staff", "0003_signing_keys"),
    ]

    operations = [migrations.RunPython(make_admins_keepers, migrations.RunPython.noop)]
