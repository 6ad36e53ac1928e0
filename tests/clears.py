"""What tests of clears share: a device with a token in escrow, the way to a signed request, a vault.

The vault here is the real one, looked at once for each `tick()`, as if it were started anew.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection, connections
from django.utils import timezone

from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS, Platform
from devices.rules.secret import Secret
from passcodes import clearing, custody, escrow, signatures
from passcodes.models import ClearRequest
from staff.models import User
from tests.authenticator import Passkey
from tests.house import PASSKEYS, awake
from tests.simulator.phone import Phone
from vault import keyring, loop
from vault.journal import NAME, Journal

TOKEN = b"DATA\0\0\x04\xd2VERS\0\0\0\4\0\0\0\5TYPE an unlock token of tests"
IDENTITY = "ab" * 32
SERIAL = "F2LXQ1ABCD"
UDID = "00008101-001C2D3E4F50001E"


class Vault:
    """The vault process, by hand."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def tick(self) -> int:
        with Journal(self.state) as journal:
            return loop.tick(keyring=keyring.load(), journal=journal)

    def said(self) -> list[str]:
        """What its journal holds of openings, line by line."""
        return [what for what in self.journal() if what not in {"alive", "charter", "heard"}]

    def journal(self) -> list[str]:
        """Every line."""
        lines = (self.state / NAME).read_bytes().splitlines()
        return [json.loads(line)["what"] for line in lines]


def device(**facts: Any) -> Device:
    """An enrolled iPhone, as a row; it has no token yet."""
    now = timezone.now()
    kept: dict[str, Any] = {
        "udid": UDID,
        "serial": SERIAL,
        "name": "Till 4",
        "platform": Platform.IOS.value,
        "product_name": "iPhone16,1",
        "os_version": "26.1",
        "access_rights": ALL_RIGHTS,
        "enrollment_state": Enrollment.ENROLLED,
        "identity": IDENTITY,
        "enrolled_at": now,
        "last_seen_at": now,
        "push_token": b"\1" * 32,
        "push_magic": "magic",
        "token_since": now,
    }
    return Device.objects.create(**{**kept, **facts})


def with_token(token: bytes = TOKEN, **facts: Any) -> Device:
    """An enrolled iPhone whose unlock token lies in escrow."""
    made = device(**facts)
    escrow.keep(made, Secret(token), certificate_digest=made.identity or "")
    return made


def proof(serial: str = SERIAL) -> dict[str, str]:
    return {
        "how": "word",
        "words": "In my hands, at the counter.",
        "serial_end": serial[-4:],
    }


def is_not_in_lost_mode(request: ClearRequest) -> None:
    """The device was asked just now, as the door does before it hands a clear out."""
    custody.heard(request.device, False, asked_at=timezone.now())  # noqa: FBT003 - its own word


def draft(made: Device, *, by: User, **how: Any) -> ClearRequest:
    """Prepared, and signed by nobody."""
    how.setdefault("reason", "forgotten")
    how.setdefault("words", "Forgot it over the weekend.")
    how.setdefault("possession", proof(made.serial))
    return clearing.draft(made.pk, by=by, **how)


def ask(made: Device, *, by: User, **how: Any) -> ClearRequest:
    """Drafted, and signed by who asks."""
    return sign(draft(made, by=by, **how), by=by)


def sign(drafted: ClearRequest, *, by: User) -> ClearRequest:
    awake()
    signed = passkey(by).sign(signatures.to_ask(drafted, by=by))
    return clearing.request(drafted.pk, signed=signed, by=by)


def approve(request_id: UUID, *, by: User) -> ClearRequest:
    """What the approver is shown is signed with the approver's passkey."""
    awake()
    asked = ClearRequest.objects.select_related("device").get(pk=request_id)
    signed = passkey(by).sign(signatures.to_approve(asked, by=by))
    return clearing.approve(request_id, signed=signed, by=by)


def deny(request_id: UUID, *, words: str, by: User) -> ClearRequest:
    awake()
    asked = ClearRequest.objects.get(pk=request_id)
    signed = passkey(by).sign(signatures.to_deny(asked, words=words, by=by))
    return clearing.deny(request_id, signed=signed, by=by)


def witness(request_id: UUID, *, serial_end: str, by: User) -> ClearRequest:
    awake()
    asked = ClearRequest.objects.get(pk=request_id)
    signed = passkey(by).sign(signatures.to_witness(asked, by=by))
    return clearing.witness(request_id, serial_end=serial_end, signed=signed, by=by)


def passkey(person: User) -> Passkey:
    return PASSKEYS[person.get_username()]


def ask_for(phone: Phone, *, by: User) -> ClearRequest:
    return ask(Device.objects.get(udid=phone.udid), by=by)


def reread(request: ClearRequest) -> ClearRequest:
    return ClearRequest.objects.select_related("device", "token").get(pk=request.pk)


def command_of(request: ClearRequest) -> Command:
    """As it stands now."""
    assert request.command_id is not None
    return Command.objects.get(pk=request.command_id)


def traces(made: Device, beginning: str = "clear.") -> list[str]:
    entries = AuditEntry.objects.filter(device=made, verb__startswith=beginning)
    return list(entries.order_by("pk").values_list("verb", flat=True))


def later(**how_long: float) -> Any:
    return timezone.now() + timedelta(**how_long)


@contextmanager
def committed() -> Iterator[str]:
    """A database of its own, in which transactions are real; its name.

    It is a copy of the tests' database. Nothing can be emptied afterwards: audit entries stay.
    """
    settings = connection.settings_dict
    original, copy = settings["NAME"], f"{settings['NAME']}_{os.getpid()}_copy"
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{original}"')
    settings["NAME"] = copy
    try:
        yield copy
    finally:
        connections.close_all()
        settings["NAME"] = original
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{copy}" WITH (FORCE)')
