"""Open one token for one request: ask the rules again, note the use, open, order, hand over."""

import logging
from uuid import UUID

from django.db import transaction

from devices import queue, sealing
from devices.models import Command, Device
from passcodes import clearing, escrow, handover
from passcodes.models import ClearRequest, TokenBox
from passcodes.rules.clearing import Refused, State, Step
from passcodes.rules.statements import NotCanonical
from vault import codes
from vault.journal import AlreadyUsed, Journal, Use
from vault.keyring import Keyring

log = logging.getLogger(__name__)

DOES_NOT_OPEN = (
    "The sealed token does not open for this device. "
    "Next: enroll the device again, and tell an admin: the database may have been altered."
)
USED_BEFORE = "This request was used before, and opens nothing a second time. Next: ask again."
BURNT = (
    "The vault was interrupted while it opened the token. The sign-off is spent. Next: ask again."
)


def open_one(request_id: UUID, *, keyring: Keyring, journal: Journal) -> None:
    """Hand the token of a signed request over, or end the request with the reason."""
    try:
        with transaction.atomic():
            use = _hand_over(request_id, keyring, journal)
    except AlreadyUsed:
        _fail(request_id, journal, USED_BEFORE)
    except (sealing.DoesNotOpen, NotCanonical, TokenBox.DoesNotExist):
        _fail(request_id, journal, DOES_NOT_OPEN)
    except (Refused, queue.Refused) as refused:
        journal.stopped(request_id, str(refused))
        clearing.stop(request_id, because=str(refused))
    else:
        if use:
            journal.handed(use)


def settle(journal: Journal) -> None:
    """Say of each use how it ended: committed, or burnt. Never is one tried again.

    Called while no opening is under way; the lock waits for a commit that was cut off.
    """
    for use in journal.open_uses():
        with transaction.atomic():
            if _was_committed(use):
                journal.handed(use)
                continue
            journal.burnt(use)
            _fail_if_open(use.request, BURNT)


def _hand_over(request_id: UUID, keyring: Keyring, journal: Journal) -> Use | None:
    """All of it in one transaction, with the device locked: command, order, state and trace."""
    signed = ClearRequest.objects.locked(request_id)
    if State(signed.state) is not State.APPROVED:
        return None  # taken back, or void, since we looked
    if journal.was_used(request_id):
        raise AlreadyUsed("It was used before.")
    clearing.check(Step.ARM, signed)
    code = codes.check(signed, journal=journal)
    seen, kept, until = signed.snapshot, signed.token, clearing.signed_until(signed)
    box = TokenBox.objects.get(token=kept)
    udid = str(seen.get("udid"))
    place = escrow.place(
        kept, udid=udid, serial=str(seen.get("serial")), model=str(seen.get("model"))
    )
    [command] = queue.enqueue([signed.device], handover.CLEAR, priority=clearing.BEFORE_ALL_ELSE)
    use = Use(request=signed.pk, command=command.uuid, udid=udid, token=kept.pk)
    journal.use(use, code=code)
    order = handover.pack(
        sealing.unseal(bytes(box.box), key=keyring.box_key, context=place),
        command=command,
        request=signed.pk,
        udid=use.udid,
        identity=kept.identity,
        until=until,
        order_key=keyring.order_key,
        door_key=keyring.door_key,
    )
    clearing.arm(request_id, command=command, order=order)
    return use


def _was_committed(use: Use) -> bool:
    asked = ClearRequest.objects.filter(pk=use.request).first()
    if asked is not None:
        Device.objects.locked(asked.device_id)
    return Command.objects.filter(pk=use.command).exists()


def _fail(request_id: UUID, journal: Journal, because: str) -> None:
    journal.stopped(request_id, because)
    log.error("Request %s failed in the vault: %s", request_id.hex, because)
    _fail_if_open(request_id, because)


@transaction.atomic
def _fail_if_open(request_id: UUID, because: str) -> None:
    if not ClearRequest.objects.filter(pk=request_id).exists():
        return  # the database was put back to a time before it
    asked = ClearRequest.objects.locked(request_id)
    if State(asked.state) in {State.APPROVED, State.ARMED}:
        clearing.fail(request_id, because=because)
