"""Which process holds what: keys in their holder's file alone, and everything else that a process needs.

Nothing is kept twice. A public half is computed from the private one, so a set-up that was interrupted
goes on from whatever is there.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices.sealing import NotAKey, raw, written
from mdm.enrollment.authority import Authority, make_authority
from mdm.setup.answers import APART, House, Refused
from mdm.setup.machine import Machine

OWNER = "owner"
SERVES = {  # process → SERVE; the names are those of the units, users and files
    "staff": "staff",
    "checkin": "checkin",
    "connect": "connect",
    "door": "devices",
    "worker": "worker",
    "clock": "clock",
    "vault": "vault",
}
WITHOUT_DATABASE = {"clock"}


def processes(house: House) -> tuple[str, ...]:
    """What runs in this house."""
    doors = ("checkin", "connect") if house.doors == APART else ("door",)
    return ("staff", *doors, "worker", "clock", "vault")


def role(process: str) -> str:
    """The login's name in mdm/grants.py."""
    return SERVES[process]


class Keys:
    """Four pairs; each private half is made in its holder's file, and read from there."""

    def __init__(self, house: House, files: Mapping[str, dict[str, str]]) -> None:
        connect = "connect" if house.doors == APART else "door"
        checkin = "checkin" if house.doors == APART else "door"
        self._files = files
        self._box("VAULT_PRIVATE_KEY", "vault", "VAULT_PUBLIC_KEY", checkin)
        self._sign("VAULT_ORDER_KEY", "vault", "VAULT_VERIFY_KEY", connect, "staff")
        self._box("DOOR_PRIVATE_KEY", connect, "DOOR_PUBLIC_KEY", "vault", "staff")
        self._box("WORKER_PRIVATE_KEY", "worker", "WORKER_PUBLIC_KEY", "staff")

    def _box(self, private: str, holder: str, public: str, *readers: str) -> None:
        own = self._own(private, holder, X25519PrivateKey.generate)
        if own:
            value = X25519PrivateKey.from_private_bytes(own).public_key().public_bytes_raw()
            self._give(public, value, readers)

    def _sign(self, private: str, holder: str, public: str, *readers: str) -> None:
        own = self._own(private, holder, Ed25519PrivateKey.generate)
        if own:
            value = Ed25519PrivateKey.from_private_bytes(own).public_key().public_bytes_raw()
            self._give(public, value, readers)

    def _own(
        self, private: str, holder: str, make: Callable[[], X25519PrivateKey | Ed25519PrivateKey]
    ) -> bytes:
        """The holder's, made where there is none; nothing where an operator keeps it elsewhere."""
        own = self._files[holder]
        if f"{private}_FILE" in own:
            return b""
        if private not in own:
            own[private] = written(make().private_bytes_raw())
        try:
            return raw(own[private])
        except NotAKey:
            raise Refused(
                f"{private} of {holder} is no key. Next: bring the right one back."
            ) from None

    def _give(self, public: str, value: bytes, readers: tuple[str, ...]) -> None:
        for reader in readers:
            self._files[reader][public] = written(value)


def write(house: House, machine: Machine, *, database_url: str, redis_url: str) -> list[str]:
    """One file for each process, with its own keys only; which of them were written now.

    What an operator has added to a file stays in it.
    """
    names = (OWNER, *processes(house))
    files = {name: machine.environment(name) for name in names}
    database_url = database_url or files[OWNER].get("DATABASE_URL", "")
    redis_url = redis_url or files["worker"].get("REDIS_URL", "")
    if not database_url:
        raise Refused(
            "--database-url is missing: postgres://OWNER:PASSWORD@HOST/NAME, of a database that is "
            "there, for a login that owns it and may make roles."
        )
    if urlsplit(database_url).scheme not in {"postgres", "postgresql"}:
        raise Refused("The database's address must begin with postgres://.")
    if not redis_url:
        raise Refused("--redis-url is missing: redis://:PASSWORD@HOST/0.")
    for one in files.values():
        one.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    former = _former_doors(names, machine)
    for name in former:
        _hand_on(machine.environment(name), files)
    Keys(house, files)
    certificate, key = _authority(house, machine)
    _settle(house, machine, files, certificate, key)
    files[OWNER]["DATABASE_URL"] = database_url
    for name in processes(house):
        if name in WITHOUT_DATABASE:
            continue
        password = files[OWNER].setdefault(
            f"ROLE_PASSWORD_{role(name).upper()}", secrets.token_urlsafe(24)
        )
        files[name]["DATABASE_URL"] = _as(role(name), password, database_url)
    for name in ("worker", "clock"):
        files[name]["REDIS_URL"] = redis_url
    written_now = [name for name in names if machine.write_environment(name, files[name])]
    for name in former:
        machine.environment_file(name).unlink()
    return written_now


def _former_doors(names: tuple[str, ...], machine: Machine) -> list[str]:
    """Files of doors that this house no longer has."""
    doors = ("checkin", "connect", "door")
    return [one for one in doors if one not in names and machine.environment_file(one).exists()]


def _hand_on(former: dict[str, str], files: Mapping[str, dict[str, str]]) -> None:
    """The door's key outlives a change of doors: what was sealed to it still opens."""
    holder = files.get("connect", files.get("door", {}))
    for name in ("DOOR_PRIVATE_KEY", "DOOR_FORMER_KEY"):
        if name in former:
            holder.setdefault(name, former[name])


def _settle(
    house: House,
    machine: Machine,
    files: dict[str, dict[str, str]],
    certificate: Path,
    key: Path,
) -> None:
    """What is no secret, and the same for whoever sets the house up again."""
    common = {
        "ORGANISATION": house.organisation,
        "STAFF_URL": house.staff_url,
        "DOOR_URL": house.door_url,
    }
    pins = _pins(house, machine)
    door = {"ALLOWED_HOSTS": _host(house.door_url), "CA_CERTIFICATE_FILE": str(certificate)}
    notes = {"DOOR_STATE": str(machine.door)}  # which orders have served
    own: dict[str, dict[str, str]] = {
        OWNER: {"SERVE": "owner"},
        "staff": {
            "ALLOWED_HOSTS": _host(house.staff_url),
            "PROXIES_BEFORE_STAFF": "1",
            "SIGN_URL": house.sign_url,
            "STATIC_ROOT": str(machine.static),
            **pins,
        },
        "checkin": {**door, "CA_PRIVATE_KEY_FILE": str(key), **pins},
        "connect": {**door, **notes},
        "door": {**door, **notes, "CA_PRIVATE_KEY_FILE": str(key), **pins},
        "worker": {},
        "clock": {},
        "vault": {
            "AUDIT_HEAD_FILE": str(machine.vault / "audit-heads"),
            "SIGN_URL": house.sign_url,
            "VAULT_STATE": str(machine.vault / "state"),
        },
    }
    for name, environment in files.items():
        serve = {"SERVE": SERVES[name]} if name in SERVES else {}
        environment |= {**common, **own[name], **serve}


def _pins(house: House, machine: Machine) -> dict[str, str]:
    """What devices are to pin, as a copy: the processes cannot look where an operator keeps it."""
    if not house.tls_authority:
        return {}
    copy = machine.folder / "tls-authority.pem"
    machine.write(copy, Path(house.tls_authority).read_text(), mode=0o644)
    return {"DOOR_TLS_AUTHORITY_FILE": str(copy)}


def _authority(house: House, machine: Machine) -> tuple[Path, Path]:
    """The authority that gives devices their identities; half of one is made anew."""
    certificate, key = machine.folder / "ca.pem", machine.folder / "ca.key"
    holder = "checkin" if house.doors == APART else "door"
    if certificate.exists() and key.exists():
        try:
            Authority.load(certificate.read_bytes(), key.read_bytes())
        except (TypeError, ValueError):
            raise Refused(
                f"{key} does not belong to {certificate}. Next: bring the right one back; devices "
                "hang on it."
            ) from None
        machine.give(key, holder)
    elif certificate.exists():
        raise Refused(f"{certificate} is there and {key} is not. Next: bring it back.")
    else:
        made, private = make_authority(f"{house.organisation} device authority")
        machine.write(key, private.decode(), mode=0o600, process=holder)
        machine.write(certificate, made.decode(), mode=0o644)
    return certificate, key


def _as(login: str, password: str, url: str) -> str:
    """The same database, under the login of one process."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"passcodes_{login}:{quote(password)}@{place}"))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
