"""People: an admin gives roles and devices to others, to nobody himself, and every change says what it was before."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from devices.models import AuditEntry, DeviceGroup
from staff.models import Scope, User
from staff.roles import ROLES
from staff.setup import setup_roles

PASSWORD = "a long word for tests"
ADD = "admin:staff_user_add"
CHANGE = "admin:staff_user_change"
NEW_PASSWORD = "admin:auth_user_password_change"


def person(name: str, *roles: str, everything: bool = True) -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=roles))
    Scope.objects.create(user=user, everything=everything)
    return user


def role(name: str) -> int:
    return Group.objects.get(name=name).pk


@pytest.fixture
def boss(db: None) -> User:
    setup_roles()
    return person("boss", "admin")


@pytest.fixture
def as_admin(boss: User, client: Client) -> Client:
    client.force_login(boss)
    return client


def filled(user: User, **changed: object) -> dict[str, object]:
    """What the form of the person sends when nothing else is touched."""
    fields: dict[str, object] = {
        "username": user.username,
        "email": user.email,
        "groups": [group.pk for group in user.groups.all()],
        "is_active": "on",
        "everything": "on",
        **changed,
    }
    return {name: value for name, value in fields.items() if value is not None}


def test_an_admin_adds_a_person_with_roles_and_devices(as_admin: Client) -> None:
    shops = DeviceGroup.objects.create(name="Shops")
    response = as_admin.post(
        reverse(ADD),
        {
            "username": "desk-1",
            "password1": "nine green bottles",
            "password2": "nine green bottles",
            "groups": [role("helpdesk")],
            "device_groups": [shops.pk],
        },
    )
    assert response.status_code == 302, response.context["adminform"].errors
    added = User.objects.get(username="desk-1")
    assert added.check_password("nine green bottles")
    assert (added.is_staff, added.is_active, added.is_superuser) == (True, True, False)
    assert [group.name for group in added.groups.all()] == ["helpdesk"]
    assert not added.scope.everything
    assert list(added.scope.groups.all()) == [shops]
    entry = AuditEntry.objects.get(verb="staff.user_added")
    assert entry.actor_name == "boss"
    assert entry.facts["person"] == "desk-1"
    assert {"roles: helpdesk", "devices: Shops"} <= set(entry.facts["changed"])
    assert "bottles" not in str(entry.facts)


def test_a_new_person_without_a_choice_may_do_nothing(as_admin: Client) -> None:
    passwords = {"password1": "nine green bottles", "password2": "nine green bottles"}
    as_admin.post(reverse(ADD), {"username": "desk-1", **passwords})
    added = User.objects.get(username="desk-1")
    assert not added.get_all_permissions()
    assert not added.scope.everything


def test_a_short_password_is_refused(as_admin: Client) -> None:
    passwords = {"password1": "short", "password2": "short"}
    response = as_admin.post(reverse(ADD), {"username": "desk-1", **passwords})
    assert "at least 12 characters" in response.content.decode()
    assert not User.objects.filter(username="desk-1").exists()


def test_a_name_that_differs_in_case_alone_is_refused(as_admin: Client) -> None:
    passwords = {"password1": "nine green bottles", "password2": "nine green bottles"}
    as_admin.post(reverse(ADD), {"username": "BOSS", **passwords})
    assert not User.objects.filter(username="BOSS").exists()


def test_a_change_of_roles_is_audited_with_what_it_was_before(as_admin: Client) -> None:
    someone = person("someone", "helpdesk")
    shops = DeviceGroup.objects.create(name="Shops")
    as_admin.post(
        reverse(CHANGE, args=[someone.pk]),
        filled(
            someone,
            groups=[role("helpdesk"), role("approver")],
            everything=None,
            device_groups=[shops.pk],
        ),
    )
    entry = AuditEntry.objects.get(verb="staff.user_changed")
    assert entry.facts == {
        "person": "someone",
        "changed": ["roles: helpdesk → approver, helpdesk", "devices: all devices → Shops"],
    }


def test_what_did_not_change_leaves_no_trace(as_admin: Client) -> None:
    someone = person("someone", "helpdesk")
    response = as_admin.post(reverse(CHANGE, args=[someone.pk]), filled(someone))
    assert response.status_code == 302
    assert not AuditEntry.objects.filter(verb="staff.user_changed").exists()


def test_a_person_who_is_switched_off_is_out_at_once(as_admin: Client) -> None:
    someone = person("someone", "helpdesk")
    theirs = Client()
    theirs.force_login(someone)
    assert theirs.get(reverse("admin:index")).status_code == 200
    as_admin.post(reverse(CHANGE, args=[someone.pk]), filled(someone, is_active=None))
    assert theirs.get(reverse("admin:index")).status_code == 302
    (changed,) = AuditEntry.objects.get(verb="staff.user_changed").facts["changed"]
    assert changed == "may sign in: yes → no"


def test_nobody_gives_roles_or_devices_to_themselves(as_admin: Client, boss: User) -> None:
    Scope.objects.filter(user=boss).update(everything=False)
    everybody = [role(name) for name in ROLES]
    response = as_admin.post(
        reverse(CHANGE, args=[boss.pk]), filled(boss, groups=everybody, everything="on")
    )
    assert response.status_code == 302
    boss.refresh_from_db()
    assert [group.name for group in boss.groups.all()] == ["admin"]
    assert not boss.scope.everything
    assert not AuditEntry.objects.filter(verb="staff.user_changed").exists()


def test_nobody_switches_themselves_off(as_admin: Client, boss: User) -> None:
    as_admin.post(reverse(CHANGE, args=[boss.pk]), filled(boss, is_active=None))
    boss.refresh_from_db()
    assert boss.is_active


def test_what_is_closed_for_oneself_stays_open_for_others(as_admin: Client, boss: User) -> None:
    someone = person("someone")
    as_admin.get(reverse(CHANGE, args=[boss.pk]))
    as_admin.post(reverse(CHANGE, args=[someone.pk]), filled(someone, groups=[role("approver")]))
    assert [group.name for group in someone.groups.all()] == ["approver"]


def test_superuser_staff_and_single_rights_cannot_be_posted(as_admin: Client) -> None:
    someone = person("someone", "helpdesk")
    extra = {"is_superuser": "on", "is_staff": "", "user_permissions": ["1", "2"]}
    as_admin.post(reverse(CHANGE, args=[someone.pk]), filled(someone, **extra))
    someone.refresh_from_db()
    assert (someone.is_superuser, someone.is_staff) == (False, True)
    assert not someone.user_permissions.exists()


def test_an_admin_does_not_change_a_superuser(as_admin: Client) -> None:
    root = User.objects.create_superuser("root", password=PASSWORD)
    page = reverse(CHANGE, args=[root.pk])
    assert as_admin.post(page, filled(root, username="tamed")).status_code == 403
    assert as_admin.get(reverse(NEW_PASSWORD, args=[root.pk])).status_code == 403
    root.refresh_from_db()
    assert root.username == "root"


def test_no_page_shows_a_password_or_its_hash(as_admin: Client, boss: User) -> None:
    someone = person("someone", "helpdesk")
    pages = [
        reverse("admin:staff_user_changelist"),
        reverse(CHANGE, args=[someone.pk]),
        reverse(CHANGE, args=[boss.pk]),
        reverse(NEW_PASSWORD, args=[someone.pk]),
    ]
    for page in pages:
        said = as_admin.get(page).content.decode()
        assert someone.password not in said
        assert someone.password.split("$")[-1] not in said
        assert "algorithm" not in said


def test_passwords_cannot_be_guessed_by_filtering_the_list(as_admin: Client) -> None:
    person("someone", "helpdesk")
    response = as_admin.get(reverse("admin:staff_user_changelist"), {"password__startswith": "m"})
    assert response.status_code in {302, 400}


def test_a_new_password_is_given_to_others_and_audited(as_admin: Client) -> None:
    someone = person("someone", "helpdesk")
    theirs = Client()
    theirs.force_login(someone)
    words = {"password1": "nine green bottles", "password2": "nine green bottles"}
    response = as_admin.post(reverse(NEW_PASSWORD, args=[someone.pk]), words)
    assert response.status_code == 302
    someone.refresh_from_db()
    assert someone.check_password("nine green bottles")
    assert theirs.get(reverse("admin:index")).status_code == 302  # the old session has ended
    entry = AuditEntry.objects.get(verb="staff.password_set")
    assert (entry.actor_name, entry.facts["person"]) == ("boss", "someone")


def test_a_password_cannot_be_taken_away(as_admin: Client) -> None:
    someone = person("someone", "helpdesk")
    words = {"usable_password": "false", "unset-password": "on"}
    as_admin.post(reverse(NEW_PASSWORD, args=[someone.pk]), words)
    someone.refresh_from_db()
    assert someone.check_password(PASSWORD)
    assert not AuditEntry.objects.filter(verb="staff.password_set").exists()


@pytest.mark.parametrize("spelt", ["{}", "0{}", "+{}"])
def test_one_s_own_password_asks_for_the_old_one(as_admin: Client, boss: User, spelt: str) -> None:
    """However its number is spelt in the address."""
    words = {"password1": "nine green bottles", "password2": "nine green bottles"}
    own = reverse(NEW_PASSWORD, args=[spelt.format(boss.pk)])
    response = as_admin.post(own, words)
    assert response.headers["Location"] == reverse("account_change_password")
    boss.refresh_from_db()
    assert boss.check_password(PASSWORD)


def test_nobody_is_deleted(as_admin: Client) -> None:
    someone = person("someone")
    page = reverse("admin:staff_user_delete", args=[someone.pk])
    assert as_admin.post(page, {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=someone.pk).exists()


def test_an_auditor_reads_who_may_do_what_and_changes_nothing(boss: User, client: Client) -> None:
    client.force_login(person("reader", "auditor"))
    said = client.get(reverse(CHANGE, args=[boss.pk])).content.decode()
    assert "all devices" in said
    assert "Keep the changes" not in said
    assert "new password" not in said
    assert client.post(reverse(CHANGE, args=[boss.pk]), filled(boss)).status_code == 403
    assert client.get(reverse(ADD)).status_code == 403


def test_roles_have_no_page_where_they_could_be_changed() -> None:
    assert not admin.site.is_registered(Group)
