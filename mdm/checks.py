"""What `manage.py check` looks at besides Django's own: what would go wrong later, said before."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection

from devices import door_key, sealing
from devices.rules.door_key import LASTS
from passcodes import door_rotation

THE_HOUR = timedelta(hours=1)  # Apple's
PUBLIC = ("VAULT_PUBLIC_KEY", "VAULT_VERIFY_KEY", "DOOR_PUBLIC_KEY", "WORKER_PUBLIC_KEY")
NOT_RAW = {"CA_PRIVATE_KEY"}  # PEM


def register_all() -> None:
    register(Tags.compatibility)(the_hour_is_apples)
    register(Tags.security)(keys_are_keys)
    register(Tags.files)(authority_of_the_push_service_is_there)
    register(Tags.security, deploy=True)(production_is_no_demo)
    register(Tags.security, deploy=True)(doors_are_apart)
    register(Tags.security, deploy=True)(orders_serve_once)
    register(Tags.security, deploy=True)(devices_pin_the_door)
    register(Tags.database, deploy=True)(the_login_owns_nothing)
    register(Tags.security, deploy=True)(check_in_opens_nothing)
    register(Tags.security)(keepers_pin)
    register(Tags.security)(the_doors_former_key_is_another)
    register(Tags.database, deploy=True)(the_doors_key_is_changed)
    register(Tags.security, deploy=True)(people_sign_elsewhere)


def the_hour_is_apples(**_asked: Any) -> list[CheckMessage]:
    if settings.DEMO or settings.HOUR == THE_HOUR:
        return []
    return [
        Error(
            f"HOUR is {settings.HOUR.total_seconds():.0f} seconds; devices grant their users 3600.",
            hint="Remove HOUR from the environment. Only the demo and tests scale it.",
            id="passcodes.E001",
        )
    ]


def keys_are_keys(**_asked: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} is not 32 bytes written as base64.",
            hint="`manage.py keygen` makes all keys.",
            id="passcodes.E002",
        )
        for name in (*PUBLIC, *settings.PRIVATE)
        if name not in NOT_RAW and not all(_is_key(value) for value in _written_in(name))
    ]


def authority_of_the_push_service_is_there(**_asked: Any) -> list[CheckMessage]:
    if not settings.APNS_CA or Path(settings.APNS_CA).is_file():
        return []
    return [
        Error(
            f"APNS_CA names {settings.APNS_CA}, and there is no such file.",
            hint="Leave it empty for Apple's own push service.",
            id="passcodes.E003",
        )
    ]


def production_is_no_demo(**_asked: Any) -> list[CheckMessage]:
    if not settings.DEMO:
        return []
    return [checks.Warning("DEMO is on: the hour may be scaled.", id="passcodes.W001")]


def doors_are_apart(**_asked: Any) -> list[CheckMessage]:
    if settings.SERVE != "devices":
        return []
    return [
        checks.Warning(
            "One process is both check-in and connect: whoever breaks into it sees tokens that "
            "arrive and tokens that are handed out.",
            hint="Run SERVE=checkin and SERVE=connect apart.",
            id="passcodes.W002",
        )
    ]


def orders_serve_once(**_asked: Any) -> list[CheckMessage]:
    if settings.SERVE not in {"devices", "connect"} or settings.DOOR_STATE:
        return []
    return [
        checks.Warning(
            "DOOR_STATE is not set: whoever holds the database can put an order back that has "
            "served, and the door delivers it again until its sign-off runs out.",
            hint="Name a folder that the door's user alone can write to.",
            id="passcodes.W009",
        )
    ]


def devices_pin_the_door(**_asked: Any) -> list[CheckMessage]:
    if settings.SERVE not in {"devices", "checkin"} or settings.DOOR_TLS_AUTHORITY:
        return []
    return [
        checks.Warning(
            "DOOR_TLS_AUTHORITY is not set: enrollments do not pin the door's TLS, and whoever can "
            "send a device a root certificate and a proxy could play the door to it.",
            hint="Give the authority's certificate, as PEM, to the door and to the staff site.",
            id="passcodes.W010",
        )
    ]


def the_login_owns_nothing(
    databases: Sequence[str] | None = None, **_asked: Any
) -> list[CheckMessage]:
    """Looked at by `check --deploy --database default` alone: a database must be asked."""
    if settings.SERVE == "owner" or not databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user FROM pg_roles r WHERE r.rolname = current_user AND (r.rolsuper OR"
            " EXISTS (SELECT 1 FROM pg_class c WHERE c.relowner = r.oid AND c.relkind = 'r'))"
        )
        owner = cursor.fetchone()
    if owner is None:
        return []
    return [
        Error(
            f"SERVE={settings.SERVE} signs in to the database as {owner[0]}, the owner of the tables: "
            "nothing holds it to its own part.",
            hint="Run `manage.py grants` as the owner, and give each process its own login.",
            id="passcodes.E004",
        )
    ]


def check_in_opens_nothing(**_asked: Any) -> list[CheckMessage]:
    """What a check-in process that runs apart cannot do for Macs, said before a Mac asks for it."""
    if settings.SERVE != "checkin":
        return []
    found: list[CheckMessage] = [
        checks.Info(
            "Bootstrap tokens of Macs are not kept: they are sealed to the door's own key, and "
            "this process does not hold it. Enrollment profiles do not offer it.",
            id="passcodes.I001",
        )
    ]
    if settings.NETWORK_USERS == "digest":
        found.append(
            checks.Warning(
                "NETWORK_USERS is digest, and this process cannot check one: every network user "
                "is declined.",
                hint="Set NETWORK_USERS to decline or accept, or run SERVE=devices.",
                id="passcodes.W003",
            )
        )
    return found


def the_doors_former_key_is_another(**_asked: Any) -> list[CheckMessage]:
    if not settings.DOOR_FORMER_KEY or settings.DOOR_FORMER_KEY != settings.DOOR_PRIVATE_KEY:
        return []
    return [
        checks.Warning(
            "DOOR_FORMER_KEY is the key that is in use.",
            hint="Put a new key into DOOR_PRIVATE_KEY, or remove DOOR_FORMER_KEY.",
            id="passcodes.W004",
        )
    ]


def the_doors_key_is_changed(
    databases: Sequence[str] | None = None, **_asked: Any
) -> list[CheckMessage]:
    """Looked at by `check --deploy --database default` alone: what is left to be sealed anew."""
    if settings.SERVE not in {"devices", "connect", "staff", "vault"} or not databases:
        return []
    if not (settings.DOOR_PRIVATE_KEY or settings.DOOR_PUBLIC_KEY):
        return []
    known = door_key.known()
    if known is None:
        return [_of_the_door("Nobody has noted since when the door's key is in use.", 5)]
    found: list[CheckMessage] = []
    if door_key.present_id() != known.key:
        found.append(
            checks.Warning(
                f"This process seals to key {door_key.present_id()}, and the door's is {known.key}.",
                hint="Where the key was just changed: `manage.py door_rotate` as the door; then give "
                "vault and staff site the new DOOR_PUBLIC_KEY.",
                id="passcodes.W006",
            )
        )
    if settings.SERVE == "vault":
        return found  # it reads nothing of what the door keeps
    standing = door_rotation.standing()
    if standing and standing.left:
        found.append(_of_the_door(f"{standing.left} boxes are sealed to a former key.", 7))
    if standing and standing.is_overdue:
        found.append(
            checks.Warning(
                f"The door's key is older than {LASTS.days} days.",
                hint="docs/operations.md, «A new key for the door».",
                id="passcodes.W008",
            )
        )
    return found


def _of_the_door(words: str, number: int) -> CheckMessage:
    return checks.Warning(
        words, hint="Run `manage.py door_rotate` as the door.", id=f"passcodes.W{number:03}"
    )


def _written_in(name: str) -> list[str]:
    """The keys that a setting holds: none, one, or a list of them."""
    value = getattr(settings, name)
    return value if isinstance(value, list) else [value] if value else []


def keepers_pin(**_asked: Any) -> list[CheckMessage]:
    if settings.DEMO or not settings.VAULT_PINS_AT_ONCE:
        return []
    return [
        Error(
            "VAULT_PINS_AT_ONCE is on: whoever writes to the database pins passkeys of his own.",
            hint="Remove it. Only the demo pins what is registered; elsewhere keepers do.",
            id="passcodes.E004",
        )
    ]


def people_sign_elsewhere(**_asked: Any) -> list[CheckMessage]:
    """The signing page's host is neither the staff site's nor its parent or child."""
    if not settings.SIGN_URL or not settings.STAFF_URL or settings.DEMO:
        return []
    sign, staff = urlsplit(settings.SIGN_URL), urlsplit(settings.STAFF_URL)
    one, other = sign.hostname or "", staff.hostname or ""
    is_apart = one != other and not f".{one}".endswith(f".{other}")
    is_apart = is_apart and not f".{other}".endswith(f".{one}")
    if is_apart and sign.scheme == "https" and not sign.path:
        return []
    return [
        Error(
            "SIGN_URL is no origin apart from the staff site's: https:// and a host of its own.",
            hint="Take neither the staff site's host nor one above or below it.",
            id="passcodes.E005",
        )
    ]


def _is_key(value: str) -> bool:
    try:
        sealing.raw(value)
    except sealing.NotAKey:
        return False
    return True
