"""What silence means for withheld configuration: the gate shuts, and a fresh answer opens it."""

from django.db import transaction

from devices import inactivity
from devices.models import Device
from passcodes import gate


def close_due() -> int:
    """Call those inactive that were silent too long, and shut the gate for them; how many."""
    done = 0
    while count := _close_batch():
        done += count
    return done


@transaction.atomic
def _close_batch() -> int:
    devices = inactivity.mark_due()
    gate.review_all(devices)
    return len(devices)


@transaction.atomic(savepoint=False)  # at each visit: it stands or falls with the caller
def came(device: Device) -> None:
    """The device is here, perhaps after a long silence. The caller holds the device's row."""
    if inactivity.returned(device):
        gate.review(device)
