"""What the device's page says of Lost Mode, of its place and of its unlock token."""

from typing import Any

from devices import pins
from devices.models import Device
from passcodes import escrow, fresh_tokens, lost_mode
from passcodes.models import Place
from passcodes.rules import fresh_tokens as waits
from staff.models import User


def facts(device: Device, user: User) -> dict[str, Any]:
    """The page's own words for it; a place is named by its time alone until somebody opens it."""
    stands = lost_mode.stands(device)
    tokens = device.tokens.order_by("-received_at")
    waiting = fresh_tokens.of(device)
    can = device.is_lost and lost_mode.unable(device) is None
    return {
        "lost_mode": stands if device.is_lost or stands.is_on else None,
        "place": Place.objects.filter(device=device)
        .only("device", "was_there_at", "heard_at")
        .first(),
        "token": tokens.filter(current=True).first(),
        "lacks_pins": pins.lacking(Device.objects.filter(pk=device.pk)).exists(),
        "waits_for_token": waits.in_words(waiting) if waiting else "",
        "earlier_tokens": tokens.filter(current=False).count(),
        "why_no_fresh_token": escrow.why_no_fresh_token(device),
        "may_sound": can and user.has_perm("devices.sound_device"),
        "may_locate": can and user.has_perm("devices.locate_device"),
        "may_ask_fresh": user.has_perm("passcodes.ask_fresh_token"),
    }
