"""Hand a secret from the vault to the door, for one command to one device.

The vault signs an order and seals under it the token of a clear, or the message that shows a code;
the door opens only what the vault has ordered for this command, this UDID and the certificate that
signed the request in hand.
"""

import hashlib
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from django.conf import settings
from django.utils import timezone

from devices import door_key, sealing
from devices.models import Command
from devices.rules.secret import Secret
from passcodes import served
from passcodes.models import Handover
from passcodes.rules import statements

CLEAR = "ClearPasscode"
LOCK = "DeviceLock"
TYPES = frozenset({CLEAR, LOCK})
VERSION = 1
OTHER_KEY = (
    "What was handed over was sealed to a key that the door does not hold: the door's key has been "
    "changed. Next: ask again."
)


class OutOfOrder(Exception):
    """Not what the vault has ordered, for this command and this device; nothing is delivered."""


def pack(
    secret: Secret,
    *,
    command: Command,
    request: UUID,
    udid: str,
    identity: str,
    until: datetime,
    order_key: Ed25519PrivateKey,
    door_key: X25519PublicKey,
) -> Handover:
    """The order and the box under it. Called in the vault; the caller saves it."""
    order = statements.encode(
        {
            "command": command.uuid.hex,
            "identity": identity,
            "request": request.hex,
            "type": command.request_type,
            "udid": udid,
            "until": int(until.timestamp()),
            "v": VERSION,
        }
    )
    box = sealing.seal(secret, to=door_key, context=statements.HANDOVER + order)
    return Handover(
        command=command, order=order, box=box, signature=order_key.sign(_signed(order, box))
    )


def unpack(command: Command, *, certificate_digest: str, request: UUID, udid: str) -> Secret:
    """The secret, for the length of one answer; or OutOfOrder. Called in the door, each time anew."""
    if served.is_noted(command.uuid):
        raise OutOfOrder("The order has served, or was refused: it does not serve again.")
    row = Handover.objects.filter(command=command).first()
    if row is None:
        raise OutOfOrder("The vault has handed nothing over for this command.")
    return opened(row, command, certificate_digest=certificate_digest, request=request, udid=udid)


def opened(
    row: Handover, command: Command, *, certificate_digest: str, request: UUID, udid: str
) -> Secret:
    """What this row holds, if it is what was ordered; or OutOfOrder."""
    order, box = bytes(row.order), bytes(row.box)
    _verify(order, box, bytes(row.signature))
    try:
        said = statements.decode(order)
    except statements.NotCanonical:
        raise OutOfOrder("The order cannot be read.") from None
    expected = {
        "command": command.uuid.hex,
        "identity": certificate_digest,
        "request": request.hex,
        "type": command.request_type,
        "udid": udid,
        "v": VERSION,
    }
    until = said.pop("until", None)
    if said != expected or said["type"] not in TYPES:
        raise OutOfOrder("The order is for another command or another device.")
    if not isinstance(until, int) or timezone.now().timestamp() >= until:
        raise OutOfOrder("The order has run out.")
    try:
        return door_key.unseal(box, context=statements.HANDOVER + order)
    except sealing.DoesNotOpen:
        if not door_key.is_held(box):
            raise OutOfOrder(OTHER_KEY) from None
        raise OutOfOrder("What was handed over does not open.") from None


def _verify(order: bytes, box: bytes, signature: bytes) -> None:
    key = Ed25519PublicKey.from_public_bytes(sealing.raw(settings.VAULT_VERIFY_KEY))
    try:
        key.verify(signature, _signed(order, box))
    except InvalidSignature:
        raise OutOfOrder("The order is not signed by the vault.") from None


def _signed(order: bytes, box: bytes) -> bytes:
    return statements.ORDER + order + hashlib.sha256(box).digest()
