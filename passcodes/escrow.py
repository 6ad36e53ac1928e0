"""Keep unlock tokens sealed: one current token a device, bound to the place it came from.

The door seals and cannot open; only the vault can. A token serves its own enrollment and no other.
A device can be made to send a new one; earlier ones stay sealed until they are shredded.
"""

import unicodedata
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, identities, sealing
from devices.models import Command, Device
from devices.models.command import CommandQuerySet
from devices.rules.channels import RIGHT_LOCK, Platform
from devices.rules.secret import Secret
from passcodes.models import ClearRequest, EscrowedToken, TokenBox
from passcodes.models.escrow import Origin, TokenState
from passcodes.rules import clearing, statements
from passcodes.rules import escrow as rules
from passcodes.rules.escrow import Refused
from staff import permissions
from staff.models import User

ASK_FRESH = "passcodes.ask_fresh_token"
LONGEST = 64  # characters of a serial number or a model, as the columns hold them


@transaction.atomic
def keep(
    device: Device,
    token: Secret,
    *,
    certificate_digest: str,
    origin: Origin = Origin.UPDATE,
) -> EscrowedToken:
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
        origin=origin,
        received_at=timezone.now(),
    )
    box = sealing.seal(token, to=key, context=place(kept))
    _retire_current(device)
    kept.save(force_insert=True)
    TokenBox.objects.create(token=kept, key=kept.key, box=box)
    audit.record(
        "escrow.kept", device=device, token=kept.token.hex, key=kept.key, origin=str(origin)
    )
    return kept


def origin(device: Device, *, completes_enrollment: bool) -> Origin:
    """How the token that comes now comes about, for whoever asks how old it is and why."""
    if not completes_enrollment:
        return Origin.UPDATE
    last = _renewals(device).filter(times_sent__gt=0).order_by("-sent_at").first()
    began = device.authenticated_at
    is_renewal = (
        last is not None
        and last.sent_at is not None
        and began is not None
        and last.sent_at <= began
        and not device.tokens.filter(received_at__gt=last.sent_at).exists()
    )
    return Origin.RENEWAL if is_renewal else Origin.ENROLLMENT


def why_no_fresh_token(device: Device) -> list[str]:
    """Everything that stands in the way of a new token; nothing: it may be asked for."""
    return list(
        rules.obstacles(
            rules.Facts(
                platform_refusals=clearing.platform_refusals(
                    platform=Platform(device.platform),
                    shared_ipad=device.is_shared_ipad,
                    user_enrollment=device.is_user_enrollment,
                ),
                enrollment_is_active=device.is_enrolled,
                has_lock_right=bool(device.access_rights & RIGHT_LOCK),
                can_be_woken=device.can_be_woken,
                device_is_lost=device.is_lost,
                clear_is_open=ClearRequest.objects.open().filter(device=device).exists(),
                is_asked=_renewals(device).open().exists(),
            )
        )
    )


@transaction.atomic
def ask_fresh(device_id: int, *, by: User) -> Device:
    """Give the device its enrollment profile again: it checks in anew, and sends a new token."""
    device = Device.objects.locked(device_id)
    permissions.require(by, ASK_FRESH, device=device)
    if reasons := why_no_fresh_token(device):
        raise Refused(" ".join(reasons))
    if not identities.renew([device.pk]):
        raise Refused("The device takes no profiles from us. Next: enroll it again.")
    audit.record("escrow.fresh_asked", device=device, actor=by)
    return device


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


def _renewals(device: Device) -> CommandQuerySet:
    return Command.objects.filter(
        device=device, request_type="InstallProfile", arguments=identities.RENEWAL
    )


def _retire_current(device: Device) -> int:
    return EscrowedToken.objects.filter(device=device, current=True).update(
        current=False, state=TokenState.RETIRED, retired_at=timezone.now()
    )
