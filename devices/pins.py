"""Which devices speak to the door under its own TLS authority alone, and which could be led elsewhere.

The enrollment profile names the authority; a device that has taken it accepts no other. What the
profile of its identity offered is known here; what a device does with it only the device knows.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.conf import settings
from django.db.models import QuerySet
from django.utils.encoding import force_bytes

from devices.models import Device
from devices.models.device import Enrollment


@dataclass(frozen=True, slots=True)
class Standing:
    """How many enrolled devices pin the present authority."""

    present: str  # digest of what is to be pinned now; empty: nothing is
    enrolled: int
    lacking: int

    @property
    def pinned(self) -> int:
        return self.enrolled - self.lacking


def authorities() -> list[bytes]:
    """The certificates that the door's TLS hangs on, DER; empty where none is configured."""
    if not settings.DOOR_TLS_AUTHORITY:
        return []
    found = x509.load_pem_x509_certificates(force_bytes(settings.DOOR_TLS_AUTHORITY))
    return [one.public_bytes(Encoding.DER) for one in found]


def digest() -> str:
    """What stands for them: of a single certificate its SHA-256 fingerprint; empty for none."""
    found = sorted(authorities())
    return hashlib.sha256(b"".join(found)).hexdigest() if found else ""


def lacking(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Of these, the enrolled ones whose profile did not name what is to be pinned now."""
    present = digest()
    return _enrolled(devices).exclude(pins=present) if present else devices.none()


def standing(devices: QuerySet[Device]) -> Standing:
    return Standing(digest(), _enrolled(devices).count(), lacking(devices).count())


def _enrolled(devices: QuerySet[Device]) -> QuerySet[Device]:
    return devices.filter(enrollment_state=Enrollment.ENROLLED)
