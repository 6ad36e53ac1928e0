"""Why nothing arrives at a device, in words, and what helps."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format

from devices.models import Command, Device, PushCertificate
from devices.models.device import Enrollment
from devices.rules.commands import State

SILENT_AFTER = timedelta(hours=24)  # without a push that brought nobody, nothing is wrong earlier
PUSHED_IN_VAIN = 2  # so many pushes brought nobody


@dataclass(frozen=True, slots=True)
class Hint:
    """What stands in the way, and the next step."""

    sentence: str
    next_step: str


def why(device: Device) -> list[Hint]:
    """Everything that keeps commands from the device, the surest first; nothing: it is reachable."""
    return list(_why(device, timezone.now()))


def _why(device: Device, now: datetime) -> Iterator[Hint]:
    if device.is_lost:
        yield Hint(
            f"The device is marked lost since {_at(device.lost_at)}. It gets no clear.",
            "Have it seen; two people sign that it was found.",
        )
    if not device.is_enrolled:
        yield _not_enrolled(device)
        return
    if device.inactive_since is not None:
        yield Hint(
            f"The device is inactive: its last contact was at {_at(device.last_seen_at)}, longer "
            "ago than the rules of the house allow. It gets no withheld configuration and no "
            "clear, and is pushed once a day.",
            "Switch it on, connect it to a network and unlock it: it is asked first how it stands.",
        )
    yield from _of_our_side(now)
    yield from _of_the_address(device)
    if not device.can_be_woken:
        return
    yield from _of_its_answers(device)
    yield from _of_its_silence(device, now)


def _not_enrolled(device: Device) -> Hint:
    match device.enrollment_state:
        case Enrollment.AUTHENTICATED:
            return Hint(
                "The enrollment is not finished: the device has not sent its push token yet.",
                "Wait a minute; if nothing comes, enroll it again.",
            )
        case Enrollment.RETIRED:
            return Hint("The device was taken out of service.", "Enroll it again.")
        case _:
            return Hint(
                f"The device left the management at {_at(device.left_at)}.",
                "Enroll it again.",
            )


def _of_our_side(now: datetime) -> Iterator[Hint]:
    certificate = PushCertificate.objects.filter(is_current=True).first()
    if certificate is None:
        yield Hint("There is no push certificate, so no device is woken.", "Tell an admin.")
    elif certificate.not_after <= now:
        yield Hint(
            f"The push certificate has ended at {_at(certificate.not_after)}; no device is woken.",
            "Tell an admin: it must be renewed, not replaced.",
        )
    elif certificate.alarm:
        yield Hint(f"Pushing stands still: {certificate.alarm}", "Tell an admin.")


def _of_the_address(device: Device) -> Iterator[Hint]:
    if device.push_token is None:
        yield Hint(
            "The device has no push token, so it cannot be woken.",
            "Restart it, or enroll it again.",
        )
    elif device.token_dead_since is not None:
        yield Hint(
            f"Apple says that the push token is no longer valid, since "
            f"{_at(device.token_dead_since)}. The management profile may be gone, or the device "
            "was erased.",
            "Connect it to a network and unlock it; if nothing comes, enroll it again.",
        )


def _of_its_answers(device: Device) -> Iterator[Hint]:
    put_off = (
        Command.objects.filter(device=device, user=None, state=State.NOT_NOW.value)
        .order_by("not_now_at")
        .first()
    )
    if put_off is not None:
        yield Hint(
            f"The device has put off {put_off.request_type} since {_at(put_off.not_now_at)}. "
            "It does so while it is locked or busy.",
            "Unlock it, or wait: it asks again by itself.",
        )


def _of_its_silence(device: Device, now: datetime) -> Iterator[Hint]:
    if device.last_seen_at is None or device.inactive_since is not None:
        return
    was_pushed_since = device.pushed_at is not None and device.pushed_at > device.last_seen_at
    if was_pushed_since and device.wake_attempts >= PUSHED_IN_VAIN:
        yield Hint(
            f"The device was pushed {device.wake_attempts} times since its last contact at "
            f"{_at(device.last_seen_at)}, and did not come. It is switched off, has no network, "
            "or was restarted and not unlocked yet: a locked iPhone joins no Wi-Fi before its "
            "first unlock.",
            "Put it on a cable network or a SIM card, or unlock it once.",
        )
    elif now - device.last_seen_at > SILENT_AFTER:
        yield Hint(
            f"The device has been silent since {_at(device.last_seen_at)}.",
            "Switch it on and connect it to a network.",
        )


def _at(moment: datetime | None) -> str:
    if moment is None:
        return "a time that nobody noted"
    return date_format(timezone.localtime(moment), "DATETIME_FORMAT")
