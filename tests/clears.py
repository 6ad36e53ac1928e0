"""What tests of clears share: a device with a token in escrow, the way to a signed request, a vault.

The vault here is the real one, looked at once for each `tick()`, as if it were started anew.
"""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.utils import timezone

from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS, Platform
from devices.rules.secret import Secret
from passcodes import (
    acts,
    bulk,
    clear_delivery,
    clearing,
    custody,
    escrow,
    signatures,
    vault_says,
)
from passcodes.models import Act, ClearList, ClearRequest
from staff.models import User
from tests.authenticator import Passkey
from tests.house import PASSKEYS, House, awake
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
        return [
            what for what in self.journal() if what not in {"alive", "charter", "heard", "lost"}
        ]

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


def signed(house: House, made: Device | Phone) -> ClearRequest:
    """Asked for by one, and signed by another; the vault has not looked."""
    device = house.device(made) if isinstance(made, Phone) else made
    return approve(ask(device, by=house.helpdesk).pk, by=house.approver)


def signed_by_strangers(made: Device | None = None) -> ClearRequest:
    """The same in a database of its own, where nobody is known yet."""
    asker, approver = two_people()
    return approve(ask(made or with_token(), by=asker).pk, by=approver)


def two_people() -> tuple[User, User]:
    """Who asks and who signs; the staff site lets them do everything."""
    asker, approver = (
        User.objects.create_superuser(name, password="x") for name in ("helpdesk", "approver")
    )
    for person in (asker, approver):
        PASSKEYS[person.username].row(person)
    return asker, approver


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


def ask_to_find(made: Device, *, by: User, words: str = "Seen at the counter.") -> Act:
    """Somebody signs that a lost device is back."""
    return ask_act(acts.find(made.pk, words=words, by=by), by=by)


def ask_act(drafted: Act, *, by: User) -> Act:
    awake()
    return acts.ask(drafted.pk, signed=passkey(by).sign(acts.to_ask(drafted, by=by)), by=by)


def agree(asked: Act, *, by: User) -> Act:
    awake()
    act = Act.objects.get(pk=asked.pk)
    return acts.agree(act.pk, signed=passkey(by).sign(acts.to_agree(act, by=by)), by=by)


def deny_act(asked: Act, *, words: str, by: User) -> Act:
    awake()
    act = Act.objects.get(pk=asked.pk)
    signed = passkey(by).sign(acts.to_deny(act, words=words, by=by))
    return acts.deny(act.pk, signed=signed, by=by)


def find(house: House, made: Device) -> Device:
    """Two people sign that a lost device was found, the vault hears it, and the rows follow."""
    house.vault()  # it knows the mark before anybody asks
    agree(ask_to_find(made, by=house.helpdesk), by=house.approver)
    house.vault()
    custody.find_due()
    return Device.objects.get(pk=made.pk)


# Several devices at once


def several(number: int, **facts: Any) -> list[Device]:
    """Enrolled iPhones, each with a token of its own in escrow."""
    return [
        with_token(
            TOKEN + bytes([at]),
            **{
                "udid": f"00008101-{at:016X}",
                "serial": f"F2LXQ{at:05d}",
                "name": f"Till {at}",
                "identity": f"{at:064x}",
                "push_token": bytes([at]) * 32,
                **facts,
            },
        )
        for at in range(1, number + 1)
    ]


def allow_lists(house: House, most: int = 25, **rule: Any) -> None:
    """The charter lets one pair of signatures clear so many devices."""
    house.charter(
        lambda charter: replace(
            charter,
            version=charter.version + 1,
            default=replace(charter.default, bulk_max=most, **rule),
        )
    )


def draft_list(devices: list[Device], *, by: User, **how: Any) -> ClearList:
    kept: dict[str, Any] = {
        "reason": "refresh",
        "words": "New tills for the north.",
        "how": "word",
        "holder": "On my bench.",
        "read": " ".join(device.serial or "" for device in devices),
    }
    return bulk.draft([device.pk for device in devices], by=by, **{**kept, **how})


def ask_list(devices: list[Device], *, by: User, **how: Any) -> ClearList:
    """Drafted, and signed once over all of them."""
    return sign_list(draft_list(devices, by=by, **how), by=by)


def sign_list(found: ClearList, *, by: User) -> ClearList:
    awake()
    signed = passkey(by).sign(signatures.to_ask(found, by=by))
    return bulk.request(found.pk, signed=signed, by=by)


def approve_list(found: ClearList, *, by: User) -> int:
    awake()
    signed = passkey(by).sign(signatures.to_approve(found, by=by))
    return bulk.approve(found.pk, signed=signed, by=by)


def deny_list(found: ClearList, *, words: str, by: User) -> int:
    awake()
    signed = passkey(by).sign(signatures.to_deny(found, words=words, by=by))
    return bulk.deny(found.pk, signed=signed, by=by)


def witness_list(found: ClearList, *, read: str, by: User) -> ClearList:
    awake()
    signed = passkey(by).sign(signatures.to_witness(found, by=by))
    return bulk.witness(found.pk, read=read, signed=signed, by=by)


def vault_says_of(found: ClearList) -> dict[str, Any]:
    return vault_says.of_request(found.pk)


def taken_by(request: ClearRequest) -> bytes:
    """The device comes for it: the token that the door hands out."""
    command = command_of(reread(request))
    digest = request.device.identity or ""
    return clear_delivery.send(command, certificate_digest=digest).reveal()


def states(found: ClearList) -> list[str]:
    """Of each device of the list, in its order."""
    return list(found.requests.order_by("place").values_list("state", flat=True))


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
