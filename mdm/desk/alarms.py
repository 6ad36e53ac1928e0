"""What burns, said on every page: a push certificate that stands still, whatever is about to end."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from devices import identities
from devices.models import Device, PushCertificate

WARN_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Alarm:
    text: str
    next_step: str
    stops_everything: bool


def burning() -> list[Alarm]:
    """The alarms of this moment, the worst first."""
    now = timezone.now()
    return [*_pushes(now), *_identities(now)]


def _identities(now: datetime) -> list[Alarm]:
    count = identities.ending(now).count()
    if not count:
        return []
    days = identities.RENEW_BEFORE.days
    whose = (
        "The identity of a device ends" if count == 1 else f"The identities of {count} devices end"
    )
    return [
        Alarm(
            f"{whose} within {days} days.",
            "Each is renewed by itself when its device next connects; find those that are silent.",
            stops_everything=False,
        )
    ]


def _pushes(now: datetime) -> list[Alarm]:
    certificate = PushCertificate.objects.filter(is_current=True).first()
    if certificate is None:
        if not Device.objects.enrolled().exists():
            return []
        return [
            Alarm(
                "There is no push certificate: no device can be woken.",
                "An admin loads one with «manage.py push_certificate».",
                stops_everything=True,
            )
        ]
    if certificate.not_after <= now:
        return [
            Alarm(
                f"The push certificate ended on {certificate.not_after:%d %b %Y}: no device can be "
                "woken, and everything waits.",
                "An admin renews the same certificate in Apple's portal and loads it.",
                stops_everything=True,
            )
        ]
    if certificate.alarm:
        return [
            Alarm(
                f"Pushing stands still: {certificate.alarm}",
                "Nothing is lost; commands wait until it works again.",
                stops_everything=True,
            )
        ]
    if certificate.not_after <= now + WARN_BEFORE:
        days = (certificate.not_after - now).days
        return [
            Alarm(
                f"The push certificate ends in {days} days.",
                "Renew the same one; a new one would mean that every device enrolls again.",
                stops_everything=False,
            )
        ]
    return []
