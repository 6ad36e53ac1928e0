"""Keep the bootstrap token of a Mac, and give it back to that Mac alone.

It is nothing like an UnlockToken: the Mac asks for it by itself, whenever it needs it, and nobody
else ever gets it. It serves the enrollment that has brought it.
"""

import logging

from django.db import transaction
from django.utils import timezone

from devices import audit, door_key, sealing
from devices.models import BootstrapToken, Device
from devices.rules.secret import Secret

log = logging.getLogger(__name__)

DOMAIN = b"passcodes/bootstrap/v1\0"


def can_keep() -> bool:
    """Whether this process could give back what it took; if not, it takes nothing."""
    return door_key.can_open()


@transaction.atomic
def keep(device: Device, token: Secret) -> BootstrapToken:
    """Seal the token in place of the earlier one. The caller holds the device's row."""
    key, box = door_key.seal(token, context=place(device))
    kept, _ = BootstrapToken.objects.update_or_create(
        device=device,
        defaults={"key": key, "box": box, "received_at": timezone.now(), "given_at": None},
    )
    audit.record("bootstrap.kept", device=device, key=key)
    return kept


@transaction.atomic
def give(device: Device) -> Secret | None:
    """The token that this very enrollment has brought; None where there is none that opens."""
    kept = BootstrapToken.objects.filter(device=device).first()
    if kept is None:
        return None
    try:
        token = door_key.unseal(bytes(kept.box), context=place(device))
    except (sealing.DoesNotOpen, door_key.NoKey) as fault:
        log.error("The bootstrap token of %r does not open: %s.", device, fault)  # noqa: TRY400 - a chain would say no more
        audit.record("bootstrap.not_opened", device=device, key=kept.key)
        return None
    kept.given_at = timezone.now()
    kept.save(update_fields=["given_at"])
    audit.record("bootstrap.given", device=device, key=kept.key)
    return token


@transaction.atomic
def forget(device: Device, *, because: str) -> None:
    """Keep none any more: the device says so, or its enrollment is over."""
    if BootstrapToken.objects.filter(device=device).delete()[0]:
        audit.record("bootstrap.forgotten", device=device, because=because)


def place(device: Device) -> bytes:
    """What the box is bound to: it opens for no other device and for no later enrollment."""
    return DOMAIN + device.enrollment.bytes + device.udid.encode()
