"""A new person chooses their own password, by a link that serves once and for three days.

Nobody is given a password that somebody else knows. Nothing is kept of a link: it is worth nothing as
soon as the person has a password.
"""

from django.contrib.auth.models import Group
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction

from devices import audit
from staff.models import Scope, User
from staff.roles import ROLES


class Refused(Exception):
    """There can be no invitation; the message says why, for a person to read."""


class Invitations(PasswordResetTokenGenerator):
    """Bound to the person, and to their having no password yet."""

    key_salt = "staff.invitations"


TOKENS = Invitations()


@transaction.atomic
def invite(name: str, *, role: str) -> str:
    """A person who may sign in once they have chosen a password; what their link ends with.

    For the console alone. Safe to repeat: somebody who has not come yet gets a fresh link.
    """
    if not name:
        raise Refused("An invitation is for NAME:ROLE.")
    if role not in ROLES:
        raise Refused(f"There is no role {role}; there are {', '.join(ROLES)}.")
    person, is_new = User.objects.get_or_create(username=name, defaults={"is_staff": True})
    if not is_new and (person.has_usable_password() or not person.is_active):
        raise Refused(f"{name} has an account already.")
    if is_new:
        person.set_unusable_password()
        person.save(update_fields=["password"])
        person.groups.add(Group.objects.get(name=role))
        Scope.objects.create(user=person, everything=True)
        audit.record("staff.invited", person=name, role=role)
    return f"{person.pk}-{TOKENS.make_token(person)}"


def invited(link: str) -> User | None:
    """Whose link this is, while it serves."""
    number, _, token = link.partition("-")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):  # noqa: PLR2004  fits the column
        return None
    person = User.objects.filter(pk=number, is_active=True).first()
    if person is None or person.has_usable_password() or not TOKENS.check_token(person, token):
        return None
    return person


@transaction.atomic
def accept(link: str, password: str) -> User | None:
    """From here the link serves nobody; None where it did not serve."""
    found = invited(link)
    person = User.objects.select_for_update().filter(pk=found.pk).first() if found else None
    if person is None or person.has_usable_password():
        return None
    person.set_password(password)
    person.save(update_fields=["password"])
    audit.record("staff.invitation_taken", actor=person)
    return person
