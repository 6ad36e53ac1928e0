"""Keep unlock tokens sealed: one current token a device, bound to the place it came from.

The door seals and cannot open; only the vault can. A token serves its own enrollment and no other.
"""

import unicodedata
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, sealing
from devices.models import Device
from devices.rules.secret import Secret
from passcodes.models import EscrowedToken, TokenBox
from passcodes.models.escrow import TokenState
from passcodes.rules import statements

LONGEST = 64  # characters of a serial number or a model, as the columns hold them


@transaction.atomic
def keep(device: Device, token: Secret, *, certificate_digest: str) -> EscrowedToken:
    """Seal a token that came with a message this certificate signed; the earlier one is retired."""
    device = Device.objects.locked(device.pk)
    key = sealing.public_key(settings.VAULT_PUBLIC_KEY)
    kept = EscrowedToken(
        token=uuid4(),
        device=device,
        enrollment=device.enrollment,
        identity=certificate_digest,
        udid=device.udid,
        serial=cleaned(device.serial),
        model=cleaned(device.product_name),
        key=sealing.key_id(key),
        received_at=timezone.now(),
    )
    box = sealing.seal(token, to=key, context=place(kept))
    _retire_current(device)
    kept.save(force_insert=True)
    TokenBox.objects.create(token=kept, key=kept.key, box=box)
    audit.record("escrow.kept", device=device, token=kept.token.hex, key=kept.key)
    return kept


@transaction.atomic
def retire(device: Device, *, because: str) -> None:
    """No token of this device may be used until it sends a new one. The boxes stay sealed."""
    Device.objects.locked(device.pk)
    if _retire_current(device):
        audit.record("escrow.retired", device=device, because=because)


@transaction.atomic
def suspect(token: EscrowedToken) -> None:
    """The device has refused it: nobody tries it again."""
    token.state = TokenState.SUSPECT
    token.save(update_fields=["state"])
    audit.record("escrow.suspect", device=token.device, token=token.token.hex)


def current(device: Device) -> EscrowedToken | None:
    """The token that the device's present enrollment has sent, even one that is suspect."""
    return EscrowedToken.objects.filter(
        device=device,
        current=True,
        enrollment=device.enrollment,
        identity=device.identity or "",
        state__in=[TokenState.KEPT, TokenState.SUSPECT],
    ).first()


def place(
    kept: EscrowedToken,
    *,
    udid: str | None = None,
    serial: str | None = None,
    model: str | None = None,
) -> bytes:
    """What a box is bound to. The vault puts what people saw in the place of what the row says."""
    return statements.BOX + statements.encode(
        {
            "enrollment": kept.enrollment.hex,
            "identity": kept.identity,
            "model": kept.model if model is None else model,
            "serial": kept.serial if serial is None else serial,
            "token": kept.token.hex,
            "udid": kept.udid if udid is None else udid,
        }
    )


def cleaned(text: str, longest: int = LONGEST) -> str:
    """A text that we did not write, as a canonical document can hold it."""
    plain = "".join(
        char
        for char in unicodedata.normalize("NFC", text)
        if char in statements.JOINERS or unicodedata.category(char) not in statements.FORBIDDEN
    )
    return unicodedata.normalize("NFC", plain[:longest].strip())[:longest]


def _retire_current(device: Device) -> int:
    return EscrowedToken.objects.filter(device=device, current=True).update(
        current=False, state=TokenState.RETIRED, retired_at=timezone.now()
    )
