"""The enrollment profile as a device is offered it: by a link first, and again to renew its identity.

Identifiers, addresses and topic are the same each time, so that the later one replaces the earlier.
"""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, identities, pins
from devices.enrollment import GIVEN_RIGHTS
from devices.identities import MDM_PROFILE
from devices.models import Device, EnrollmentLink, PushCertificate
from devices.rules.channels import Platform
from mdm.enrollment import authority
from mdm.wire import profile

CHALLENGE_LASTS = timedelta(hours=1)
CHALLENGE_BYTES = 24


class NotPossible(Exception):
    """No device could enroll with it; the message says why, for a person to read."""


def by_pkcs12(platform: Platform, *, now: datetime) -> tuple[bytes, x509.Certificate]:
    """The profile with an identity in it, and that identity's certificate."""
    number = _uuid()
    bundle, password, certificate = authority.ours().issue_pkcs12(f"Device {number}", now=now)
    return _profile(platform, profile.Pkcs12Identity(number, bundle, password)), certificate


def by_scep(platform: Platform) -> tuple[bytes, str]:
    """The profile with which a device makes its own key, and the digest of its challenge."""
    certificate = authority.our_issuer().certificate
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise NotPossible("SCEP needs an authority with an RSA key. Use PKCS#12.")
    number = _uuid()
    challenge = secrets.token_hex(CHALLENGE_BYTES)  # letters that every client can encode
    identity = profile.ScepIdentity(
        uuid=number,
        url=f"{settings.DOOR_URL}/scep",
        common_name=f"Device {number}",
        challenge=challenge,
        # Apple takes SHA-1 or MD5 here; it names a certificate that was not made by a stranger.
        ca_fingerprint=certificate.fingerprint(hashes.SHA1()),  # noqa: S303
    )
    return _profile(platform, identity), challenge_digest(challenge)


@transaction.atomic
def again(device: Device) -> bytes:
    """The profile for a device that has it, with a new challenge. The caller holds its row."""
    link = EnrollmentLink.objects.filter(device=device).order_by("-used_at").first()
    data, digest = by_scep(Platform(link.platform if link else device.platform))
    identities.offered(device, challenge_digest=digest, until=timezone.now() + CHALLENGE_LASTS)
    audit.record("identity.renewal_offered", device=device)
    return data


APART = {"checkin", "connect"}  # who hears of a bootstrap token then could not open it again


def challenge_digest(challenge: str) -> str:
    return hashlib.sha256(challenge.encode()).hexdigest()


def _profile(platform: Platform, identity: profile.Pkcs12Identity | profile.ScepIdentity) -> bytes:
    push = PushCertificate.objects.filter(is_current=True).first()
    if push is None:
        raise NotPossible("Devices cannot be enrolled at present: there is no push certificate.")
    return profile.enrollment(
        profile.EnrollmentFacts(
            identifier=MDM_PROFILE,
            name=f"{settings.ORGANISATION} device management",
            organisation=settings.ORGANISATION,
            uuid=_uuid(),
            mdm_uuid=_uuid(),
            identity=identity,
            server_url=f"{settings.DOOR_URL}/mdm/connect",
            check_in_url=f"{settings.DOOR_URL}/mdm/checkin",
            topic=push.topic,
            platform=platform,
            shared_ipad=platform is Platform.IPADOS,  # it may be one; this cannot be added later
            keeps_bootstrap_tokens=settings.SERVE not in APART,
            access_rights=GIVEN_RIGHTS,
            roots=_roots(),
        )
    )


def _roots() -> tuple[profile.RootCertificate, ...]:
    """The authority of the door's own TLS, if it has one: devices then accept no other."""
    return tuple(profile.RootCertificate(_uuid(), der, pinned=True) for der in pins.authorities())


def _uuid() -> str:
    return str(uuid.uuid4()).upper()
