"""The door delivers what the vault has ordered: for this command, to this device, now."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from devices import queue, sealing
from devices.models import Command
from devices.rules.secret import Secret
from passcodes import handover
from passcodes.handover import OutOfOrder
from passcodes.models import Handover
from passcodes.rules import statements
from tests import clears
from tests.clears import IDENTITY, TOKEN, UDID
from vault import keyring

pytestmark = pytest.mark.django_db

REQUEST = uuid4()


@pytest.fixture
def command() -> Command:
    [made] = queue.enqueue([clears.device()], "ClearPasscode")
    return made


def pack(command: Command, **otherwise: Any) -> Handover:
    keys = keyring.load()
    facts: dict[str, Any] = {
        "command": command,
        "request": REQUEST,
        "udid": UDID,
        "identity": IDENTITY,
        "until": timezone.now() + timedelta(minutes=5),
        "order_key": keys.order_key,
        "door_key": keys.door_key,
    }
    return handover.pack(Secret(TOKEN), **{**facts, **otherwise})


def unpack(
    command: Command, *, digest: str = IDENTITY, udid: str = UDID, request: UUID = REQUEST
) -> bytes:
    secret = handover.unpack(command, certificate_digest=digest, request=request, udid=udid)
    return secret.reveal()


def test_what_the_vault_packs_the_door_unpacks(command: Command) -> None:
    pack(command).save(force_insert=True)
    assert unpack(command) == TOKEN
    assert unpack(command) == TOKEN  # again, after a lost connection


def test_the_order_is_what_the_protocol_says(command: Command) -> None:
    until = timezone.now() + timedelta(minutes=5)
    order = bytes(pack(command, until=until).order)
    assert (
        order
        == (
            f'{{"command":"{command.uuid.hex}","identity":"{IDENTITY}","request":"{REQUEST.hex}",'
            f'"type":"ClearPasscode","udid":"{UDID}","until":{int(until.timestamp())},"v":1}}'
        ).encode()
    )


def test_without_a_handover_nothing_is_delivered(command: Command) -> None:
    with pytest.raises(OutOfOrder, match="nothing over"):
        unpack(command)


def test_an_order_that_the_vault_did_not_sign_delivers_nothing(command: Command) -> None:
    pack(command, order_key=Ed25519PrivateKey.generate()).save(force_insert=True)
    with pytest.raises(OutOfOrder, match="not signed"):
        unpack(command)


@pytest.mark.parametrize("part", ["order", "box", "signature"])
def test_one_changed_bit_delivers_nothing(command: Command, part: str) -> None:
    made = pack(command)
    raw = bytearray(getattr(made, part))
    raw[len(raw) // 2] ^= 1
    setattr(made, part, bytes(raw))
    made.save(force_insert=True)
    with pytest.raises(OutOfOrder, match="not signed"):
        unpack(command)


def test_a_good_order_with_another_box_delivers_nothing(command: Command) -> None:
    made = pack(command)
    context = statements.HANDOVER + bytes(made.order)
    made.box = sealing.seal(Secret(b"another"), to=keyring.load().door_key, context=context)
    made.save(force_insert=True)
    with pytest.raises(OutOfOrder, match="not signed"):
        unpack(command)


def test_the_order_of_another_command_delivers_nothing(command: Command) -> None:
    [other] = queue.enqueue([command.device], "ClearPasscode")
    made = pack(other)
    made.command = command
    made.save(force_insert=True)
    with pytest.raises(OutOfOrder, match="another command"):
        unpack(command)


def test_another_device_gets_nothing(command: Command) -> None:
    pack(command).save(force_insert=True)
    with pytest.raises(OutOfOrder, match="another device"):
        unpack(command, digest="cd" * 32)
    with pytest.raises(OutOfOrder, match="another device"):
        unpack(command, udid="another")
    with pytest.raises(OutOfOrder, match="another command"):
        unpack(command, request=uuid4())


def test_another_kind_of_command_gets_no_token(command: Command) -> None:
    pack(command).save(force_insert=True)
    command.request_type = "DeviceLock"
    with pytest.raises(OutOfOrder):
        unpack(command)


def test_an_order_runs_out(command: Command) -> None:
    pack(command, until=timezone.now()).save(force_insert=True)
    with pytest.raises(OutOfOrder, match="run out"):
        unpack(command)


def test_a_box_that_was_sealed_under_another_order_does_not_open(command: Command) -> None:
    """Signed, but sealed elsewhere: the vault never makes such a thing."""
    keys = keyring.load()
    made = pack(command)
    made.box = sealing.seal(Secret(TOKEN), to=keys.door_key, context=statements.HANDOVER)
    made.signature = keys.order_key.sign(handover._signed(bytes(made.order), bytes(made.box)))
    made.save(force_insert=True)
    with pytest.raises(OutOfOrder, match="does not open"):
        unpack(command)


def test_an_order_prints_nothing(command: Command) -> None:
    made = pack(command)
    for words in (repr(made), str(made)):
        assert bytes(made.box).hex() not in words
        assert UDID not in words
