"""Devices whose certificate was renewed, and whose unlock token is still of the former one.

The token is bound to the identity that it came with, so it opens nothing any more; nothing here
loosens that. The device is asked to check in anew, and the token that it then sends is a new one.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from devices import audit, identities
from devices.models import Command, Device, IdentityRenewal
from devices.rules.channels import RIGHT_LOCK
from devices.rules.commands import OPEN
from passcodes import escrow
from passcodes.models import ClearRequest, EscrowedToken
from passcodes.models.escrow import TokenState
from passcodes.rules import fresh_tokens as rules
from passcodes.rules.fresh_tokens import Waiting

USABLE = (TokenState.KEPT, TokenState.SUSPECT)
MOST_AT_ONCE = 200


def outdated() -> QuerySet[EscrowedToken]:
    """Beside a device: its current token, where that is of a former identity of this enrollment."""
    return EscrowedToken.objects.filter(
        device=OuterRef("pk"), current=True, enrollment=OuterRef("enrollment"), state__in=USABLE
    ).exclude(identity=OuterRef("identity"))


def is_waiting(device: Device) -> bool:
    """Whether it has renewed its certificate, and sent no token since."""
    return Device.objects.enrolled().filter(Exists(outdated()), pk=device.pk).exists()


def of(device: Device) -> Waiting | None:
    """Since when it is waiting and how often it was asked; None: it is not."""
    waiting = Device.objects.enrolled().filter(Exists(outdated()), pk=device.pk)
    return dict(_standings(waiting)).get(device.pk)


def ask_due() -> int:
    """Ask those whose time has come, the longest due first; how many those were."""
    now = timezone.now()
    due = sorted(
        (asks_at, pk)
        for pk, waiting in _standings(_reachable())
        if (asks_at := rules.asks_at(waiting)) is not None and asks_at <= now
    )
    return _ask([pk for _, pk in due[:MOST_AT_ONCE]]) if due else 0


@transaction.atomic
def _ask(device_ids: list[int]) -> int:
    """Give them their enrollment profile again, unless something has come between."""
    devices = Device.objects.locked_in_order(device_ids)
    still = [
        device.pk
        for device in devices
        if is_waiting(device) and not escrow.why_no_fresh_token(device)
    ]
    commands = identities.renew(still)
    audit.record_many("escrow.fresh_awaited", [command.device_id for command in commands])
    return len(commands)


def _reachable() -> QuerySet[Device]:
    """Those that wait, and that nothing keeps from being asked."""
    return (
        Device.objects.enrolled()
        .filter(
            Exists(outdated()),
            lost_at=None,
            inactive_since=None,
            push_token__isnull=False,
            token_dead_since=None,
        )
        .annotate(lock_right=F("access_rights").bitand(RIGHT_LOCK))
        .exclude(lock_right=0)
        .exclude(pk__in=ClearRequest.objects.open().values("device"))
    )


def _standings(devices: QuerySet[Device]) -> Iterator[tuple[int, Waiting]]:
    """How it stands with each of these, which wait."""
    received = dict(
        EscrowedToken.objects.filter(device__in=devices.values("pk"), current=True).values_list(
            "device", "received_at"
        )
    )
    since = _since(received)
    asked: dict[int, list[tuple[datetime, str]]] = defaultdict(list)
    renewals = Command.objects.filter(
        request_type="InstallProfile", arguments=identities.RENEWAL, device__in=since
    )
    for pk, queued_at, state in renewals.values_list("device", "queued_at", "state"):
        if queued_at >= since[pk]:
            asked[pk].append((queued_at, state))
    for pk, began in since.items():
        yield (
            pk,
            Waiting(
                since=began,
                tries=len(asked[pk]),
                asked_at=max((queued_at for queued_at, _ in asked[pk]), default=None),
                is_asked=any(state in OPEN for _, state in asked[pk]),
            ),
        )


def _since(received: dict[int, datetime]) -> dict[int, datetime]:
    """When each first spoke with a certificate that is younger than its token."""
    first: dict[int, datetime] = {}
    renewals = (
        IdentityRenewal.objects.filter(device__in=received, taken_up_at__isnull=False)
        .order_by("taken_up_at")
        .values_list("device", "taken_up_at")
    )
    for pk, taken_up_at in renewals:
        if taken_up_at is not None and taken_up_at >= received[pk]:
            first.setdefault(pk, taken_up_at)
    return received | first
