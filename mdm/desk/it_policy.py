"""The IT policy: what the organisation says of unlock tokens, and what the running product says of itself.

The first is written by people and kept in versions. The second is computed at each look, so that it
cannot grow old: how tokens are stored, who has access, what a clear requires, and what holds here of
the promise. It is the page that an auditor asks for first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone

from devices import pins
from devices.models import Device
from devices.rules.door_key import LASTS
from mdm.desk import alarms
from passcodes import door_rotation, it_policy, requires, shredding
from passcodes.models import EscrowedToken, ItPolicy
from passcodes.models.escrow import TokenState
from staff import permissions
from staff.models import User
from staff.permissions import person
from staff.roles import ROLES

SUITE = "HPKE (RFC 9180): X25519, HKDF-SHA256, ChaCha20-Poly1305"
PROMISE = (
    "No stored UnlockToken opens outside the vault, and the vault opens one only for a clear that "
    "two people, pinned at the vault, signed with their passkeys. This holds against whoever takes "
    "over database, backups, Redis, staff site and device door, alone or together. Without the "
    "door they get no device cleared that two people did not sign for. Who holds the door gets the "
    "tokens that pass while he is there, never the stock."
)
ACCESS = (  # what a person may do that bears on an open device
    ("passcodes.request_clear", "Ask for a clear"),
    ("passcodes.approve_clearrequest", "Sign a clear"),
    ("passcodes.witness_possession", "Confirm as a second person to see a device"),
    ("passcodes.cancel_clearrequest", "Take anybody’s request back"),
    ("devices.mark_found", "Ask to mark a lost device as found"),
    ("passcodes.agree_found", "Sign that a lost device was found"),
    ("passcodes.keep_charter", "Ask for and sign changes of the charter"),
    ("passcodes.push_policyversion", "Push a policy to devices"),
    ("devices.custom_command", "Send a command of their own making"),
    ("staff.change_user", "Give and take roles"),
    ("devices.view_auditentry", "Read the audit"),
    ("passcodes.add_itpolicy", "Write this policy"),
)
TOGETHER = {"devices"}
APART = {"checkin", "connect"}


@dataclass(frozen=True, slots=True)
class Holds:
    """One part of the promise, and whether it holds here."""

    look: str  # yes, care, no
    what: str
    why: str


class PolicyForm(forms.Form):
    after = forms.IntegerField(widget=forms.HiddenInput)
    text = forms.CharField(
        label="The statement",
        max_length=it_policy.LONGEST,
        widget=forms.Textarea(attrs={"rows": 20, "class": "desk-input"}),
        help_text="Plain text; an empty line begins a paragraph. Every version stays readable.",
    )


def page(request: HttpRequest) -> HttpResponse:
    """For everybody who may sign in; whoever may not read the list of people sees numbers only."""
    user = person(request)
    context = {
        **admin.site.each_context(request),
        "title": "IT policy",
        "organisation": settings.ORGANISATION,
        "at": timezone.now(),
        "policy": _version(request.GET.get("version", "")),
        "versions": list(ItPolicy.objects.select_related("by")),
        "may_write": user.has_perm(it_policy.WRITE),
        "stored": _stored(),
        "roles": _roles(names=user.has_perm("staff.view_user")),
        "access": _access(names=user.has_perm("staff.view_user")),
        "requires": requires.sentences(),
        "promise": PROMISE,
        "holds": _holds(),
    }
    return TemplateResponse(request, "desk/it_policy.html", context)


def write(request: HttpRequest) -> HttpResponse:
    user = person(request)
    permissions.require(user, it_policy.WRITE)
    current = it_policy.current()
    first = {"after": current.version, "text": current.text} if current else {"after": 0}
    form = PolicyForm(request.POST if request.method == "POST" else None, initial=first)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        try:
            kept = it_policy.write(said["text"], after=said["after"], by=user)
        except it_policy.Refused as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, f"Kept as version {kept.version}.")
            return redirect("admin:it_policy")
    context = {
        **admin.site.each_context(request),
        "title": "Write the IT policy",
        "form": form,
        "current": current,
    }
    return TemplateResponse(request, "desk/it_policy_write.html", context)


def _version(wanted: str) -> ItPolicy | None:
    if not wanted:
        return it_policy.current()
    found = (
        ItPolicy.objects.select_related("by").filter(version=wanted)
        if _is_number(wanted)
        else None
    )
    if not found:
        raise Http404
    return found[0]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10  # noqa: PLR2004  fits the column


def _stored() -> dict[str, Any]:
    """Counted from the rows that say what a token is bound to; nobody here can read a box."""
    tokens = EscrowedToken.objects.all()
    states = dict(tokens.order_by().values_list("state").annotate(Count("pk")))
    keys = (
        tokens.exclude(state=TokenState.SHREDDED)
        .order_by()
        .values("key")
        .annotate(tokens=Count("pk"), current=Count("pk", filter=Q(current=True)))
        .order_by("-tokens")
    )
    return {
        "suite": SUITE,
        "keys": list(keys),
        "states": [(state.label, states.get(state.value, 0)) for state in TokenState],
        "kept_for": shredding.kept_for().days,
        "selftest": alarms.selftest(),
    }


def _roles(*, names: bool) -> list[dict[str, Any]]:
    groups = {group.name: group for group in Group.objects.filter(name__in=ROLES)}
    return [
        _people(role, User.objects.filter(is_active=True, groups=groups.get(role)), names=names)
        for role in ROLES
        if role in groups
    ]


def _access(*, names: bool) -> list[dict[str, Any]]:
    return [_people(what, _may(right), names=names) for right, what in ACCESS]


def _may(right: str) -> QuerySet[User]:
    """Active people with this right, by whatever way they have it."""
    app, codename = right.split(".")
    held = Permission.objects.filter(content_type__app_label=app, codename=codename)
    has = Q(is_superuser=True) | Q(groups__permissions__in=held) | Q(user_permissions__in=held)
    return User.objects.filter(has, is_active=True).distinct()


def _people(what: str, people: QuerySet[User], *, names: bool) -> dict[str, Any]:
    found = [str(one) for one in people.order_by("username")]
    return {"what": what, "count": len(found), "names": ", ".join(found) if names else ""}


def _holds() -> list[Holds]:
    return [
        _signatures(),
        _synced(),
        _doors(processes()),
        _door_key(),
        _pins(),
        *_demo(),
    ]


def _signatures() -> Holds:
    return Holds(
        "yes",
        "Sign-offs are signatures",
        "The vault verifies each with the passkeys that are pinned at it, and believes no row.",
    )


def _synced() -> Holds:
    standing = requires.synced()
    if not standing.counts_for:
        return Holds(
            "yes",
            "No synced passkey counts",
            "Each signature comes from an authenticator that does not give its key away.",
        )
    count = f"{standing.pinned} of {standing.of} pinned passkeys are synced"
    return Holds(
        "care" if standing.pinned else "yes",
        f"Synced passkeys count for {standing.counts_for}",
        f"{count}. Such a passkey is worth as much as its person’s account with the maker’s cloud. "
        "Two keepers change the rule, so that security keys alone count.",
    )


def _doors(running: set[str]) -> Holds:
    if running & TOGETHER:
        return Holds(
            "care",
            "Both doors are one process",
            "Who holds it sees arriving tokens, can have devices send theirs again, and gets "
            "those of signed clears.",
        )
    if running >= APART:
        return Holds(
            "yes",
            "The doors are apart",
            "Who holds the one for check-in sees arriving tokens and commands no device; who holds "
            "the one for commands gets the tokens of signed clears, and no arriving one.",
        )
    return Holds(
        "care",
        "Whether the doors are apart cannot be said",
        "At least one of them has no session at the database at this moment. Look again.",
    )


def _door_key() -> Holds:
    standing = door_rotation.standing()
    if standing is None:
        return Holds(
            "care",
            "Nobody has noted since when the door’s key is in use",
            "A dump of the database opens to it what was handed over in that time. Run "
            "`manage.py door_rotate` as the door, and change the key every "
            f"{LASTS.days} days.",
        )
    days = (timezone.now() - standing.since).days
    age = "today" if not days else "a day ago" if days == 1 else f"{days} days ago"
    look = "care" if standing.left or standing.is_overdue else "yes"
    return Holds(
        look,
        f"The door’s key was changed {age}",
        f"Key {standing.key}; it is changed every {LASTS.days} days. "
        + (
            f"{standing.left} secrets are still sealed to a former one: run `manage.py door_rotate`."
            if standing.left
            else "Nothing that the door keeps is sealed to a former one."
        ),
    )


def _pins() -> Holds:
    """Which form of the promise holds: with the pins, or for whoever does not play the door."""
    standing = pins.standing(Device.objects.all())
    if standing.lacking:
        return Holds(
            "care",
            f"{standing.lacking} of {standing.enrolled} enrolled devices do not pin the door’s TLS "
            "authority",
            "For those the promise without the door does not hold: whoever can send them a root "
            "certificate and a proxy could play the door. They enrolled before it was set, or under "
            "a former one. The page «Coverage» lists them and gives them their profile again.",
        )
    if standing.present:
        return Holds(
            "yes",
            f"All {standing.enrolled} enrolled devices pin the door’s TLS authority"
            if standing.enrolled
            else "New enrollments pin the door’s TLS authority",
            "A device then speaks to this door only. As far as their enrollment profiles say; "
            f"SHA-256 {standing.present[:16]}….",
        )
    return Holds(
        "care",
        "Enrollments do not pin the door’s TLS authority, as far as the staff site knows",
        "The promise without the door does not hold: whoever can send a device a root certificate "
        "and a proxy could play the door to it. "
        "Set DOOR_TLS_AUTHORITY for the door and for the staff site, and enroll again.",
    )


def _demo() -> Iterable[Holds]:
    if settings.DEMO:
        yield Holds(
            "no",
            "This is a demo",
            "All processes and all keys are on one machine, under one user.",
        )


def processes() -> set[str]:
    """Which processes have a session at the database now; each gives its name when it connects."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT application_name FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'passcodes %'"
        )
        return {row[0].removeprefix("passcodes ") for row in cursor.fetchall()}
