"""Make a code for a device's lock screen, and judge the digits that were read off it.

The digits exist in this process for as long as it takes to seal them to the door; the journal
keeps what is needed to judge them, and what it has judged. Rows are wishes: none of them is believed.
"""

import hmac
import secrets
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import queue
from devices.rules.secret import Secret
from passcodes import codes, escrow, handover
from passcodes.models import LockScreenCode
from passcodes.rules import codes as rules
from passcodes.rules.codes import State
from vault import pulse
from vault.journal import Journal
from vault.keyring import Keyring
from vault.memory import Code

BEFORE_ALL_ELSE = -8  # somebody reads it off the screen
NOT_OURS = "The vault has made no such code. Next: show a new one, and tell an admin."
NOTHING_KEPT = "No unlock token is in escrow for this device, so there is nothing to prove."


def show_one(code_id: UUID, *, keyring: Keyring, journal: Journal) -> None:
    """Make the code that was wished for, and order that the device shows it."""
    try:
        _show(code_id, keyring, journal)
    except (rules.Refused, queue.Refused) as refused:
        codes.end(code_id, because=str(refused))


@transaction.atomic
def judge_one(code_id: UUID, *, journal: Journal) -> None:
    """Compare what was typed with what the journal keeps, and forget the digits."""
    row = LockScreenCode.objects.locked(code_id)
    if State(row.state) is not State.SHOWN or not row.typed:
        return
    made = journal.code(code_id)
    if made is None or made.udid != row.device.udid or made.by != row.wished_by_id:
        codes.end(code_id, because=NOT_OURS)
        return
    if timezone.now().timestamp() >= made.made_at + rules.LASTS.total_seconds():
        codes.end(code_id, because=rules.RAN_OUT)
        return
    if made.is_spent or made.wrong >= rules.TRIES:
        codes.end(code_id, because=rules.NO_TRIES_LEFT)
        return
    digest = pulse.code_digest(
        journal.pulse_key, made_at=made.made_at, udid=made.udid, digits=row.typed
    )
    right = hmac.compare_digest(digest, made.digest)
    journal.tried(code_id, right=right)
    wrong = made.wrong if right else made.wrong + 1
    codes.judged(code_id, right=right, tries_left=rules.TRIES - wrong)


@transaction.atomic
def _show(code_id: UUID, keyring: Keyring, journal: Journal) -> None:
    wish = LockScreenCode.objects.locked(code_id)
    if State(wish.state) is not State.WISHED:
        return
    device, now = wish.device, timezone.now()
    token = escrow.current(device)
    if now >= wish.until:
        raise rules.Refused(rules.RAN_OUT)
    if device.is_lost:
        raise rules.Refused("The device is marked lost. It shows no code.")
    if token is None:
        raise rules.Refused(NOTHING_KEPT)
    if reason := codes.unable(device):
        raise rules.Refused(reason)
    made_at = int(now.timestamp())
    if journal.codes_since(token.udid, made_at - int(rules.WITHIN.total_seconds())) >= rules.MOST:
        raise rules.Refused(rules.TOO_MANY)
    digits = f"{secrets.randbelow(10**rules.DIGITS):0{rules.DIGITS}}"
    digest = pulse.code_digest(journal.pulse_key, made_at=made_at, udid=token.udid, digits=digits)
    journal.made_code(
        Code(code=wish.pk, udid=token.udid, by=wish.wished_by_id, made_at=made_at, digest=digest)
    )
    [command] = queue.enqueue([device], handover.LOCK, priority=BEFORE_ALL_ELSE)
    until = now + rules.LASTS
    order = handover.pack(
        Secret(_message(digits).encode()),
        command=command,
        request=wish.pk,
        udid=token.udid,
        identity=token.identity,
        until=until,
        order_key=keyring.order_key,
        door_key=keyring.door_key,
    )
    codes.order(code_id, command=command, order=order, until=until)


def _message(digits: str) -> str:
    """What stands on the lock screen."""
    return (
        f"Code for the helpdesk of {settings.ORGANISATION}: {digits[:3]} {digits[3:]}. "
        "Read it to nobody who has called you."
    )
