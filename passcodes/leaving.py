"""A device leaves, or begins anew: what was known of its passcode counts no more."""

from django.db import transaction

from devices import enrollment
from devices.models import Device
from passcodes import clear_state, codes, declarations, enforcement, escrow, gate
from staff.models import User
from staff.permissions import require

UNENROLL = "devices.unenroll_device"


def settle(device: Device, *, because: str) -> None:
    """Retire its tokens, end its hours, shut its gate, void its clears. Its history stays.

    The caller holds the device's row.
    """
    escrow.retire(device, because=because)
    _stop(device, because=because)


@transaction.atomic
def unenroll(device_id: int, *, by: User) -> Device:
    """Have the device remove our management profile; the rest ends when it has done so."""
    require(by, UNENROLL, device=Device.objects.get(pk=device_id))
    device = enrollment.unenroll(device_id, by=by)
    _stop(device, because="The device is being unenrolled.")
    return device


@transaction.atomic
def retire(device_id: int, *, by: User) -> Device:
    """Take the device out of service, whether it answers or not."""
    require(by, UNENROLL, device=Device.objects.get(pk=device_id))
    device = enrollment.retire(device_id, by=by)
    settle(device, because="The device was retired.")
    return device


def renewed(device: Device) -> None:
    """It speaks with a new identity from now on: what was ordered for the former one is void.

    Its token is of the former one as well; `fresh_tokens` sees to that. The caller holds the row.
    """
    because = "The certificate of the device was renewed."
    clear_state.void(device, because=because)
    codes.end_all(device, because=because)


def _stop(device: Device, *, because: str) -> None:
    clear_state.void(device, because=because)
    codes.end_all(device, because=because)
    enforcement.end_all(device, because=because)
    declarations.forget(device)
    gate.review(device)
