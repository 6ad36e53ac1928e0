"""A file for each process with its own keys alone; what was made at a former start is kept."""

import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from embedded.demo.commands import run
from embedded.demo.wanted import DOORS, FILES, Wanted
from embedded.place import write_private
from embedded.processes import Trouble

KEYS = {  # whose environment file each key goes into; of the doors, those that there are
    "WORKER_PUBLIC_KEY": ("staff",),
    "WORKER_PRIVATE_KEY": ("worker",),
    "VAULT_PUBLIC_KEY": ("door", "checkin"),
    "VAULT_VERIFY_KEY": ("door", "connect", "staff"),
    "VAULT_PRIVATE_KEY": ("vault",),
    "VAULT_ORDER_KEY": ("vault",),
    "DOOR_PRIVATE_KEY": ("door", "connect"),
    "DOOR_PUBLIC_KEY": ("vault", "staff"),  # staff seal network users’ passwords to it
}
ROLES = {
    "staff": "staff",
    "door": "devices",
    "checkin": "checkin",
    "connect": "connect",
    "worker": "worker",
    "vault": "vault",
}


def write_environments(wanted: Wanted, urls: dict[str, str]) -> None:
    """One file a process, with its own keys only; those that exist keep their keys."""
    data = wanted.data
    own = _own(wanted, urls)
    common = {
        "DEMO": "1",
        "DEBUG": "0",
        "HOUR": str(wanted.hour),
        "ORGANISATION": "Example Organisation",
        "STAFF_URL": wanted.staff,
        "DOOR_URL": wanted.door,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
    }
    kept = _kept(data)
    keys = {
        key: kept[one][key] for key, who in KEYS.items() for one in who if key in kept.get(one, {})
    }
    if set(KEYS) - set(keys):
        keys = _make_keys(wanted, {**common, "DATABASE_URL": urls["DATABASE_URL"]})
    for process in wanted.files:
        others = {key: value for key, value in kept.get(process, {}).items() if key not in KEYS}
        hers = {key: value for key, value in keys.items() if process in KEYS[key]}
        kept[process] = {"SECRET_KEY": secrets.token_urlsafe(48), **others, **hers}
    for process, role in ROLES.items():
        if process not in wanted.files:
            continue
        password = kept["owner"].setdefault(
            f"ROLE_PASSWORD_{role.upper()}", secrets.token_urlsafe(24)
        )
        own[process]["DATABASE_URL"] = signed_in(role, password, urls["DATABASE_URL"])
    for process, name in wanted.files.items():
        environment = {**kept[process], **common, **own[process]}
        lines = "".join(f"{key}={value}\n" for key, value in environment.items())
        write_private(data / name, lines)
    for door in DOORS[not wanted.apart]:  # of a former start; its keys are with the others
        (data / f"{door}.env").unlink(missing_ok=True)


def _own(wanted: Wanted, urls: dict[str, str]) -> dict[str, dict[str, str]]:
    """What each process is told beside its keys and what all are told."""
    data = wanted.data
    authority = {"CA_CERTIFICATE_FILE": str(data / "authority/ca.pem")}
    return {
        "owner": {"SERVE": "owner", "DATABASE_URL": urls["DATABASE_URL"]},
        "staff": {"SERVE": "staff", "SIGN_URL": wanted.sign, "NETWORK_USERS": "digest"},
        "door": {
            "SERVE": "devices",
            "NETWORK_USERS": "digest",
            **authority,
            "CA_PRIVATE_KEY_FILE": str(data / "authority/ca.key"),
            "DOOR_STATE": str(data / "door"),
        },
        "checkin": {
            "SERVE": "checkin",
            **authority,
            "CA_PRIVATE_KEY_FILE": str(data / "authority/ca.key"),
        },
        "connect": {"SERVE": "connect", **authority, "DOOR_STATE": str(data / "door")},
        "worker": {
            "SERVE": "worker",
            "REDIS_URL": urls["REDIS_URL"],
            "APNS_HOST": "localhost",
            "APNS_PORT": str(wanted.push_port),
            "APNS_CA": str(data / "push/ca.pem"),
            "EMAIL_URL": f"filemail:///{data / 'mail'}",  # a file for each mail
        },
        "clock": {"SERVE": "clock", "REDIS_URL": urls["REDIS_URL"]},
        "vault": {
            "SERVE": "vault",
            "VAULT_STATE": str(data / "vault"),
            "AUDIT_HEAD_FILE": str(data / "audit-heads"),
            "SIGN_URL": wanted.sign,
            "VAULT_PINS_AT_ONCE": "1",  # nobody waits there until two keepers have come
        },
    }


def _kept(data: Path) -> dict[str, dict[str, str]]:
    """What each process was given at the start before this one, whichever doors there were."""
    files = {**FILES, **{name: f"{name}.env" for name in DOORS[True]}}
    return {name: read(data / file) for name, file in files.items() if (data / file).exists()}


def signed_in(role: str, password: str, url: str) -> str:
    """The same database, under the login of one process."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"passcodes_{role}:{password}@{place}"))


def _make_keys(wanted: Wanted, common: dict[str, str]) -> dict[str, str]:
    bare = {
        **common,
        "SERVE": "staff",
        "SIGN_URL": wanted.sign,
        "SECRET_KEY": secrets.token_urlsafe(48),
    }
    owners = ("vault", "door", "worker")
    made = _pairs(run("keygen", "manage.py", "keygen", *owners, "--env", **bare))
    authority = wanted.data / "authority"
    authority.mkdir(mode=0o700, exist_ok=True)
    for half_made in authority.glob("ca.*"):  # by a first start that was interrupted
        half_made.unlink()
    run("keygen", "manage.py", "keygen", "authority", "--env", "--out", authority, **bare)
    (authority / "ca.key").chmod(0o600)
    (wanted.data / "vault").mkdir(mode=0o700, exist_ok=True)
    for key in KEYS:
        if key not in made:
            raise Trouble(f"`manage.py keygen` made no {key}.")
    return {key: made[key] for key in KEYS}


def _pairs(text: str) -> dict[str, str]:
    found = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in found}


def read(path: Path) -> dict[str, str]:
    """The names and values of an environment file."""
    return _pairs(path.read_text())
