"""What a person answers once: names, addresses, people. Kept in the folder, without any secret in it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from passcodes.rules.charter_changes import FEWEST_KEEPERS

NAME = "house.json"
FIXED = {  # and what hangs on it
    "door_url": "enrolled devices",
    "sign_url": "people's signing passkeys",
    "state": "the vault and its journal",
}
PERSON = re.compile(r"[\w.@+-]{1,150}")
APART, TOGETHER = "apart", "together"
HIGHEST_PORT = 65_535
PORTS = 3  # staff site, check-in, connect


class Refused(Exception):
    """The house cannot be set up like this; the message says why, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything but what is secret; the two addresses of database and broker hold passwords."""

    organisation: str
    staff_url: str  # https://passcodes.example.org
    door_url: str
    sign_url: str
    admin: str = "admin"
    keepers: tuple[str, ...] = ("keeper1", "keeper2")
    approver: str = "approver"
    helpdesk: str = "helpdesk"
    doors: str = APART
    port: int = 8000
    state: str = "/var/lib/passcodes"
    tls: str = "/etc/ssl"  # HOST.pem and HOST.key of each name
    tls_authority: str = ""  # PEM; devices then accept no other
    users: bool = False  # an OS user for each process

    @property
    def people(self) -> dict[str, str]:
        """Name → role at the desk."""
        keepers = dict.fromkeys(self.keepers, "keeper")
        return {
            self.admin: "admin",
            **keepers,
            self.approver: "approver",
            self.helpdesk: "helpdesk",
        }

    @property
    def pinned_roles(self) -> dict[str, str]:
        """Name → what they may say at the vault."""
        return {**dict.fromkeys(self.keepers, "keep"), self.approver: "yes", self.helpdesk: "ask"}


QUESTIONS = {  # what has no default
    "organisation": "The organisation's name, as devices show it",
    "staff_url": "Address of the staff site (https://passcodes.example.org)",
    "door_url": "Address of the device door (https://mdm.example.org; it can never change)",
    "sign_url": "Address of the signing page (https://sign.example.org; it can never change)",
}


def kept(folder: Path, *, needed: bool = False) -> dict[str, Any]:
    """What was answered before; nothing at the first run."""
    try:
        said = json.loads((folder / NAME).read_text())
    except FileNotFoundError:
        if needed:
            raise Refused(
                f"There is no {folder / NAME}. Next: run setup without --check."
            ) from None
        return {}
    except (OSError, ValueError):
        raise Refused(f"{folder / NAME} cannot be read. Next: mend it, or move it away.") from None
    known = {one.name for one in fields(House)}
    return {name: value for name, value in said.items() if name in known}


def house(
    given: Mapping[str, Any], before: Mapping[str, Any], ask: Callable[[str], str] | None
) -> House:
    """The house from what is given now, what was answered before, and what is asked for."""
    said = {**before, **given}
    for name, what in FIXED.items():
        if name in before and said[name] != before[name]:
            raise Refused(
                f"--{name.replace('_', '-')} is {before[name]} and cannot change: {what} hang on it."
            )
    for name, question in QUESTIONS.items():
        if name not in said:
            if ask is None:
                option = name.replace("_", "-")
                raise Refused(f"--{option} is missing: {question}.")
            said[name] = ask(question)
    said["keepers"] = tuple(said.get("keepers", House.__dataclass_fields__["keepers"].default))
    return checked(House(**said))


def written(one: House) -> str:
    return json.dumps(asdict(one), indent=2, sort_keys=True) + "\n"


def checked(one: House) -> House:
    """The same, or Refused with the first thing that cannot be."""
    hosts = [_host(name, getattr(one, name)) for name in ("staff_url", "door_url", "sign_url")]
    staff, _, sign = hosts
    if len(set(hosts)) != len(hosts):
        raise Refused("Staff site, device door and signing page need three different host names.")
    if f".{sign}".endswith(f".{staff}") or f".{staff}".endswith(f".{sign}"):
        raise Refused(
            "The signing page's host is above or below the staff site's; a passkey would then "
            "serve both. Take another name for it."
        )
    if not one.organisation.strip() or re.search(r"[\n\r'\"$#\\]", one.organisation):
        raise Refused("The organisation's name is empty, or has a quote, $, # or \\ in it.")
    people = [one.admin, *one.keepers, one.approver, one.helpdesk]
    if len(set(people)) != len(people) or not all(map(PERSON.fullmatch, people)):
        raise Refused("People need different user names, of letters, digits and . @ + - _ alone.")
    if len(one.keepers) < FEWEST_KEEPERS:
        raise Refused("There must be two keepers: one alone changes nothing at the vault.")
    if one.doors not in {APART, TOGETHER}:
        raise Refused(f"The doors are {APART} or {TOGETHER}.")
    if not 1 <= one.port <= HIGHEST_PORT - PORTS:
        raise Refused(f"The first of the ports must be a number from 1 to {HIGHEST_PORT - PORTS}.")
    if one.tls_authority:
        _check_authority(Path(one.tls_authority))
    return one


def _check_authority(file: Path) -> None:
    if not file.is_file():
        raise Refused(f"There is no file {file}, the authority of the door's TLS.")
    try:
        x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError:
        raise Refused(f"{file} holds no certificate in PEM form.") from None


def _host(name: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path or parts.query:
        raise Refused(
            f"{name.replace('_', ' ')} is «{url}»; it must be https:// and a host name alone."
        )
    if re.fullmatch(r"[0-9.]+|.*:.*", parts.hostname):
        raise Refused(f"{name.replace('_', ' ')} must be a name, not an address of digits.")
    return parts.hostname
