"""The roles in the database are those of the file, however often they are written."""

from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection

from staff import setup
from staff.models import User
from staff.roles import ROLES
from staff.setup import setup_roles

pytestmark = pytest.mark.django_db


def rights(role: str) -> set[str]:
    found = Group.objects.get(name=role).permissions.select_related("content_type")
    return {f"{one.content_type.app_label}.{one.codename}" for one in found}


def test_each_role_has_exactly_its_rights() -> None:
    setup_roles()

    assert {role: rights(role) for role in ROLES} == {
        role: set(names) for role, names in ROLES.items()
    }


def test_what_was_added_by_hand_is_taken_back() -> None:
    setup_roles()
    helpdesk = Group.objects.get(name="helpdesk")
    helpdesk.permissions.set(Permission.objects.all())

    call_command("setup_roles", stdout=StringIO())

    assert rights("helpdesk") == set(ROLES["helpdesk"])


def test_a_right_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "ROLES", {"helpdesk": ("devices.no_such_right",)})

    with pytest.raises(setup.Unknown, match=r"devices\.no_such_right"):
        setup_roles()

    assert not Group.objects.exists()


def test_who_was_an_admin_keeps_the_charter_after_an_update() -> None:
    """Before, admins did; nobody is locked out, and nobody else gets anything."""
    admins = Group.objects.create(name="admin")
    boss, other = (User.objects.create_user(name) for name in ("boss", "other"))
    boss.groups.add(admins)
    migration = import_module("staff.migrations.0004_keepers")
    with connection.schema_editor() as editor:
        migration.make_admins_keepers(apps, editor)
    setup_roles()
    assert boss.has_perm("passcodes.keep_charter")
    assert not other.groups.exists()


def test_a_new_house_begins_without_keepers() -> None:
    migration = import_module("staff.migrations.0004_keepers")
    with connection.schema_editor() as editor:
        migration.make_admins_keepers(apps, editor)
    assert not Group.objects.filter(name="keeper").exists()


def test_an_admin_sees_the_charter_and_does_not_keep_it() -> None:
    assert "passcodes.view_act" in ROLES["admin"]
    assert {role for role, names in ROLES.items() if "passcodes.keep_charter" in names} == {
        "keeper"
    }
