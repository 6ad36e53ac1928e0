"""Whoever waits in Setup Assistant goes on when everything that was queued has been handed out.

Apple: "TokenUpdate", AwaitingConfiguration. A device waits for DeviceConfigured, the user of a
Shared iPad for UserConfigured on their own channel.
"""

from devices import queue
from devices.models import Command, Device, DeviceUser

AFTER_ALL_ELSE = 100


def let_go(device: Device, *, user: DeviceUser | None = None) -> None:
    """Queue the word behind all else, once. The caller holds the device's row."""
    word = "UserConfigured" if user else "DeviceConfigured"
    if queue.refusal(device, word, user=user):
        return  # this kind never waits for it
    if not Command.objects.open().filter(device=device, user=user, request_type=word).exists():
        queue.enqueue([device], word, user=user, priority=AFTER_ALL_ELSE)
